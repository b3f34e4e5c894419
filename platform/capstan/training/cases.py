"""Labelled rows as training takes them: their table, their truth, and which of them belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.tasks import Task, each_task_of, task_of
from capstan.tasks.metric import Floats, Groups, Truth, numbered
from capstan.training.sampling import WEIGHT

if TYPE_CHECKING:
    import pyarrow as pa

    from capstan.spec.models import PlannedModel
    from capstan.spec.system import MLSystem


@dataclass(frozen=True)
class Cases:
    """Labelled rows; of a task that learns without labels all rows."""

    task: Task
    table: pa.Table
    truth: Truth
    groups: Groups | None = None
    """None: the system's rows belong to no group."""
    in_time_order: bool = True
    """Whether each row is no earlier than the one before it; not where the file names no column of times."""
    zone: str = "UTC"
    """IANA zone of the file, by whose clocks moments have parts."""
    weights: Floats | None = None
    """(n,) of a sample whose rows were not drawn alike; None: all count alike."""

    @classmethod
    def of(cls, table: pa.Table, system: MLSystem) -> Cases:
        """Rows of a table whose label column has no missing value, as the whole system is judged on them."""
        return cls._labelled(task_of(system.spec), table, system.spec.data.label.column, system)

    @classmethod
    def of_model(cls, table: pa.Table, system: MLSystem, model: PlannedModel) -> Cases:
        """The rows that a model learns from: those with its own label, where it learns from that.

        Raises InvalidDataError if none has one.
        """
        target = table[model.target]
        if target.null_count and each_task_of(system.spec).facts.needs_labels:
            table = table.filter(target.is_valid())
            if not table.num_rows:
                raise InvalidDataError(
                    f"none of the {len(target):,} rows has a label in {model.target!r}, the target of model "
                    f"{model.name}; correct its target, or train on other days"
                )
        return cls._labelled(each_task_of(system.spec), table, model.target, system)

    @classmethod
    def _labelled(cls, task: Task, table: pa.Table, target: str, system: MLSystem) -> Cases:
        truth = task.label.truth(table[target].to_numpy(zero_copy_only=False))
        data = system.spec.data
        groups = groups_of(table, data.keys.group)
        weights = table[WEIGHT].to_numpy() if WEIGHT in table.column_names else None
        return cls(task, table, truth, groups, data.keys.time is not None, data.time_zone, weights)

    def chosen(self, rows: npt.NDArray[np.bool_]) -> Cases:
        """Those rows alone."""
        import pyarrow as arrow

        groups = None if self.groups is None else numbered(self.groups[rows])
        return replace(
            self,
            table=self.table.filter(arrow.array(rows)),
            truth=self.truth[rows],
            groups=groups,
            weights=None if self.weights is None else self.weights[rows],
        )


def groups_of(table: pa.Table, column: str | None) -> Groups | None:
    """The group of each row, numbered from 0; None without a column."""
    if column is None:
        return None
    names = table[column].to_numpy(zero_copy_only=False).astype(str)
    return numbered(names)
