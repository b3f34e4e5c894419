"""How sure a difference of two models on the same rows is, when the rows of one day belong together.

Whole days are drawn with replacement (Künsch 1989; Efron & Tibshirani 1993, ch. 8). A drawn sample is a vector of
weights of days, so each metric is first summed up by day and all samples are then a product of matrices: exact for
every metric but `averagePrecision`, whose scores are cut into at most 2,048 bins of equal counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capstan.evaluation import metrics
from capstan.evaluation.metrics import Booleans, Floats

RESAMPLES = 2000
MOST_BINS = 2048

Days = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]
"""(resamples, days): how often each day was drawn."""


@dataclass(frozen=True)
class Difference:
    """First minus second model, with what resampling days says about it."""

    value: float
    resampled: Floats
    """One difference per resample that defines it."""
    days: int

    def quantile(self, share: float) -> float:
        """That quantile of the resampled differences."""
        return float(np.quantile(self.resampled, share))


def paired_difference(
    metric: str,
    truth: Booleans,
    first: Floats,
    second: Floats,
    days: npt.NDArray[np.generic],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Difference | None:
    """The difference of the metric on the same rows, by blocks of `days`; None where the window does not define it."""
    values = (
        [metrics.METRICS[metric](truth, first), metrics.METRICS[metric](truth, second)] if len(truth) else []
    )
    if not values or not np.isfinite(values).all():
        return None
    labels, place = np.unique(days, return_inverse=True)
    place = place.reshape(-1)
    count = len(labels)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    difference = _resampled(metric, truth, first, place, weights) - _resampled(
        metric, truth, second, place, weights
    )
    return Difference(values[0] - values[1], difference[np.isfinite(difference)], count)


def _resampled(metric: str, truth: Booleans, probability: Floats, place: Days, weights: Weights) -> Floats:
    """The metric on each resample; nan where the drawn days do not define it."""
    days = weights.shape[1]
    if metric == "rocAuc":
        return _roc_auc(truth, probability, place, weights)
    if metric == "averagePrecision":
        return _average_precision(truth, probability, place, weights)
    if metric in _LOSSES:
        sums = np.bincount(place, weights=_LOSSES[metric](truth, probability), minlength=days)
        return (weights @ sums) / (weights @ np.bincount(place, minlength=days))
    if metric == "calibrationError":
        return _calibration_error(truth, probability, place, weights)
    predicted = probability >= metrics.THRESHOLD
    cells = (predicted & truth, predicted & ~truth, ~predicted & truth, ~predicted & ~truth)
    counts = [weights @ np.bincount(place, weights=cell, minlength=days) for cell in cells]
    return metrics.from_confusion(metric, *counts)


_LOSSES: dict[str, Callable[[Booleans, Floats], Floats]] = {
    "logLoss": metrics.log_losses,
    "brierScore": metrics.brier_losses,
}


def _roc_auc(truth: Booleans, probability: Floats, place: Days, weights: Weights) -> Floats:
    """AUC of a weighted sample is w'Mw / (w'P)(w'N), where M[d, e] counts day d's positives above day e's negatives."""
    days = weights.shape[1]
    positives = np.bincount(place, weights=truth, minlength=days)
    negatives = np.bincount(place, weights=~truth, minlength=days)
    wins = np.zeros((days, days))
    positive_scores, positive_days = probability[truth], place[truth]
    # Sorted needles find their place several times faster.
    order = np.argsort(positive_scores)
    positive_scores, positive_days = positive_scores[order], positive_days[order]
    for day in range(days):
        scores = np.sort(probability[~truth & (place == day)])
        below = np.searchsorted(scores, positive_scores, side="left")
        ties = np.searchsorted(scores, positive_scores, side="right") - below
        wins[:, day] = np.bincount(positive_days, weights=below + ties / 2, minlength=days)
    above = np.einsum("rd,rd->r", weights @ wins, weights)
    pairs = (weights @ positives) * (weights @ negatives)
    return np.divide(above, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def _average_precision(truth: Booleans, probability: Floats, place: Days, weights: Weights) -> Floats:
    bins = np.unique(probability)
    if len(bins) > MOST_BINS:
        bins = np.unique(np.quantile(probability, np.linspace(0, 1, MOST_BINS)))
    # Highest scores first.
    column = len(bins) - 1 - (np.searchsorted(bins, probability, side="right") - 1)
    positive, everyone = (
        _by_day(place, column, weights.shape[1], len(bins), cell) for cell in (truth, np.ones_like(truth))
    )
    result = np.empty(len(weights))
    for start in range(0, len(weights), 256):
        drawn = weights[start : start + 256]
        new_hits = drawn @ positive
        seen = np.cumsum(drawn @ everyone, axis=1)
        precision = np.divide(np.cumsum(new_hits, axis=1), seen, out=np.zeros_like(seen), where=seen > 0)
        total = new_hits.sum(axis=1)
        area = (precision * new_hits).sum(axis=1)
        result[start : start + 256] = np.divide(area, total, out=np.full(len(drawn), np.nan), where=total > 0)
    return result


def _calibration_error(truth: Booleans, probability: Floats, place: Days, weights: Weights) -> Floats:
    bins = metrics.CALIBRATION_BINS
    column = np.minimum((probability * bins).astype(np.int64), bins - 1)
    gaps = weights @ _by_day(place, column, weights.shape[1], bins, probability - truth)
    distances: Floats = np.abs(gaps).sum(axis=1) / (weights @ np.bincount(place, minlength=weights.shape[1]))
    return distances


def _by_day(place: Days, column: Days, days: int, columns: int, values: npt.NDArray[np.generic]) -> Floats:
    """(days, columns) sums of the values."""
    flat = np.bincount(place * columns + column, weights=values.astype(np.float64), minlength=days * columns)
    return np.asarray(flat, dtype=np.float64).reshape(days, columns)
