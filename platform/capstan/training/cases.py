"""Labelled rows as training takes them: their table, their truth, and which of them belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from capstan.tasks import Task, task_of
from capstan.tasks.metric import Groups, Truth, numbered

if TYPE_CHECKING:
    import pyarrow as pa

    from capstan.spec.system import MLSystem


@dataclass(frozen=True)
class Cases:
    """Labelled rows."""

    task: Task
    table: pa.Table
    truth: Truth
    groups: Groups | None = None
    """None: the system's rows belong to no group."""

    @classmethod
    def of(cls, table: pa.Table, system: MLSystem) -> Cases:
        """Rows of a table whose label column has no missing value."""
        data = system.spec.data
        task = task_of(system.spec.objective)
        truth = task.label.truth(table[data.label.column].to_numpy(zero_copy_only=False))
        return cls(task, table, truth, groups_of(table, data.keys.group))

    def chosen(self, rows: npt.NDArray[np.bool_]) -> Cases:
        """Those rows alone."""
        import pyarrow as arrow

        groups = None if self.groups is None else numbered(self.groups[rows])
        return Cases(self.task, self.table.filter(arrow.array(rows)), self.truth[rows], groups)


def groups_of(table: pa.Table, column: str | None) -> Groups | None:
    """The group of each row, numbered from 0; None without a column."""
    if column is None:
        return None
    names = table[column].to_numpy(zero_copy_only=False).astype(str)
    return numbered(names)
