"""Metrics of a window of labelled predictions, and whether a drop is more than chance.

Rows of one day are alike, so the standard error is that of a jackknife over days, which holds for every metric. In a
window of minutes or hours there are no days to compare. There the blocks are requests in a row, if the file judges
versions by such blocks too. A drop counts when the metric is worse than the reference by more than `maxDrop` and a
one-sided bound, from Student's t with blocks - 1 degrees of freedom, excludes that it is no worse at all. The reference
has an error too: a test window that was lucky would else alarm for as long as the version lives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from capstan.spec.tasks import MetricFacts
from capstan.tasks import Metric, Predictions
from capstan.tasks.metric import Groups, Truth, numbered

LEAST_DAYS = 3
"""Fewer days say nothing about how days differ."""
LEAST_BLOCKS = 7
"""Fewer blocks of requests say nothing; as many as a verdict on two versions needs."""
MOST_BLOCKS = 200
"""Of requests in a window: a jackknife computes the metric once for each."""


@dataclass(frozen=True)
class Quality:
    """A metric of one window."""

    value: float | None
    """None: not defined on these rows, as the AUC of one class."""
    standard_error: float | None
    """None: too few blocks."""
    blocks: int


def measure(
    metric: Metric,
    truth: Truth,
    predictions: Predictions,
    blocks: NDArray[np.int64],
    *,
    groups: Groups | None = None,
    least: int = LEAST_DAYS,
) -> Quality:
    """The metric with its standard error; `blocks` says of which day, or other block, each row is.

    With fewer than `least` of them there is no standard error.
    """
    predictions = predictions.settled()
    value = metric.value(truth, predictions, groups) if len(truth) else math.nan
    present = np.unique(blocks)
    if not math.isfinite(value):
        return Quality(None, None, len(present))
    error = None
    if len(present) >= least:
        without = np.array(
            [_without(metric, truth, predictions, groups, blocks != block) for block in present]
        )
        if np.isfinite(without).all():
            count = len(present)
            error = float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))
    return Quality(value, error, len(present))


def blocks_of_requests(requests: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The block of each row: `size` requests in a row, or more so that there are at most MOST_BLOCKS.

    `requests` (rows,) numbers the request of each row from 0, in event order. An unfinished last block joins the one
    before it.
    """
    count = int(requests[-1]) + 1 if len(requests) else 0
    size = max(size, -(-count // MOST_BLOCKS))
    return np.minimum(requests // size, max(count // size - 1, 0))


def _without(
    metric: Metric, truth: Truth, predictions: Predictions, groups: Groups | None, kept: NDArray[np.bool_]
) -> float:
    inner = None if groups is None else numbered(groups[kept])
    return metric.value(truth[kept], predictions.rows(kept), inner)


@dataclass(frozen=True)
class QualityReference:
    """The metric on the version's test window."""

    value: float
    standard_error: float = 0.0
    """0: not known, or too few blocks."""


@dataclass(frozen=True)
class Drop:
    """How much worse than the reference, and whether that is an alert."""

    drop: float
    bound: float | None
    """The drop is above this with the stated confidence; None: not known, so no alert."""
    is_breach: bool


def judge_drop(
    metric: MetricFacts,
    quality: Quality,
    reference: QualityReference,
    *,
    max_drop: float,
    error_probability: float,
) -> Drop | None:
    """The drop below the reference; None where the metric itself is unknown."""
    if quality.value is None or not math.isfinite(reference.value):
        return None
    drop = metric.sign * (reference.value - quality.value)
    if quality.standard_error is None:
        return Drop(drop, None, False)
    quantile = float(stdtrit(quality.blocks - 1, 1 - error_probability))
    bound = drop - quantile * math.hypot(quality.standard_error, reference.standard_error)
    return Drop(drop, bound, drop > max_drop and bound > 0)
