"""Whatever the family, one row alone is answered as it is in a table."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from capstan.features.rowwise import compile_predict
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.spec.tasks import LabelKind
from capstan.tasks import Task, task_with
from capstan.training.cases import Cases
from capstan.training.fitting import fit_candidate

FEATURES = TypeAdapter(list[Feature]).validate_python(
    [
        {"name": "x", "numeric": {}},
        {"name": "large", "numeric": {"impute": "Mean"}},
        {"name": "kind", "categorical": {"encode": "Integer"}},
        {"name": "place", "categorical": {"encode": "OneHot"}},
    ]
)
SMALL: dict[str, dict[str, Any]] = {
    "decisionTree": {"leafRows": 3},
    "randomForest": {"trees": 7},
    "gradientBoosting": {"iterations": 10},
    "lambdaMart": {"iterations": 10},
    "multilayerPerceptron": {"layers": [6], "epochs": 3},
    "factorizationMachine": {"factors": 2, "iterations": 20},
    "voting": {"of": ["line", "trees", "near"]},
    "bagging": {"of": "trees", "members": 3},
    "stacking": {"of": ["line", "trees"], "folds": 2},
}
ROWS = 400
PAIRS = [
    pytest.param(family, label, id=f"{family}-{label}")
    for family, settings in Candidate.families().items()
    for label in sorted(settings.learns)
    if family not in ("custom", "search", "fineTune", "distil") and not settings.extra
]


def table(seed: int) -> tuple[pa.Table, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    x, large = rng.normal(0, 1, ROWS), rng.normal(50_000, 20_000, ROWS)
    kind, place = rng.choice(["a", "b", "c"], ROWS), rng.choice(["here", "there"], ROWS)
    columns = {"x": x, "large": [None if at % 17 == 0 else one for at, one in enumerate(large)]}
    score = 2 * x + (kind == "b") + (place == "here") + rng.normal(0, 0.7, ROWS)
    return pa.table({**columns, "kind": kind, "place": place}), score


def truth_of(label: LabelKind, score: np.ndarray[Any, Any]) -> Any:
    if label == "Boolean":
        return score > 0.5
    if label == "Number":
        return score
    if label == "Anomaly":
        return (np.abs(score - score.mean()) > 2 * score.std()).astype(float)
    levels = np.digitize(score, [-0.5, 1.5])
    return levels if label == "Relevance" else np.array(["low", "mid", "high"])[levels]


def members(label: LabelKind) -> list[Candidate]:
    line = "logisticRegression" if label in ("Boolean", "Category") else "linearRegression"
    written = {
        "line": {line: {}},
        "trees": {"gradientBoosting": {"iterations": 5}},
        "near": {"nearestNeighbors": {}},
    }
    return [Candidate.model_validate({"name": name, **family}) for name, family in written.items()]


def cases(task: Task, seed: int) -> Cases:
    rows, score = table(seed)
    groups = np.arange(ROWS) // 8 if task.facts.label == "Relevance" else None
    return Cases(task, rows, truth_of(task.facts.label, score), groups)


@pytest.mark.parametrize(("family", "label"), PAIRS)
def test_one_row_is_answered_as_in_a_table_and_once_saved(family: str, label: LabelKind) -> None:
    candidate = Candidate.model_validate({"name": "one", family: SMALL.get(family, {})})
    task = task_with(label)
    pipeline = fit_candidate(candidate, FEATURES, cases(task, 1), seed=3, others=members(label)).pipeline
    later = table(2)[0]
    expected = task.scores(pipeline, later)
    rows = later.to_pylist()
    for one in (pipeline, pickle.loads(pickle.dumps(pipeline))):
        predict = compile_predict(one)
        found = [predict(row) for row in rows]
        assert {type(answer) for answer in found} == {tuple if label in ("Category", "Cluster") else float}
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
