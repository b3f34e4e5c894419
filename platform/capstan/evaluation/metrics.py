"""Metrics of binary predictions over a window, equal to scikit-learn's on the same input.

Written with numpy alone: importing scikit-learn costs a pipeline step more than all of these together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

THRESHOLD = 0.5
CALIBRATION_BINS = 10
LOWER_IS_BETTER = frozenset({"logLoss", "brierScore", "calibrationError"})
_KEPT_BITS = 40
"""Of the 53 of a prediction, wherever equality or a bound counts: the last ones differ between paths and machines."""


def settled(probability: Floats) -> Floats:
    """The predictions to 12 digits, so that rows of one prediction are a tie whoever computed it."""
    mantissa, exponent = np.frexp(probability)
    rounded: Floats = np.ldexp(np.rint(np.ldexp(mantissa, _KEPT_BITS)), exponent - _KEPT_BITS)
    return rounded


def roc_auc(truth: Booleans, probability: Floats) -> float:
    """Chance that a positive ranks above a negative, ties half; nan with one class only."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return math.nan
    _, place, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = ranks[place.reshape(-1)][truth].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(truth: Booleans, probability: Floats) -> float:
    """Area under precision and recall as a step function; nan without a positive."""
    positives = int(truth.sum())
    if not positives:
        return math.nan
    order = np.argsort(-probability, kind="stable")
    ranked, hits = probability[order], np.cumsum(truth[order])
    last_of_tie = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true_positives = hits[last_of_tie]
    precision = true_positives / (last_of_tie + 1)
    recall_steps = np.diff(true_positives, prepend=0) / positives
    return float(np.sum(precision * recall_steps))


def log_losses(truth: Booleans, probability: Floats) -> Floats:
    """Loss of each prediction; certainty is bounded as scikit-learn bounds it."""
    tiny = np.finfo(np.float64).eps
    bounded = np.clip(probability, tiny, 1 - tiny)
    losses: Floats = -np.log(np.where(truth, bounded, 1 - bounded))
    return losses


def brier_losses(truth: Booleans, probability: Floats) -> Floats:
    """Squared error of each prediction."""
    losses: Floats = (probability - truth) ** 2
    return losses


def confusion(truth: Booleans, probability: Floats) -> tuple[int, int, int, int]:
    """True and false positives, false and true negatives at the threshold."""
    predicted = probability >= THRESHOLD
    true_positives = int(np.sum(predicted & truth))
    false_positives = int(np.sum(predicted)) - true_positives
    false_negatives = int(np.sum(truth)) - true_positives
    return true_positives, false_positives, false_negatives, len(truth) - int(np.sum(predicted | truth))


def from_confusion(metric: str, tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Floats:
    """`accuracy`, `precision`, `recall` or `f1` of counts, element by element; 0 where scikit-learn says 0."""
    above, below = {
        "accuracy": (tp + tn, tp + fp + fn + tn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
    }[metric]
    result: Floats = np.divide(above, below, out=np.zeros_like(below, dtype=np.float64), where=below > 0)
    return result


def calibration_error(truth: Booleans, probability: Floats) -> float:
    """Mean distance of predicted from observed share over ten bins of equal width, weighted by their rows."""
    place = np.minimum((probability * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    predicted = np.bincount(place, weights=probability, minlength=CALIBRATION_BINS)
    observed = np.bincount(place, weights=truth, minlength=CALIBRATION_BINS)
    return float(np.abs(predicted - observed).sum() / len(truth))


def _counted(metric: str) -> Callable[[Booleans, Floats], float]:
    def of(truth: Booleans, probability: Floats) -> float:
        counts = [np.array([float(count)]) for count in confusion(truth, probability)]
        return float(from_confusion(metric, *counts)[0])

    return of


METRICS: Mapping[str, Callable[[Booleans, Floats], float]] = {
    "rocAuc": roc_auc,
    "averagePrecision": average_precision,
    "logLoss": lambda truth, probability: float(np.mean(log_losses(truth, probability))),
    "brierScore": lambda truth, probability: float(np.mean(brier_losses(truth, probability))),
    "accuracy": _counted("accuracy"),
    "precision": _counted("precision"),
    "recall": _counted("recall"),
    "f1": _counted("f1"),
    "calibrationError": calibration_error,
}


def evaluate(truth: Booleans, probability: Floats) -> dict[str, float]:
    """All metrics by name; nan where the window does not define one. A prediction that is no number makes all nan."""
    if not len(truth) or not np.isfinite(probability).all():
        return dict.fromkeys(METRICS, math.nan)
    probability = settled(probability)
    return {name: metric(truth, probability) for name, metric in METRICS.items()}
