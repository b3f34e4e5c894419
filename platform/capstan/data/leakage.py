"""Finds features that know what is only known after the prediction.

Two signs give them away. A value that is missing just where the case never got a label was written when the case ended
(a cancelled flight has no departure delay). And a feature that alone nearly decides the label is the label in disguise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.errors import LeakageError
from capstan.features.columns import codes, numbers
from capstan.spec.system import MLSystem

SUSPICIOUS_AUC = 0.98
LEAST_UNLABELLED = 30
"""Fewer cases without a label say nothing about where values are missing."""
MISSING_WITHOUT_LABEL = 0.5
MISSING_WITH_LABEL = 0.01
_MOST_ROWS = 100_000
_BINS = 64


@dataclass(frozen=True)
class Leak:
    """One suspicious feature and what gave it away."""

    feature: str
    column: str
    reason: str

    def __str__(self) -> str:
        return f"feature {self.feature!r} (column {self.column!r}) {self.reason}"


def find_leaks(table: pa.Table, system: MLSystem, *, as_of: datetime | None = None) -> tuple[Leak, ...]:
    """The features of an extracted table that look as if they were written after the prediction.

    `as_of` leaves out cases whose labels may still come.
    """
    data = system.spec.data
    if as_of is not None:
        old = pa.scalar(as_of - data.label.maximum_delay, pa.timestamp("us", "UTC"))
        table = table.filter(pc.less_equal(table[data.keys.time], old))
    labelled = table.filter(pc.is_valid(table[data.label.column]))
    unlabelled = table.filter(pc.is_null(table[data.label.column]))
    step = max(1, -(-labelled.num_rows // _MOST_ROWS))
    sample = labelled.take(np.arange(0, labelled.num_rows, step))
    truth = sample[data.label.column].to_numpy(zero_copy_only=False).astype(bool)
    leaks: list[Leak] = []
    for feature in system.spec.features:
        reason = None
        if feature.column in (data.label.column, data.label.available_at):
            reason = "is the label itself or the moment it became known"
        if reason is None and unlabelled.num_rows >= LEAST_UNLABELLED and labelled.num_rows:
            reason = _missing_without_label(labelled[feature.column], unlabelled[feature.column])
        if reason is None:
            numeric = feature.numeric is not None
            values = numbers(sample[feature.column], feature.column) if numeric else None
            found = _auc_alone(values, sample[feature.column], truth)
            if found > SUSPICIOUS_AUC:
                reason = f"alone tells the label with ROC-AUC {found:.3f}"
        if reason is not None:
            leaks.append(Leak(feature.name, feature.column, reason))
    return tuple(leaks)


def refuse_leaks(table: pa.Table, system: MLSystem, *, as_of: datetime | None = None) -> None:
    """Raises LeakageError that names every suspicious feature."""
    leaks = find_leaks(table, system, as_of=as_of)
    if leaks:
        listed = "; ".join(map(str, leaks))
        raise LeakageError(
            f"features: {listed}. Such a value is only known after the prediction: drop the feature, or use in "
            "data.query what was known before"
        )


def _missing_without_label(labelled: pa.ChunkedArray, unlabelled: pa.ChunkedArray) -> str | None:
    without = unlabelled.null_count / len(unlabelled)
    with_label = labelled.null_count / len(labelled)
    if without >= MISSING_WITHOUT_LABEL and with_label <= MISSING_WITH_LABEL:
        return (
            f"is missing in {without:.0%} of the cases that never got a label and in {with_label:.1%} of the others, "
            "so it is written with the outcome"
        )
    return None


def _auc_alone(
    values: npt.NDArray[np.float64] | None, column: pa.ChunkedArray, truth: npt.NDArray[np.bool_]
) -> float:
    """ROC-AUC of the feature's best use alone: each bin or category scored by the other half of the rows."""
    if len(truth) < 100 or truth.all() or not truth.any():
        return 0.5
    if values is None:
        order: dict[str | None, int] = {}
        groups = codes(column, lambda text: order.setdefault(text, len(order)))
    else:
        present = values[~np.isnan(values)]
        if not present.size:
            return 0.5
        edges = np.unique(np.quantile(present, np.linspace(0, 1, _BINS + 1)[1:-1]))
        groups = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    scores = np.empty(len(truth))
    halves = np.arange(len(truth)) % 2 == 0
    for half in (halves, ~halves):
        size = int(groups.max()) + 1
        positive = np.bincount(groups[~half], weights=truth[~half], minlength=size)
        seen = np.bincount(groups[~half], minlength=size)
        scores[half] = ((positive + truth.mean()) / (seen + 1))[groups[half]]
    found = max(_auc(scores[half], truth[half]) for half in (halves, ~halves))
    if values is None:
        return found
    straight = _auc(values[~np.isnan(values)], truth[~np.isnan(values)])
    return max(found, straight, 1 - straight)


def _auc(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float:
    """Mann-Whitney; 0.5 where one class is absent."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return 0.5
    _, inverse, number = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(number)
    ranks = (last - (number - 1) / 2)[inverse.reshape(-1)]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
