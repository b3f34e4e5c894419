"""Toy systems of every task, small enough to live a few weeks in seconds: a row of `CASES` is all that a task adds.

Rows are drawn from a fixed seed. Their truth rests on `x`, `z` and `kind`; from `SHIFTED` on the world is another one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression

from capstan.features.several_models import SeveralModels
from capstan.spec.combination import Combination
from capstan.spec.tasks import TaskFacts
from capstan.tasks import task_together
from capstan.training.fitted.anomalies import Isolation
from capstan.training.fitted.clusters import NearestCentre
from capstan.training.fitted.forest import as_compared

Floats = NDArray[np.float64]

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
START = date(2026, 1, 19)
"""First day of the replay; what was before is learnt from."""
SHIFTED = datetime(2026, 2, 12, tzinfo=UTC)
DAYS = 55
ROWS_A_DAY = 60
EXPLAINED = ("Importance of columns", "Learning curve")
"""Titles of tables that every run has, of the test rows."""
OF_ALL = (*EXPLAINED, "Parts", "Lineage", "Groups in the data: kind", "Ladder")
"""Titles of tables that every run has, last."""


@dataclass(frozen=True)
class Case:
    """What is particular about a task's toy system."""

    objective: Mapping[str, Any]
    truth: Callable[[Floats, np.random.Generator], NDArray[Any]]
    """The label of each row out of a score that x, z and kind make."""
    candidates: tuple[Mapping[str, Any], ...]
    is_answer: Callable[[Mapping[str, Any]], bool]
    """Whether one native answer is one of the task's."""
    tensors: Mapping[str, str]
    """Names of the outputs of V2 with their datatypes."""
    bad: Mapping[str, Callable[[Any, Floats, NDArray[Any]], Any]] = field(default_factory=dict)
    """Models that the shadow must show to be worse: out of the fitted model, a matrix and its truth."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of `data.keys` beside id and time, and which column they name."""
    label_column: str = ""
    """Column of the stored labels that holds them."""
    tables: tuple[str, ...] = ("Slices by kind", *OF_ALL)
    """Titles of what the page shows of the test window beside the metrics."""
    also: Callable[[Floats, NDArray[Any]], Mapping[str, NDArray[Any]]] = lambda *_: {}
    """Further columns out of the same score and its labels, or others in place of those that are there."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """Further parts of the file's spec."""

    @property
    def facts(self) -> TaskFacts:
        """Of the task, with the outputs of every model where there are several."""
        return task_together(self.objective["task"], Combination.of_file(self.parts)).facts


def _minutes(score: Floats, rng: np.random.Generator) -> Floats:
    return 20 + 8 * score + rng.normal(0, 4, len(score))


def _mean(_: Any, matrix: Floats, truth: NDArray[Any]) -> Any:
    return DummyRegressor(strategy="mean").fit(matrix, truth)


def _shares(_: Any, matrix: Floats, truth: NDArray[Any]) -> Any:
    return DummyClassifier(strategy="prior").fit(matrix, truth)


def _bands(score: Floats, rng: np.random.Generator) -> NDArray[Any]:
    names = np.array(["low", "in.between", "very high"])
    return names[np.digitize(score + rng.normal(0, 0.5, len(score)), [-1, 1.5])]


def _swapped(fitted: Any, *_: NDArray[Any]) -> Any:
    """The fitted model with the weights of each class given to the next one."""
    model = copy.deepcopy(fitted)
    model.coef_, model.intercept_ = np.roll(fitted.coef_, 1, axis=0), np.roll(fitted.intercept_, 1)
    return model


def _is_answer_of_classes(answer: Mapping[str, Any]) -> bool:
    chances = answer["probabilities"]
    return (
        list(answer) == ["label", "probabilities"]
        and sorted(chances) == ["in.between", "low", "very high"]
        and chances[answer["label"]] == max(chances.values())
        and abs(sum(chances.values()) - 1) < 1e-9
    )


def _relevance(score: Floats, rng: np.random.Generator) -> Floats:
    return np.digitize(score + rng.normal(0, 0.5, len(score)), [0.5, 2.0, 3.5]).astype(np.float64)


def _reversed(_: Any, matrix: Floats, truth: NDArray[Any]) -> Any:
    return LinearRegression().fit(matrix, -truth)


def _one_of_twenty(score: Floats, rng: np.random.Generator) -> NDArray[Any]:
    return rng.random(len(score)) < 0.05


