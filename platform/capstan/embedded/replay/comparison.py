"""Managed against static, month by month: what retraining was worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Texts = NDArray[np.str_]

RESAMPLES = 2000
CONFIDENCE = 0.95
RESAMPLES_AT_ONCE = 250
"""Number of resamples in one array, which keeps a month of 10,000 rows below 100 MB."""
CLIP = 0.001
"""Probabilities are clipped to [CLIP, 1 - CLIP] before log loss, as in the verdicts."""


@dataclass(frozen=True)
class Compared:
    """One month, or the whole, of both systems on the same labelled rows; intervals are 95 % by paired days."""

    rows: int
    auc_static: float | None
    auc_managed: float | None
    auc_gain: float | None
    auc_gain_interval: tuple[float, float] | None
    log_loss_static: float | None
    log_loss_managed: float | None


def day_weighted_aucs(labels: Floats, scores: Floats, day_of_row: Counts, counts: Counts) -> Floats:
    """ROC-AUC of the scores when each day counts as often as it was drawn.

    labels: (n,) of 0 and 1; scores: (n,); day_of_row: (n,) day numbers; counts: (k, days). Returns (k,), NaN where a
    class was not drawn. The area is the share of (positive, negative) pairs in the right order, ties counting half.
    """
    distinct, group_of_row = np.unique(scores, return_inverse=True)
    shape = (counts.shape[1], len(distinct))
    positive, negative = np.zeros(shape), np.zeros(shape)
    np.add.at(positive, (day_of_row, group_of_row), labels)
    np.add.at(negative, (day_of_row, group_of_row), 1 - labels)
    areas = []
    for start in range(0, len(counts), RESAMPLES_AT_ONCE):
        drawn = counts[start : start + RESAMPLES_AT_ONCE].astype(np.float64)
        positives, negatives = drawn @ positive, drawn @ negative
        below = np.cumsum(negatives, axis=1) - negatives / 2
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            areas.append(np.einsum("kg,kg->k", positives, below) / pairs)
    return np.concatenate(areas)


def day_counts(days: int, resamples: int, rng: np.random.Generator) -> Counts:
    """How often each of `days` days is drawn in each resample: (resamples, days); the first row is the original."""
    drawn = rng.multinomial(days, np.full(days, 1 / days), size=resamples)
    return np.vstack([np.ones((1, days), dtype=drawn.dtype), drawn])


def log_loss(labels: Floats, probabilities: Floats) -> float:
    clipped = np.clip(probabilities, CLIP, 1 - CLIP)
    return float(-np.mean(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


def compare(
    labels: Floats,
    static: Floats,
    managed: Floats,
    months: Texts,
    days: Texts,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[dict[str, Compared], Compared]:
    """Both systems month by month and overall; all arrays are (n,), `months` and `days` are labels of the rows.

    The overall gain is the unweighted mean of the months' ROC-AUC differences; days are resampled within their month,
    the same days for both systems.
    """
    by_month: dict[str, Compared] = {}
    differences = []
    for month in np.unique(months):
        rows = months == month
        compared, resampled = _compare_month(
            labels[rows], static[rows], managed[rows], days[rows], rng, resamples
        )
        by_month[str(month)] = compared
        if compared.auc_gain is not None:
            differences.append(resampled)
    gain = interval = None
    if differences:
        means = np.mean(differences, axis=0)
        gain, interval = float(means[0]), _interval(means[1:])
    overall = Compared(
        rows=len(labels),
        auc_static=_mean_of(by_month, "auc_static"),
        auc_managed=_mean_of(by_month, "auc_managed"),
        auc_gain=gain,
        auc_gain_interval=interval,
        log_loss_static=log_loss(labels, static) if len(labels) else None,
        log_loss_managed=log_loss(labels, managed) if len(labels) else None,
    )
    return by_month, overall


def _compare_month(
    labels: Floats,
    static: Floats,
    managed: Floats,
    days: Texts,
    rng: np.random.Generator,
    resamples: int,
) -> tuple[Compared, Floats]:
    names, day_of_row = np.unique(days, return_inverse=True)
    counts = day_counts(len(names), resamples, rng)
    areas: dict[str, Floats] = {}
    for system, scores in (("static", static), ("managed", managed)):
        areas[system] = day_weighted_aucs(labels, scores, day_of_row, counts)
    resampled = areas["managed"] - areas["static"]
    known = bool(np.isfinite(resampled[0]))
    compared = Compared(
        rows=len(labels),
        auc_static=float(areas["static"][0]) if known else None,
        auc_managed=float(areas["managed"][0]) if known else None,
        auc_gain=float(resampled[0]) if known else None,
        auc_gain_interval=_interval(resampled[1:]) if known else None,
        log_loss_static=log_loss(labels, static),
        log_loss_managed=log_loss(labels, managed),
    )
    return compared, resampled


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _mean_of(by_month: Mapping[str, Compared], name: str) -> float | None:
    values = [value for month in by_month.values() if (value := getattr(month, name)) is not None]
    return float(np.mean(values)) if values else None
