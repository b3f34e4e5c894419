"""Metrics of a window of labelled predictions, and whether a drop is more than chance.

Rows of one day are alike, so the standard error is that of a jackknife over days, which holds for every metric. A drop
counts when the metric is worse than the reference by more than `maxDrop` and a one-sided bound, from Student's t with
days - 1 degrees of freedom, excludes that it is no worse at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import rankdata

from capstan.spec.metrics import LOWER_IS_BETTER

Numbers = NDArray[np.float64]
CLIP = 0.001
DECISION = 0.5
LEAST_DAYS = 3
"""Fewer days say nothing about how days differ."""


def _roc_auc(truth: Numbers, scores: Numbers) -> float:
    positives = float(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return math.nan
    ranks = rankdata(scores)
    return float((ranks[truth > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _average_precision(truth: Numbers, scores: Numbers) -> float:
    if not truth.sum():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(truth[order])[last_of_ties]
    precision = hits / (np.flatnonzero(last_of_ties) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / truth.sum())


def _log_loss(truth: Numbers, scores: Numbers) -> float:
    clipped = scores.clip(CLIP, 1 - CLIP)
    return float(-(truth * np.log(clipped) + (1 - truth) * np.log1p(-clipped)).mean())


def _brier(truth: Numbers, scores: Numbers) -> float:
    return float(((truth - scores) ** 2).mean())


def _accuracy(truth: Numbers, scores: Numbers) -> float:
    return float(((scores >= DECISION) == (truth > 0)).mean())


def _precision(truth: Numbers, scores: Numbers) -> float:
    chosen = scores >= DECISION
    return float(truth[chosen].mean()) if chosen.any() else math.nan


def _recall(truth: Numbers, scores: Numbers) -> float:
    return float((scores >= DECISION)[truth > 0].mean()) if truth.any() else math.nan


def _f1(truth: Numbers, scores: Numbers) -> float:
    chosen = scores >= DECISION
    both = float(truth[chosen].sum())
    total = float(chosen.sum() + truth.sum())
    return 2 * both / total if total else math.nan


METRICS: dict[str, Callable[[Numbers, Numbers], float]] = {
    "rocAuc": _roc_auc,
    "averagePrecision": _average_precision,
    "logLoss": _log_loss,
    "brierScore": _brier,
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
}


@dataclass(frozen=True)
class Quality:
    """A metric of one window."""

    value: float | None
    """None: not defined on these rows, as the AUC of one class."""
    standard_error: float | None
    """None: too few days."""
    days: int


def measure(metric: str, truth: Numbers, scores: Numbers, days: NDArray[np.int64]) -> Quality:
    """The metric with its standard error; `truth` is 0 or 1, `days` says of which day each row is."""
    compute = METRICS[metric]
    value = compute(truth, scores) if len(truth) else math.nan
    present = np.unique(days)
    if not math.isfinite(value):
        return Quality(None, None, len(present))
    error = None
    if len(present) >= LEAST_DAYS:
        without = np.array([compute(truth[days != day], scores[days != day]) for day in present])
        if np.isfinite(without).all():
            count = len(present)
            error = float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))
    return Quality(value, error, len(present))


@dataclass(frozen=True)
class Drop:
    """How much worse than the reference, and whether that is an alert."""

    drop: float
    bound: float | None
    """The drop is above this with the stated confidence; None: not known, so no alert."""
    is_breach: bool


def judge_drop(
    metric: str, quality: Quality, reference: float, *, max_drop: float, error_probability: float
) -> Drop | None:
    """The drop below the reference; None where the metric itself is unknown."""
    if quality.value is None or not math.isfinite(reference):
        return None
    drop = quality.value - reference if metric in LOWER_IS_BETTER else reference - quality.value
    if quality.standard_error is None:
        return Drop(drop, None, False)
    quantile = float(stdtrit(quality.days - 1, 1 - error_probability))
    bound = drop - quantile * quality.standard_error
    return Drop(drop, bound, drop > max_drop and bound > 0)
