"""What a report draws of labels and answers: one curve for each question, as points.

A curve has `title`, `x` and `y` (what the axes are), `series` (name and points), `reference`, a line to compare with,
and `height`, the least and the most y; None: as the points are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from capstan.tasks.metric import Floats, Truth
from capstan.tasks.predictions import Predictions
from capstan.tasks.probabilities import CALIBRATION_BINS, PROBABILITY
from capstan.tasks.task import Task

Curve = dict[str, Any]
DIAGONAL = [[0.0, 0.0], [1.0, 1.0]]
MOST_POINTS = 40
MOST_CLASSES = 6
"""Classes with a line of their own, the most frequent first."""


def curve(
    title: str,
    axes: tuple[str, str],
    series: Sequence[tuple[str, Sequence[Sequence[Any]]]],
    *,
    reference: Sequence[Sequence[float]] | None = None,
    height: tuple[float, float] | None = None,
    notes: Sequence[str] = (),
) -> Curve:
    """`axes`: what x and y are. x may be texts, which are drawn side by side. `height`: the least and the most y."""
    return {
        "title": title,
        "x": axes[0],
        "y": axes[1],
        "series": [{"name": name, "points": [list(point) for point in points]} for name, points in series],
        "reference": None if reference is None else [list(point) for point in reference],
        "height": height,
        "notes": list(notes),
    }


def curves_of(task: Task, truth: Truth, predictions: Predictions) -> list[Curve]:
    """Those of the kind of label: how classes are told apart, and whether what is said comes true. None for orders."""
    if not len(truth) or task.unsound(predictions).any():
        return []
    if task.facts.label == "Boolean":
        probability = predictions[PROBABILITY]
        return [
            _roc([("", truth, probability)]),
            _precision_recall(truth, probability),
            _calibration([("", truth, probability)]),
        ]
    if task.facts.label == "Anomaly":
        known = ~np.isnan(truth)
        so, score = truth[known] == 1, predictions["score"][known]
        return [_roc([("", so, score)]), _precision_recall(so, score)] if known.any() else []
    if task.facts.label == "Category":
        each = _by_class(truth, predictions)
        return [_roc(each), _calibration(each)]
    if task.facts.label == "Number":
        return _of_numbers(truth, next(iter(predictions.columns.values())))
    return []


def _by_class(truth: Truth, predictions: Predictions) -> list[tuple[str, Any, Floats]]:
    names, counts = np.unique(truth.astype(str), return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")][:MOST_CLASSES].tolist()
    columns = {name: predictions.columns.get(f"{PROBABILITY}.{name}") for name in frequent}
    return [
        (name, truth.astype(str) == name, column) for name, column in columns.items() if column is not None
    ]


def _roc(each: Sequence[tuple[str, Any, Floats]]) -> Curve:
    return curve(
        "ROC",
        ("false positive rate", "true positive rate"),
        [(name, _roc_points(truth, chance)) for name, truth, chance in each],
        reference=DIAGONAL,
    )


def _roc_points(truth: Any, chance: Floats) -> list[list[float]]:
    right, wrong, _ = _counted(truth, chance)
    if not right[-1] or not wrong[-1]:
        return []
    points = np.column_stack([wrong / wrong[-1], right / right[-1]])
    return _thinned(np.vstack([[0.0, 0.0], points]))


def _precision_recall(truth: Any, chance: Floats) -> Curve:
    right, wrong, _ = _counted(truth, chance)
    points: list[list[float]] = []
    if right[-1]:
        kept = right > 0
        points = _thinned(np.column_stack([right / right[-1], right / (right + wrong)])[kept])
    share = float(np.mean(truth))
    return curve(
        "Precision and recall",
        ("recall", "precision"),
        [("", points)],
        reference=[[0.0, share], [1.0, share]],
    )


def _counted(truth: Any, chance: Floats) -> tuple[Floats, Floats, Floats]:
    """True and false positives from each distinct probability on, the highest first."""
    order = np.argsort(-chance, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(chance[order]) != 0, True])
    right = np.cumsum(truth[order].astype(np.float64))[last]
    return right, last + 1.0 - right, chance[order][last]


def _calibration(each: Sequence[tuple[str, Any, Floats]]) -> Curve:
    series = []
    for name, truth, chance in each:
        place = np.minimum((chance * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        bins = [place == at for at in range(CALIBRATION_BINS)]
        points = [[float(chance[one].mean()), float(truth[one].mean())] for one in bins if one.any()]
        series.append((name, points))
    return curve(
        "Calibration", ("probability that was said", "share that came so"), series, reference=DIAGONAL
    )


def _of_numbers(truth: Truth, said: Floats) -> list[Curve]:
    labels = np.asarray(truth, dtype=np.float64)
    order = np.argsort(said, kind="stable")
    lots = [one for one in np.array_split(order, min(CALIBRATION_BINS, len(order))) if len(one)]
    points = [[float(said[one].mean()), float(labels[one].mean())] for one in lots]
    ends = [min(map(min, points)), max(map(max, points))]
    errors = said - labels
    counts, edges = np.histogram(errors, bins=20, range=tuple(np.quantile(errors, [0.01, 0.99]).tolist()))
    middles = (edges[1:] + edges[:-1]) / 2
    return [
        curve(
            "Answers and labels",
            ("mean answer of a tenth of the rows", "mean label"),
            [("", points)],
            reference=[[one, one] for one in ends],
        ),
        curve(
            "Errors",
            ("answer less label", "rows"),
            [("", np.column_stack([middles, counts]).tolist())],
            notes=["the outermost 1 % on either side are left out"],
        ),
    ]


def _thinned(points: Floats) -> list[list[float]]:
    place = np.unique(np.linspace(0, len(points) - 1, min(MOST_POINTS, len(points))).astype(np.int64))
    found: list[list[float]] = np.round(points[place], 5).tolist()
    return found
