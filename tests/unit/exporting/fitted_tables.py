"""A table of every kind of column, a pipeline fitted to it, and rows that a graph may get wrong."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from capstan.exporting.version import Compared, ExportedGraph, compare_graph, export_graph
from capstan.features.rowwise import compile_predict
from capstan.serving.manifest import Manifest
from capstan.serving.model import as_requests
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.spec.tasks import LabelKind
from capstan.tasks import Task, task_with
from capstan.training.cases import Cases
from capstan.training.fitting import fit_candidate

ROWS = 300
FEATURES: list[dict[str, Any]] = [
    {"name": "x", "numeric": {"indicator": True}},
    {"name": "large", "numeric": {"impute": "Mean", "scale": "ZScore"}},
    {"name": "small", "numeric": {"impute": "Default", "default": 3, "scale": "MinMax"}},
    {"name": "price", "numeric": {"scale": "Log", "indicator": True}},
    {"name": "bucket", "column": "x", "numeric": {"bucketQuantiles": 4}},
    {"name": "edges", "column": "large", "numeric": {"bucketEdges": [20_000, 50_000]}},
    {"name": "vip", "categorical": {}},
    {"name": "vip_number", "column": "vip", "numeric": {}},
    {"name": "rate", "categorical": {"encode": "Integer"}},
    {"name": "kind", "categorical": {"encode": "Integer", "minFrequency": 20}},
    {"name": "label", "categorical": {"encode": "OneHot"}},
    {"name": "day", "categorical": {}},
]
"""`label` is called as an output is."""
SMALL: dict[str, dict[str, Any]] = {
    "decisionTree": {"leafRows": 3},
    "randomForest": {"trees": 7},
    "gradientBoosting": {"iterations": 10},
    "lambdaMart": {"iterations": 10},
    "multilayerPerceptron": {"layers": [6], "epochs": 3},
    "factorizationMachine": {"factors": 2, "iterations": 20},
    "voting": {"of": ["line", "trees"]},
    "bagging": {"of": "trees", "members": 3},
    "stacking": {"of": ["line", "trees"], "folds": 2},
}


def table(seed: int) -> tuple[pa.Table, Any]:
    """Rows, and a score from which labels are made."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, ROWS)
    kind = np.where(rng.random(ROWS) < 0.03, "rare", rng.choice(["a", "b", "é 'quoted'"], ROWS))
    vip = rng.random(ROWS) < 0.4
    days = [dt.datetime(2024, 3, int(day), tzinfo=dt.UTC) for day in rng.integers(1, 4, ROWS)]
    columns: dict[str, Any] = {
        "x": x,
        "large": rng.normal(50_000, 20_000, ROWS),
        "small": rng.uniform(0, 1e-3, ROWS),
        "price": np.exp(rng.normal(2, 2, ROWS)) * rng.choice([-1, 1], ROWS),
        "vip": vip,
        "rate": rng.choice([1.0, 2.0, 2.5], ROWS),
        "kind": kind,
        "label": rng.choice(["here", "there"], ROWS),
        "day": days,
    }
    found = {}
    for at, (name, values) in enumerate(columns.items()):
        listed = values.tolist() if isinstance(values, np.ndarray) else values
        found[name] = [None if (row + at) % 19 == 0 else one for row, one in enumerate(listed)]
    score = 2 * x + (kind == "b") + vip + np.log1p(np.abs(columns["price"])) / 3 + rng.normal(0, 0.7, ROWS)
    return pa.table(found), score


def truth_of(label: LabelKind, score: Any) -> Any:
    middle = np.quantile(score, [0.3, 0.7])
    if label == "Boolean":
        return score > middle[0]
    if label == "Number":
        return score
    if label == "Anomaly":
        return (np.abs(score - score.mean()) > 2 * score.std()).astype(float)
    levels = np.digitize(score, middle)
    return levels if label == "Relevance" else np.array(["low", "mid", "high"])[levels]


def members(label: LabelKind) -> list[Candidate]:
    """What an ensemble is made of."""
    line = "logisticRegression" if label in ("Boolean", "Category") else "linearRegression"
    written = {
        "line": {line: {}},
        "trees": {"gradientBoosting": {"iterations": 5}},
        "near": {"nearestNeighbors": {}},
    }
    return [Candidate.model_validate({"name": name, **family}) for name, family in written.items()]


def fitted(
    family: str,
    label: LabelKind,
    settings: dict[str, Any] | None = None,
    features: list[dict[str, Any]] | None = None,
) -> Any:
    """The pipeline."""
    rows, score = table(1)
    groups = np.arange(ROWS) // 10 if label == "Relevance" else None
    candidate = Candidate.model_validate({"name": "one", family: SMALL.get(family, {}) | (settings or {})})
    return fit_candidate(
        candidate,
        TypeAdapter(list[Feature]).validate_python(features or FEATURES),
        Cases(task_with(label), rows, truth_of(label, score), groups),
        seed=3,
        others=members(label),
    ).pipeline


def manifest_of(pipeline: Any, task: Task) -> Manifest:
    return Manifest("toy", "its task", "y", (), learnt=task.learnt(pipeline.steps[-1][1]))


def exported(pipeline: Any, task: Task) -> ExportedGraph:
    return export_graph(pipeline, manifest_of(pipeline, task), task, {"capstan.version": "v1"}, "words")


def compared(pipeline: Any, rows: list[dict[str, object]], task: Task) -> Compared:
    """The graph against the compiled row; raises InvalidDataError where they differ."""
    predict = compile_predict(pipeline)
    said = np.asarray([predict(row) for row in rows], dtype=np.float64)
    return compare_graph(exported(pipeline, task), rows, said, task, manifest_of(pipeline, task).learnt)


def later_rows() -> list[dict[str, object]]:
    """Rows as requests carry them: those that training did not see, missing values, unseen categories, extremes."""
    rows: list[dict[str, object]] = as_requests(table(2)[0])
    usual = dict(rows[5])
    rows.append(dict.fromkeys(usual))
    rows.append({name: value for name, value in usual.items() if name not in ("kind", "x")})
    for name in ("kind", "label", "day"):
        rows += [{**usual, name: other} for other in ("never seen", "", "rare", "2099-01-01T00:00:00Z")]
    rows += [{**usual, "day": other} for other in ("NA", "2024-03-02", "2024-03-02T01:00:00+01:00")]
    rows += [{**usual, "rate": other} for other in (2, 7, -1e300, "2", "2.50", "NA", "much")]
    rows += [{**usual, "vip": other} for other in (1, 0, True)]
    for name in ("x", "large", "small", "price"):
        rows += [{**usual, name: other} for other in (0, -0.0, 5e-324, 1e-17, 1e15, -1e15, float("inf"))]
    return rows
