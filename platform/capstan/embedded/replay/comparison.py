"""Managed against static, month by month: what retraining was worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capstan.evaluation.bootstrap import RESAMPLES, day_weights, place_of
from capstan.tasks import Metric, Predictions
from capstan.tasks.metric import Floats, Groups, Truth, numbered

Texts = NDArray[np.str_]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MetricCompared:
    """One metric of both systems on the same labelled rows; None where the rows do not define it."""

    static: float | None
    managed: float | None
    gain: float | None
    """By how much managed is better, whichever way the metric improves."""
    gain_interval: tuple[float, float] | None = None
    """95 % by paired days; only of the metric that the gain is told in."""


@dataclass(frozen=True)
class Compared:
    """One month, or the whole."""

    rows: int
    metrics: Mapping[str, MetricCompared]


def compare(
    metrics: Sequence[Metric],
    truth: Truth,
    static: Predictions,
    managed: Predictions,
    months: Texts,
    days: Texts,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    groups: Groups | None = None,
) -> tuple[dict[str, Compared], Compared, Floats]:
    """Both systems month by month and overall; all arrays are (n,), `months` and `days` are labels of the rows.

    The first of the metrics tells the gain: overall it is the unweighted mean of the months' differences, and days are
    resampled within their month, the same days for both systems. Overall, a metric with a loss per row is that of all
    rows, any other the mean of the months.

    Last comes the gain in each resample of days, (resamples,); it is empty where no month has a gain. Of two managed
    systems that are asked the same rows with the same `rng`, the gains of one place are of the same days: their
    differences are paired.
    """
    by_month: dict[str, Compared] = {}
    samples = []
    for month in np.unique(months):
        rows = months == month
        found, resampled = _compare_rows(
            metrics,
            truth[rows],
            static.rows(rows),
            managed.rows(rows),
            days[rows],
            rng,
            resamples,
            None if groups is None else numbered(groups[rows]),
        )
        by_month[str(month)] = found
        if found.metrics[metrics[0].name].gain is not None:
            samples.append(resampled)
    overall = {metric.name: _overall(metric, by_month, truth, static, managed, groups) for metric in metrics}
    gain_samples: Floats = np.mean(samples, axis=0) if samples else np.empty(0)
    if samples:
        told = overall[metrics[0].name]
        gains = [
            gain for found in by_month.values() if (gain := found.metrics[metrics[0].name].gain) is not None
        ]
        overall[metrics[0].name] = MetricCompared(
            told.static, told.managed, float(np.mean(gains)), interval_of(gain_samples)
        )
    return by_month, Compared(len(truth), overall), gain_samples


def _compare_rows(
    metrics: Sequence[Metric],
    truth: Truth,
    static: Predictions,
    managed: Predictions,
    days: Texts,
    rng: np.random.Generator,
    resamples: int,
    groups: Groups | None,
) -> tuple[Compared, Floats]:
    told = metrics[0]
    place, count = place_of(days, told, groups)
    weights = day_weights(count, rng=rng, resamples=resamples)
    found = {metric.name: _compared(metric, truth, static, managed, groups) for metric in metrics}
    resampled = told.facts.sign * (
        told.resampled(truth, managed, groups, place, weights)
        - told.resampled(truth, static, groups, place, weights)
    )
    resampled = resampled + 0.0
    known = found[told.name]
    if known.gain is not None:
        found[told.name] = MetricCompared(known.static, known.managed, known.gain, interval_of(resampled))
    return Compared(len(truth), found), resampled


def _compared(
    metric: Metric, truth: Truth, static: Predictions, managed: Predictions, groups: Groups | None
) -> MetricCompared:
    before, after = (
        metric.value(truth, predictions, groups) if len(truth) else np.nan
        for predictions in (static, managed)
    )
    if not np.isfinite([before, after]).all():
        return MetricCompared(None, None, None)
    # Plus zero: a difference of nothing is told without a minus.
    return MetricCompared(before, after, metric.facts.sign * (after - before) + 0.0)


def _overall(
    metric: Metric,
    by_month: Mapping[str, Compared],
    truth: Truth,
    static: Predictions,
    managed: Predictions,
    groups: Groups | None,
) -> MetricCompared:
    if metric.facts.is_paired:
        return _compared(metric, truth, static, managed, groups)
    months = [found.metrics[metric.name] for found in by_month.values()]
    known = [(one.static, one.managed, one.gain) for one in months if one.gain is not None]
    if not known:
        return MetricCompared(None, None, None)
    static_mean, managed_mean, gain = (float(np.mean(values)) for values in zip(*known, strict=True))
    return MetricCompared(static_mean, managed_mean, gain)


def interval_of(values: Floats) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.nanquantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