def _far_out(score: Floats, truth: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    """`x` is far out where the row is an anomaly; in the other world everywhere else."""
    is_shifted = np.arange(len(score)) >= (SHIFTED - FIRST).days * ROWS_A_DAY
    return {"x": score / 2 + 6 * np.sign(score) * (truth ^ is_shifted)}


def _restless(_: Any, matrix: Floats, *__: NDArray[Any]) -> Isolation:
    """It has seen rows of another unit, so that nearly every row is unusual to it."""
    return Isolation(IsolationForest(random_state=0).fit(as_compared(matrix / 5)))


def _lumps(score: Floats, rng: np.random.Generator) -> NDArray[Any]:
    return np.array(["left", "middle", "right"])[rng.integers(0, 3, len(score))]


def _in_lumps(score: Floats, truth: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    """All numbers lie around the row's own place; in the other world each place is where another one was."""
    is_shifted = np.arange(len(score)) >= (SHIFTED - FIRST).days * ROWS_A_DAY
    place = np.select([truth == "left", truth == "right"], [-12.0, 12.0], 0.0) + 12 * is_shifted
    return {"x": score / 2 + place, "z": score / 3 - place}


def _same_place(fitted: NearestCentre, *_: NDArray[Any]) -> NearestCentre:
    """All centres lie nearly at one place, so that no row clearly belongs to any."""
    return NearestCentre(fitted.centres * 1e-3, fitted.center, fitted.spread)


def _one_reversed(fitted: SeveralModels, *_: NDArray[Any]) -> SeveralModels:
    """The first model says the opposite, the other is as it was."""
    first, second = fitted.parts
    turned = copy.deepcopy(first.model)
    turned.coef_, turned.intercept_ = -turned.coef_, -turned.intercept_
    return SeveralModels((replace(first, model=turned), second))


def _is_answer_of_two_models(answer: Mapping[str, Any]) -> bool:
    said = [one["probability"] for one in answer["models"].values()]
    return (
        list(answer) == ["probability", "label", "models"]
        and list(answer["models"]) == ["likely", "strong"]
        and answer["probability"] == max(said)
        and answer["label"] is any(one["label"] for one in answer["models"].values())
    )


CASES: Mapping[str, Case] = {
    "MulticlassClassification": Case(
        objective={"task": "MulticlassClassification", "target": "truth"},
        truth=_bands,
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "line", "logisticRegression": {}}),
        is_answer=_is_answer_of_classes,
        tensors={"probabilities": "FP64", "label": "BYTES"},
        bad={"constant": _shares, "swapped": _swapped},
        label_column="label_text",
        tables=("Confusion matrix", "Slices by kind", *OF_ALL),
    ),
    "Regression": Case(
        objective={"task": "Regression", "target": "truth", "losses": {"maximumError": 60}},
        truth=_minutes,
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "line", "linearRegression": {}}),
        is_answer=lambda answer: list(answer) == ["value"] and type(answer["value"]) is float,
        tensors={"value": "FP64"},
        bad={"constant": _mean},
        label_column="label_number",
    ),
    "Ranking": Case(
        objective={"task": "Ranking", "target": "truth"},
        truth=_relevance,
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "line", "linearRegression": {}}),
        is_answer=lambda answer: (
            list(answer) == ["score", "rank"]
            and type(answer["score"]) is float
            and answer["rank"] in (1, 2, 3)
        ),
        tensors={"score": "FP64", "rank": "INT64"},
        bad={"constant": _mean, "reversed": _reversed},
        # An hour has two or three rows, which are asked about at its beginning.
        keys={"group": "hour", "time": "asked"},
        label_column="label_number",
    ),
    "AnomalyDetection": Case(
        objective={"task": "AnomalyDetection", "target": "truth", "flaggedShare": 0.05},
        truth=_one_of_twenty,
        also=_far_out,
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "forest", "isolationForest": {}}),
        is_answer=lambda answer: (
            list(answer) == ["score", "flagged"]
            and type(answer["score"]) is float
            and type(answer["flagged"]) is bool
        ),
        tensors={"score": "FP64", "flagged": "BOOL"},
        bad={"restless": _restless},
        label_column="label_boolean",
        tables=("Flags and labels", "Slices by kind", *OF_ALL),
    ),
    "Clustering": Case(
        objective={"task": "Clustering", "target": "truth"},
        truth=_lumps,
        also=_in_lumps,
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "centres", "kMeans": {"clusters": 9}}),
        is_answer=lambda answer: (
            list(answer) == ["cluster", "distance", "silhouette"]
            and answer["cluster"] in set("123456789")
            and answer["distance"] >= 0
            and 0 <= answer["silhouette"] <= 1
        ),
        tensors={"cluster": "BYTES", "distance": "FP64", "silhouette": "FP64"},
        bad={"same place": _same_place},
        # Three places of three kinds each.
        parts={
            "features": [
                *({"name": name, "numeric": {}} for name in "xz"),
                {"name": "kind", "categorical": {"encode": "Integer"}},
            ]
        },
        label_column="label_text",
        tables=("Clusters", "Labels and clusters", "Slices by kind", *OF_ALL),
    ),
    "two models": Case(
        objective={"task": "BinaryClassification", "target": "truth"},
        truth=lambda score, rng: score + rng.normal(0, 1, len(score)) > 1.5,
        also=lambda score, _: {"strong": score > 3},
        parts={
            "models": [
                {"name": "likely", "features": ["x", "kind"]},
                {"name": "strong", "target": "strong", "features": ["x", "z"], "candidates": ["line"]},
            ],
            "combine": {"rule": "Any"},
        },
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "line", "logisticRegression": {}}),
        is_answer=_is_answer_of_two_models,
        tensors={
            f"{model}{output}": datatype
            for model in ("", "likely.", "strong.")
            for output, datatype in (("probability", "FP64"), ("label", "BOOL"))
        },
        bad={"one of two": _one_reversed},
        label_column="label_boolean",
        tables=("Confusion matrix", "Models, each by its own label", "Slices by kind", *OF_ALL),
    ),
}


