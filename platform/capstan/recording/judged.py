"""Which rows, or groups of rows, a metric can judge by the labels that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.tasks import Metric, Task
from capstan.tasks.metric import Groups, Truth, numbered

Mask = npt.NDArray[np.bool_]


def truth_of(task: Task, label: pa.Array, used: Mask) -> Truth:
    """The labels of the rows that are used."""
    return task.label.truth(label.filter(pa.array(used)).to_numpy(zero_copy_only=False))


def judged_groups(
    metric: Metric, task: Task, label: pa.Array, is_without: Mask, groups: Groups
) -> tuple[Mask, Mask]:
    """Of each group: whether the metric judges it by its labels, and whether it never will.

    A group has its labels when each row has one or never will, and at least one has.
    """
    labelled = label.is_valid().to_numpy(zero_copy_only=False)
    is_open = any_of(groups, ~labelled & ~is_without)
    has_label = any_of(groups, labelled)
    units, without = has_label & ~is_open, ~has_label & ~is_open
    if metric.judges is None:
        return units, without
    used = labelled & units[groups]
    judged = units.copy()
    judged[units] = metric.judges(truth_of(task, label, used), numbered(groups[used]))
    return judged, without | (units & ~judged)


def any_of(groups: Groups, mask: npt.NDArray[Any]) -> Mask:
    """(groups,): whether the mask holds for any row of the group."""
    return np.bincount(groups, weights=mask, minlength=int(groups.max()) + 1) > 0
