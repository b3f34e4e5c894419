"""What traffic sends when: rows drawn at random, changed as asked for, at a steady rate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson

from capstan.embedded.replay.client import Prediction
from capstan.embedded.traffic.changes import Changes


@dataclass(frozen=True)
class Case:
    """One row and its truth."""

    row: Mapping[str, Any]
    """As a client writes it, without keys."""
    label: Any
    """As JSON; None: not known."""
    has_no_label: bool = False
    """Whether its table keeps labels and holds none of it: none will ever come."""


@dataclass(frozen=True)
class RecordedRequest:
    """What one request carries: a case, or all cases of a group."""

    cases: tuple[Case, ...]
    key: str
    """Sticky key; empty for none."""


@dataclass(frozen=True)
class KeyColumns:
    """Columns of a request that traffic fills by itself; None: the file names none."""

    id: str | None = None
    time: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class PlannedRequest:
    """One request, and when it is to be sent."""

    due: float
    """Seconds after the start."""
    prediction: Prediction
    cases: tuple[Case, ...]
    """As they were before the changes, which no label knows of."""
    ids: tuple[str | None, ...]
    """The fresh id of each case; None: the file names no column of ids."""


def plan_traffic(
    recorded: Sequence[RecordedRequest],
    keys: KeyColumns,
    changes: Changes,
    *,
    rate: float,
    length: timedelta | None,
    start: datetime,
    rng: np.random.Generator,
) -> Iterator[PlannedRequest]:
    """The requests in the order in which they are due: `rate` a second, for `length` or without end.

    Each pass sends every recorded request once, in an order of its own. Ids hold the start, so that no two runs share
    one. The same arguments give the same requests, byte for byte.
    """
    most = None if length is None else max(1, round(length.total_seconds() * rate))
    name = f"{start:%Y%m%dT%H%M%S%f}"
    for number, chosen in enumerate(itertools.islice(_drawn(len(recorded), rng), most)):
        request = recorded[chosen]
        due = number / rate
        at = (start + timedelta(seconds=due)).isoformat()
        rows, ids = [], []
        for place, case in enumerate(request.cases, start=1):
            fresh = f"{name}-{number + 1}" + (f"-{place}" if len(request.cases) > 1 else "")
            filled = {keys.id: fresh, keys.time: at, keys.group: f"{name}-{number + 1}"}
            named = {column: value for column, value in filled.items() if column is not None}
            rows.append({**changes.of(case.row, rng=rng), **named})
            ids.append(fresh if keys.id is not None else None)
        body = orjson.dumps(rows[0] if len(rows) == 1 else {"rows": rows})
        yield PlannedRequest(due, Prediction(body, request.key, ""), request.cases, tuple(ids))


def _drawn(count: int, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()