def write_case(case: Case, folder: Path) -> Path:
    """The system's file beside its rows; the path of the file."""
    pq.write_table(rows_of(case), folder / "rows.parquet")
    path = folder / "system.yaml"
    path.write_text(yaml.safe_dump(document(case), sort_keys=False))
    return path


def rows_of(case: Case) -> pa.Table:
    rng = np.random.default_rng(9)
    number = DAYS * ROWS_A_DAY
    at = [FIRST + timedelta(minutes=24 * 60 / ROWS_A_DAY * row) for row in range(number)]
    is_shifted = np.array([moment >= SHIFTED for moment in at])
    x, z = rng.normal(0, 1, number), rng.normal(5, 2, number)
    x[is_shifted] += 2
    kind = rng.integers(0, 3, number)
    score = np.where(is_shifted, -2 * x + 6, 2 * x) + (z - 5) / 2 + (kind == 1)
    truth = case.truth(score, rng)
    return pa.table(
        {
            "id": [f"case-{row}" for row in range(number)],
            "hour": [f"{moment:%Y-%m-%d %H}" for moment in at],
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "asked": pa.array([moment.replace(minute=0) for moment in at], pa.timestamp("us", "UTC")),
            "known_at": pa.array([moment + timedelta(hours=2) for moment in at], pa.timestamp("us", "UTC")),
            "x": x,
            "z": z,
            "kind": [("low", "middle", "high")[one] for one in kind],
            "truth": truth,
            **case.also(score, truth),
        }
    )


def document(case: Case) -> dict[str, Any]:
    shadow = {"percent": 100, "minRequests": 100, "minLabels": 100, "minBlocks": 7, "deadline": "12d"}
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "toy"},
        "spec": {
            "objective": dict(case.objective),
            "data": {
                "sources": [{"name": "rows", "parquet": {"path": "rows.parquet", "timeColumn": "at"}}],
                "keys": {"id": "id", "time": "at", **case.keys},
                "label": {"column": "truth", "availableAt": "known_at", "maximumDelay": "6h"},
                "split": {"byTime": {"validation": "3d", "test": "5d"}},
            },
            "features": [
                {"name": "x", "numeric": {"scale": "ZScore"}},
                {"name": "z", "numeric": {}},
                {"name": "kind", "categorical": {"encode": "OneHot"}},
            ],
            "training": {"candidates": [dict(one) for one in case.candidates]},
            "evaluation": {"slices": ["kind"]},
            "rollout": {
                "steps": [{"shadow": {**shadow, "analyses": ["quality"]}}],
                "analyses": [{"name": "quality", "decide": "UnlessWorse"}],
                "guardrails": {"latencyP99": {"maxRatio": 50, "floor": "2s"}},
            },
            "monitoring": {
                "window": {"duration": "4d", "minRows": 100},
                "drift": {"consecutive": 1, "falseAlarmsPerMonth": 1},
            },
            **case.parts,
            "retraining": {"cooldown": "300d", "budget": {"runs": 1, "per": "300d"}},
            "replay": {
                "start": START,
                "end": (FIRST + timedelta(days=DAYS)).date(),
                "sample": "100%",
                "tick": "1d",
                "charges": {"training": "1h", "deployment": "10m"},
            },
        },
    }
