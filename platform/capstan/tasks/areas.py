"""Areas under curves of a ranking: ROC-AUC and average precision, of a window and of resampled days."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from capstan.spec.tasks import MetricFacts
from capstan.tasks.metric import (
    Booleans,
    DayWeights,
    Floats,
    Metric,
    Place,
    Truth,
    Weights,
    divided,
    of_rows,
    share,
)
from capstan.tasks.predictions import Predictions

MOST_BINS = 2048
"""Bins of equal counts into which resampling cuts the scores for average precision."""


def roc_auc(truth: Booleans, score: Floats, weights: Weights | None = None) -> float:
    """Chance that a positive ranks above a negative, ties half; nan with one class only."""
    if weights is not None:
        return _weighted_roc_auc(truth, score, weights)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return math.nan
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = ranks[place.reshape(-1)][truth].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def _weighted_roc_auc(truth: Booleans, score: Floats, weights: Weights) -> float:
    distinct, place = np.unique(score, return_inverse=True)
    place = place.reshape(-1)
    positive = np.bincount(place, weights=weights * truth, minlength=len(distinct))
    negative = np.bincount(place, weights=weights * ~truth, minlength=len(distinct))
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return math.nan
    return float(positive @ (np.cumsum(negative) - negative / 2) / pairs)


def roc_auc_of_days(truth: Booleans, score: Floats, place: Place, weights: DayWeights) -> Floats:
    """The area of a weighted sample is w'Mw / (w'P)(w'N); M[d, e] counts day d's positives above day e's negatives."""
    days = weights.shape[1]
    positives = np.bincount(place, weights=truth, minlength=days)
    negatives = np.bincount(place, weights=~truth, minlength=days)
    wins = np.zeros((days, days))
    positive_scores, positive_days = score[truth], place[truth]
    # Sorted needles find their place several times faster.
    order = np.argsort(positive_scores)
    positive_scores, positive_days = positive_scores[order], positive_days[order]
    for day in range(days):
        scores = np.sort(score[~truth & (place == day)])
        below = np.searchsorted(scores, positive_scores, side="left")
        ties = np.searchsorted(scores, positive_scores, side="right") - below
        wins[:, day] = np.bincount(positive_days, weights=below + ties / 2, minlength=days)
    above = np.einsum("rd,rd->r", weights @ wins, weights)
    pairs = (weights @ positives) * (weights @ negatives)
    return divided(above, pairs)


def average_precision(truth: Booleans, score: Floats, weights: Weights | None = None) -> float:
    """Area under precision and recall as a step function; nan without a positive."""
    counted = np.ones(len(truth)) if weights is None else weights
    order = np.argsort(-score, kind="stable")
    ranked, hits, seen = score[order], np.cumsum((counted * truth)[order]), np.cumsum(counted[order])
    if not len(hits) or not hits[-1]:
        return math.nan
    last_of_tie = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true_positives, above = hits[last_of_tie], seen[last_of_tie]
    precision = share(true_positives, above)
    recall_steps = np.diff(true_positives, prepend=0) / hits[-1]
    return float(np.sum(precision * recall_steps))


def average_precision_of_days(truth: Booleans, score: Floats, place: Place, weights: DayWeights) -> Floats:
    """Exact up to `MOST_BINS` distinct scores, else of scores that are cut into so many bins of equal counts."""
    bins = np.unique(score)
    if len(bins) > MOST_BINS:
        bins = np.unique(np.quantile(score, np.linspace(0, 1, MOST_BINS)))
    # Highest scores first.
    column = len(bins) - 1 - (np.searchsorted(bins, score, side="right") - 1)
    shape = (weights.shape[1], len(bins))
    positive, everyone = (_by_day(place, column, shape, cell) for cell in (truth, np.ones_like(truth)))
    result = np.empty(len(weights))
    for start in range(0, len(weights), 256):
        drawn = weights[start : start + 256]
        new_hits = drawn @ positive
        seen = np.cumsum(drawn @ everyone, axis=1)
        precision = share(np.cumsum(new_hits, axis=1), seen)
        total = new_hits.sum(axis=1)
        area = (precision * new_hits).sum(axis=1)
        result[start : start + 256] = divided(area, total)
    return result


def _by_day(place: Place, column: Place, shape: tuple[int, int], cell: Booleans) -> Floats:
    """(days, columns) sums of the cells."""
    days, columns = shape
    flat = np.bincount(place * columns + column, weights=cell.astype(np.float64), minlength=days * columns)
    return np.asarray(flat, dtype=np.float64).reshape(days, columns)


def of_ranking(
    facts: MetricFacts,
    column: str,
    area: Callable[[Booleans, Floats, Weights | None], float],
    of_days: Callable[[Booleans, Floats, Place, DayWeights], Floats],
) -> Metric:
    """The metric of boolean labels that is an area of the predictions' column."""

    def value(truth: Truth, predictions: Predictions, weights: Weights | None) -> float:
        return area(truth, predictions[column], weights)

    def resampled(truth: Truth, predictions: Predictions, place: Place, weights: DayWeights) -> Floats:
        return of_days(truth, predictions[column], place, weights)

    return of_rows(facts, value, resampled)
