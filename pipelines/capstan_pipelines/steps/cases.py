"""Tables between steps, as files that are mapped into memory instead of read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.spec.system import MLSystemSpec
from capstan.tasks.metric import numbered

if TYPE_CHECKING:
    from capstan.data.folds import Folds

WRITTEN_ROWS = 1_000_000
TABLE, PARTS, TOLD = "cases.arrow", "parts.npz", "told.json"


def write_table(table: pa.Table, path: Path) -> None:
    """As an Arrow file, uncompressed so that it can be mapped; of a large table a part is held at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for begin in range(0, max(1, table.num_rows), WRITTEN_ROWS):
            writer.write_table(table.slice(begin, WRITTEN_ROWS).combine_chunks())


def read_table(path: Path) -> pa.Table:
    """The table, mapped: processes that read the same one share its memory."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


@dataclass(frozen=True)
class Parted:
    """Trainable cases, and which of them train, choose and judge."""

    table: pa.Table
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    warnings: tuple[str, ...] = ()
    """What is wrong with how the parts fall."""
    folds: Folds | None = None
    """Of training and validation; None: the validation rows alone choose."""
    tables: tuple[Mapping[str, Any], ...] = ()
    """How the parts fall, for the report."""
    began: float | None = None
    """When the training began, in seconds since 1970; None: not known."""

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_table(self.table, folder / TABLE)
        folds = {} if self.folds is None else {"folds": self.folds.of_rows}
        np.savez(folder / PARTS, training=self.training, validation=self.validation, test=self.test, **folds)
        told: dict[str, Any] = {"warnings": self.warnings, "tables": self.tables, "began": self.began}
        told["is_forward"] = self.folds is not None and self.folds.is_forward
        (folder / TOLD).write_text(json.dumps(told))

    @classmethod
    def read(cls, folder: Path) -> Parted:
        told = json.loads((folder / TOLD).read_text())
        with np.load(folder / PARTS) as parts:
            indices = (parts["training"], parts["validation"], parts["test"])
            of_rows = parts.get("folds")
        table = read_table(folder / TABLE)
        folds = None
        if of_rows is not None:
            from capstan.data.folds import Folds

            folds = Folds(of_rows, told["is_forward"])
        return cls(table, *indices, tuple(told["warnings"]), folds, tuple(told["tables"]), told["began"])

    @property
    def choosing(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """The rows that learn and those that choose, fold by fold; without folds once."""
        if self.folds is None:
            yield self.training, self.validation
        else:
            yield from self.folds

    def rows(self, indices: npt.NDArray[np.int64]) -> pa.Table:
        """The rows; without a copy where they stand together, as they do in order of time."""
        if len(indices) and (np.diff(indices) == 1).all():
            return self.table.slice(int(indices[0]), len(indices))
        return self.table.take(indices)


def times_of(table: pa.Table, column: str) -> npt.NDArray[np.datetime64]:
    """The column's instants in UTC."""
    naive = table[column].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    times: npt.NDArray[np.datetime64] = naive.to_numpy()
    return times


MOST_LOTS = 1000
"""Lots of rows that are drawn together where rows have no time; more make a bound hardly surer and cost memory."""


def resampled_by(table: pa.Table, spec: MLSystemSpec, *, most: int = MOST_LOTS) -> npt.NDArray[np.int64]:
    """Which rows are drawn together to say how sure a metric is: those of one day.

    Where rows have no time, each by itself, or those of one group; of more rows than `most` lots of neighbours.
    """
    data = spec.data
    if data.keys.time is not None:
        return days_of(table, data.keys.time, data.time_zone)
    if data.keys.group is not None:
        found: npt.NDArray[np.int64] = numbered(table[data.keys.group].to_numpy().astype(str))
        return found
    lots = min(table.num_rows, most)
    place: npt.NDArray[np.int64] = np.arange(table.num_rows, dtype=np.int64) * lots // max(1, table.num_rows)
    return place


def days_of(table: pa.Table, column: str, zone: str) -> npt.NDArray[np.int64]:
    """Which day of the zone each row belongs to, as days since 1970."""
    local = pc.local_timestamp(table[column].cast(pa.timestamp("us", zone)))
    days: npt.NDArray[np.int64] = (
        local.cast(pa.date32(), safe=False).cast(pa.int32()).to_numpy().astype(np.int64)
    )
    return days
