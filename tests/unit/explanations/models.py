"""Fitted pipelines of toy rows, for tests of explanations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from capstan.features.transform import build_transform
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.spec.tasks import TASK_FACTS
from capstan.tasks import TASKS, Learnt, Task
from capstan.training.families import fit_model, fits_of
from capstan.training.lesson import Lesson

FEATURES = [
    {"name": "distance", "numeric": {}},
    {"name": "far", "column": "distance", "numeric": {"bucketEdges": [300, 900]}},
    {"name": "hour", "numeric": {"impute": "Median"}},
    {"name": "carrier", "categorical": {"encode": "OneHot"}},
    {"name": "airport", "categorical": {"encode": "Integer"}},
]
"""One column that two features read, one with missing values, one that becomes many columns, one of codes."""
COLUMNS = ("distance", "hour", "carrier", "airport")
MEMBERS = [
    Candidate.model_validate({"name": "tree", "decisionTree": {}}),
    Candidate.model_validate({"name": "trees", "gradientBoosting": {"iterations": 10}}),
]
Row = dict[str, object]


def rows(count: int = 400, seed: int = 3) -> list[Row]:
    rng = np.random.default_rng(seed)
    hours: list[Any] = rng.integers(0, 24, count).tolist()
    for at in range(0, count, 17):
        hours[at] = None
    return [
        {"distance": distance, "hour": hour, "carrier": carrier, "airport": airport}
        for distance, hour, carrier, airport in zip(
            rng.gamma(2, 300, count).round(1).tolist(),
            hours,
            rng.choice(["AA", "UA", "DL"], count).tolist(),
            rng.choice(["JFK", "LGA", "EWR", "BOS"], count).tolist(),
            strict=True,
        )
    ]


def signal(given: list[Row]) -> Any:
    """What labels are made of: columns that work alone and together."""
    distance = np.array([row["distance"] for row in given], dtype=float)
    hour = np.array([12 if row["hour"] is None else row["hour"] for row in given], dtype=float)
    late = np.array([row["carrier"] == "UA" for row in given])
    busy = np.array([row["airport"] in ("JFK", "EWR") for row in given])
    return (hour - 12) / 6 + late * busy * 2 - (distance > 600) * (1 + late)


def truth_of(task: str, given: list[Row], seed: int = 5) -> Any:
    noisy = signal(given) + np.random.default_rng(seed).normal(0, 1, len(given))
    label = TASK_FACTS[task].label
    if label == "Boolean":
        return noisy > 0
    if label == "Category":
        return np.array(["none", "some", "much"])[np.digitize(noisy, [-0.7, 0.7])]
    return noisy


def fitted(task: str, family: str, **settings: Any) -> tuple[Any, Task, Learnt, list[Row]]:
    """A pipeline, its task, what it learnt of its answers, and the rows."""
    from sklearn.pipeline import Pipeline

    given = rows()
    table = pa.Table.from_pylist(given)
    transform = build_transform([Feature.model_validate(one) for one in FEATURES]).fit(table)
    found = TASKS[task]
    lesson = Lesson(
        transform.transform(table),
        truth_of(task, given),
        label=found.facts.label,
        task=found,
        categorical=transform.categorical_mask_,
        candidates=fits_of(MEMBERS),
    )
    model = fit_model(Candidate.model_validate({"name": "one", family: settings}), {}, lesson)
    pipeline = Pipeline([("transform", transform), ("model", model)])
    return pipeline, found, found.learnt(pipeline), given
