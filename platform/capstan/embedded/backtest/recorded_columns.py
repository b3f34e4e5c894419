"""Recorded rows as columns: read once for all versions and policies that are asked about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.recording.outputs import INPUT_PREFIX
from capstan.recording.payloads import TIMESTAMP, Kind, Part, input_columns

Numbers = npt.NDArray[np.int64]


class RecordedColumns:
    """Of requests of a row each, which all have the same columns."""

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], traffic: RecordedTraffic, kinds: Mapping[str, Kind]
    ):
        """`rows` are those of `traffic`; `kinds` say how inputs are stored."""
        self._columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
        self._read: dict[str, npt.NDArray[Any]] = {}
        parts = [Part(self._columns, len(rows))] if len(rows) else []
        self.inputs = pa.table(
            {f"{INPUT_PREFIX}{name}": values for name, values in input_columns(parts, kinds).items()}
        )
        """As a collector stores them."""
        self.event_times = pa.array(traffic.event_times, pa.int64()).cast(TIMESTAMP)
        self.units = pa.array([key or None for key in traffic.keys], pa.string())

    @classmethod
    def of(cls, traffic: RecordedTraffic, kinds: Mapping[str, Kind]) -> RecordedColumns | None:
        """None where a request carries several rows, or rows have different columns."""
        if len(traffic.entity_ids) != len(traffic):
            return None
        rows = [orjson.loads(body) for body in traffic.bodies]
        if len({tuple(row) for row in rows}) > 1:
            return None
        return cls(rows, traffic, kinds)

    def __len__(self) -> int:
        """Of rows."""
        return int(self.inputs.num_rows)

    def entities(self, column: str | None, numbers: Numbers) -> pa.Array:
        """The ids of these rows, as texts."""
        values = self._columns.get(column) if column is not None else None
        if values is None:
            return pa.nulls(len(numbers), pa.string())
        found = [values[number] for number in numbers.tolist()]
        return pa.array([None if value is None else str(value) for value in found], pa.string())

    def read(self, names: Sequence[str], begin: int, end: int) -> dict[str, npt.NDArray[Any]]:
        """A stretch of rows as the transform reads them: a column that they lack is missing."""
        return {name: self._of(name)[begin:end] for name in names}

    def _of(self, name: str) -> npt.NDArray[Any]:
        if name not in self._read:
            values = self._columns.get(name, [None] * len(self))
            kinds = {*map(type, values)}
            plain = np.empty(len(values), dtype=object)
            plain[:] = values
            if kinds <= {float, int, type(None)} and kinds != {type(None)}:
                # A whole number that no float holds stays what it is.
                with suppress(pa.ArrowInvalid):
                    plain = pa.array(values, pa.float64()).to_numpy(zero_copy_only=False)
            self._read[name] = plain
        return self._read[name]
