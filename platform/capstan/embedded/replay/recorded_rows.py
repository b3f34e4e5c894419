"""Recorded rows as live requests: what to send when, and which label comes when."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class RecordedTraffic:
    """Requests in event order and labels in the order in which they become known; all arrays are aligned by row."""

    entity_ids: list[str]
    event_times: NDArray[np.int64]
    """int64 microseconds since 1970, UTC, ascending."""
    keys: list[str]
    """Values of `data.keys.stickyBy`; empty string where the row has none."""
    bodies: list[bytes]
    """The row as a client writes it, as JSON."""
    labels: list[Any]
    """As JSON; None for a row that never gets a label."""
    label_times: NDArray[np.int64]
    """int64 microseconds: when the label, or the news that there is none, becomes known."""
    label_order: NDArray[np.int64]
    """Row numbers sorted by `label_times`."""

    def __len__(self) -> int:
        return len(self.entity_ids)

    def requests_between(self, start: datetime, end: datetime) -> range:
        """Rows whose event time is in [start, end)."""
        low, high = np.searchsorted(self.event_times, [microseconds(start), microseconds(end)])
        return range(int(low), int(high))

    def labels_between(self, start: datetime, end: datetime) -> NDArray[np.int64]:
        """Rows whose label becomes known in (start, end], for requests that were made by then."""
        ordered = self.label_times[self.label_order]
        low, high = np.searchsorted(ordered, [microseconds(start), microseconds(end)], side="right")
        return self.label_order[low:high]


def microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * MICROSECONDS)


def is_sampled(entity_id: str, share: float) -> bool:
    """A fixed hash sample: the same ids on every machine, in every run."""
    digest = hashlib.blake2b(entity_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def record_traffic(
    table: pa.Table,
    *,
    columns: Sequence[str],
    id_column: str,
    time_column: str,
    key_column: str | None,
    label_column: str,
    share: float,
    no_label_delay_microseconds: int,
) -> RecordedTraffic:
    """Turn an extracted table into requests and labels.

    `columns` are the raw columns of a request; the id, time and key columns travel with them. A row without a label
    says so (`noLabel`) after `no_label_delay_microseconds`.
    """
    ids = table.column(id_column).cast(pa.string()).to_pylist()
    sampled = np.fromiter((is_sampled(i, share) for i in ids), dtype=bool, count=len(ids))
    table = table.filter(pa.array(sampled))
    times = _as_microseconds(table, time_column)
    table = table.take(pa.array(np.argsort(times, kind="stable")))
    times = _as_microseconds(table, time_column)
    sent = list(dict.fromkeys([id_column, time_column, *([key_column] if key_column else []), *columns]))
    labels = table.column(label_column).to_pylist()
    known = _as_microseconds(table, "label_available_at")
    never = np.array([label is None for label in labels], dtype=bool) | (known == np.iinfo(np.int64).min)
    labels = [None if without else label for label, without in zip(labels, never, strict=True)]
    label_times = np.where(never, times + no_label_delay_microseconds, np.maximum(known, times))
    keys = (
        ["" if key is None else str(key) for key in table.column(key_column).to_pylist()]
        if key_column
        else [""] * table.num_rows
    )
    return RecordedTraffic(
        entity_ids=table.column(id_column).cast(pa.string()).to_pylist(),
        event_times=times,
        keys=keys,
        bodies=[orjson.dumps(_as_a_person_writes(row)) for row in table.select(sent).to_pylist()],
        labels=labels,
        label_times=label_times,
        label_order=np.argsort(label_times, kind="stable"),
    )


def _as_microseconds(table: pa.Table, column: str) -> NDArray[np.int64]:
    """Missing moments become the smallest int64."""
    moments = table.column(column).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    filled = moments.fill_null(np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
    return np.asarray(filled, dtype=np.int64)


def _as_a_person_writes(row: dict[str, Any]) -> dict[str, Any]:
    """Values as a person writes them: missing ones are null and never NaN, which JSON does not know."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
