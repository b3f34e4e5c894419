"""Payloads and labels of a system in memory, for a backtest: nobody would read the files again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HeldRows:
    """What a collector would store; `PayloadReader` reads either."""

    def __init__(self) -> None:
        self._payloads = _Held("event_time")
        self._labels = _Held("available_at")

    def add_payloads(self, table: pa.Table) -> None:
        """Columns as `recording.payloads` stores them."""
        self._payloads.add(table)

    def add_labels(self, table: pa.Table) -> None:
        """Columns as `recording.labels` stores them."""
        self._labels.add(table)

    def payloads(self, start: datetime, end: datetime) -> pa.Table | None:
        """At least those with event time in [start, end); None: there are none."""
        return self._payloads.around(start, end)

    def labels(self, after: datetime, until: datetime) -> pa.Table | None:
        """At least those that became available in [after, until]; None: there are none."""
        return self._labels.around(after, until)


class _Held:
    def __init__(self, moment: str) -> None:
        self._moment = moment
        self._tables: list[pa.Table] = []
        self._ends: list[tuple[int, int]] = []
        """First and last moment of each table, in microseconds."""

    def add(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        ends = pc.min_max(table[self._moment].cast(pa.int64())).as_py()
        self._tables.append(table)
        self._ends.append((ends["min"], ends["max"]))

    def around(self, start: datetime, end: datetime) -> pa.Table | None:
        first, last = ((moment - _EPOCH) // timedelta(microseconds=1) for moment in (start, end))
        ends: npt.NDArray[np.int64] = np.array(self._ends, dtype=np.int64).reshape(-1, 2)
        wanted = np.flatnonzero((ends[:, 1] >= first) & (ends[:, 0] <= last))
        found = [self._tables[at] for at in wanted.tolist()]
        return pa.concat_tables(found, promote_options="permissive") if found else None
