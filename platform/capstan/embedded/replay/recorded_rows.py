"""Recorded rows as live requests: what to send when, and which label comes when."""

from __future__ import annotations

import hashlib
import itertools
import math
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

MICROSECONDS = 1_000_000
_REQUESTS = uuid.uuid5(uuid.NAMESPACE_URL, "capstan.dev/replayed-requests")
"""Any name space: it tells these ids from others that are made of the same words."""


@dataclass(frozen=True)
class RecordedTraffic:
    """Requests in event order, their cases in the order of requests, and labels in that in which they become known.

    A request carries one case, or all cases of a group.
    """

    entity_ids: list[str]
    """By case."""
    cases: NDArray[np.int64]
    """(requests + 1,): the first case of each request, and the number of all."""
    event_times: NDArray[np.int64]
    """By request: int64 microseconds since 1970, UTC, ascending."""
    keys: list[str]
    """By request: the value of `data.keys.stickyBy` in its first case; empty string where it has none."""
    bodies: list[bytes]
    """By request: its rows as a client writes them, as JSON."""
    labels: list[Any]
    """By case, as JSON; None for a case that never gets a label."""
    label_times: NDArray[np.int64]
    """By case: int64 microseconds: when the label, or the news that there is none, becomes known."""
    label_order: NDArray[np.int64]
    """Numbers of cases sorted by `label_times`."""

    def __len__(self) -> int:
        """Of requests."""
        return len(self.bodies)

    def request_id(self, request: int) -> str:
        """The same in each replay of these rows, so that coins that are thrown for a request fall alike."""
        case, moment = self.entity_ids[int(self.cases[request])], int(self.event_times[request])
        return str(uuid.uuid5(_REQUESTS, f"{request}/{moment}/{case}"))

    @cached_property
    def case_of(self) -> dict[str, int]:
        """The case of each entity id."""
        return {entity_id: case for case, entity_id in enumerate(self.entity_ids)}

    def requests_of(self, entity_ids: Collection[str]) -> set[int]:
        """The requests that carry any of these cases."""
        known = [case for case, entity_id in enumerate(self.entity_ids) if entity_id in entity_ids]
        return set((np.searchsorted(self.cases, known, side="right") - 1).tolist())

    def row_of(self, case: int) -> dict[str, Any]:
        """The row that its request carries of it."""
        request = int(np.searchsorted(self.cases, case, side="right")) - 1
        body: dict[str, Any] = orjson.loads(self.bodies[request])
        if self.cases[request + 1] - self.cases[request] == 1:
            return body
        row: dict[str, Any] = body["rows"][case - int(self.cases[request])]
        return row

    def requests_between(self, start: datetime, end: datetime) -> range:
        """Requests whose event time is in [start, end)."""
        low, high = np.searchsorted(self.event_times, [microseconds(start), microseconds(end)])
        return range(int(low), int(high))

    def labels_between(self, start: datetime, end: datetime) -> NDArray[np.int64]:
        """Cases whose label becomes known in (start, end], of requests that were made by then."""
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
    group_column: str | None = None,
    label_column: str,
    share: float,
    no_label_delay_microseconds: int,
) -> RecordedTraffic:
    """Turn an extracted table into requests and labels.

    `columns` are the raw columns of a request; the id, time, key and group columns travel with them. Rows of one group,
    which have one time, are one request. A row without a label says so (`noLabel`) after
    `no_label_delay_microseconds`.
    """
    # Groups are drawn whole.
    names = table.column(group_column or id_column).cast(pa.string()).to_pylist()
    sampled = np.fromiter((is_sampled(name, share) for name in names), dtype=bool, count=len(names))
    table = table.filter(pa.array(sampled))
    table = table.take(pa.array(_in_order(table, time_column, group_column)))
    times = _as_microseconds(table, time_column)
    cases = _first_cases(table, group_column)
    firsts = cases[:-1]
    named = [id_column, time_column, key_column, group_column, *columns]
    sent = list(dict.fromkeys(name for name in named if name is not None))
    labels = table.column(label_column).to_pylist()
    known = _as_microseconds(table, "label_available_at")
    never = np.array([label is None for label in labels], dtype=bool) | (known == np.iinfo(np.int64).min)
    labels = [None if without else label for label, without in zip(labels, never, strict=True)]
    label_times = np.where(never, times + no_label_delay_microseconds, np.maximum(known, times))
    keys = (
        [
            "" if key is None else str(key)
            for key in table.column(key_column).take(pa.array(firsts)).to_pylist()
        ]
        if key_column
        else [""] * len(firsts)
    )
    rows = [_as_a_person_writes(row) for row in table.select(sent).to_pylist()]
    return RecordedTraffic(
        entity_ids=table.column(id_column).cast(pa.string()).to_pylist(),
        cases=cases,
        event_times=times[firsts],
        keys=keys,
        bodies=[_body(rows[first:last]) for first, last in itertools.pairwise(cases.tolist())],
        labels=labels,
        label_times=label_times,
        label_order=np.argsort(label_times, kind="stable"),
    )


def _in_order(table: pa.Table, time_column: str, group_column: str | None) -> NDArray[np.int64]:
    """Rows by time; those of one group together."""
    times = _as_microseconds(table, time_column)
    if group_column is None:
        return np.argsort(times, kind="stable")
    names = table.column(group_column).to_numpy().astype(str)
    order: NDArray[np.int64] = np.lexsort((np.unique(names, return_inverse=True)[1].reshape(-1), times))
    return order


def _first_cases(table: pa.Table, group_column: str | None) -> NDArray[np.int64]:
    """The first row of each request, and the number of rows."""
    if group_column is None or not table.num_rows:
        return np.arange(table.num_rows + 1)
    names = table.column(group_column).to_numpy().astype(str)
    return np.concatenate([[0], np.flatnonzero(names[1:] != names[:-1]) + 1, [len(names)]])


def _body(rows: list[dict[str, Any]]) -> bytes:
    return orjson.dumps(rows[0] if len(rows) == 1 else {"rows": rows})


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
