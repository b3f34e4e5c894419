"""The losses of labelled answers as a detector sees them: in order of event time, a lot of neighbours as one value.

A lot is a fiftieth of a usual window, so that what the monitor keeps, and what a detector costs, does not grow with the
traffic. With fifty rows a window or fewer, a lot is one row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capstan.tasks import Metric, Predictions
from capstan.tasks.metric import Floats, Groups, Truth, first_of_each

LOTS = 50
"""Of a usual window."""
DIGITS = 9
"""Of a kept mean, so that it is the same however its rows were summed."""


def losses_in_order(
    metric: Metric,
    truth: Truth,
    predictions: Predictions,
    groups: Groups | None,
    moments: NDArray[np.int64],
) -> tuple[Floats, NDArray[np.int64]]:
    """(n,) losses of rows, or of groups, that the metric judges, in order of time, and (n,) the row that each is of.

    `moments` (rows,) are those of the rows; equal ones keep the order of the rows. Of a group it is the first row.
    """
    assert metric.losses is not None
    found = metric.losses(truth, predictions.settled(), groups)
    by_group = groups is not None and metric.facts.unit == "group"
    rows = first_of_each(groups) if by_group and groups is not None else np.arange(len(truth))
    if metric.judges is not None:
        kept = metric.judges(truth, groups)
        found, rows = found[kept], rows[kept]
    order = np.lexsort((rows, moments[rows]))
    return found[order], rows[order]


def means_of_lots(losses: Floats, size: int) -> tuple[float, ...]:
    """The mean of each `size` losses in a row; an unfinished last lot joins the one before it."""
    if not len(losses):
        return ()
    starts = np.arange(max(1, len(losses) // size)) * size
    counts = np.diff(np.append(starts, len(losses)))
    return tuple(float(f"{mean:.{DIGITS}g}") for mean in np.add.reduceat(losses, starts) / counts)


def ends_of_lots(moments: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The last moment of each of these lots."""
    if not len(moments):
        return moments
    count = max(1, len(moments) // size)
    last = np.append(np.arange(1, count) * size, len(moments)) - 1
    found: NDArray[np.int64] = moments[last]
    return found
