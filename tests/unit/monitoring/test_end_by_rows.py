"""A window by rows ends with its last row, however often rows were tried again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from capstan.monitoring.drift.reference import Reference
from capstan.monitoring.measuring import Measuring
from capstan.recording.held_rows import HeldRows
from capstan.recording.payloads import PAYLOAD_COLUMNS
from capstan.recording.reading import PayloadReader
from capstan.spec import MLSystem

START, SECOND = datetime(2013, 1, 1, tzinfo=UTC), timedelta(seconds=1)
LAST = timedelta(microseconds=1)


def rows(moments: list[tuple[int, int]]) -> pa.Table:
    """(request, second) of each attempt."""
    usual = {"row": 0, "version": "v1", "role": "champion", "attempt": 1, "status": 200, "nonfinite": False}
    written = [
        {
            **usual,
            "request_id": f"r{request}",
            "entity_id": f"r{request}",
            "event_time": START + at * SECOND,
            "received_at": START + at * SECOND,
            "latency_seconds": 0.01,
            "boot": "b",
            "sequence": number,
        }
        for number, (request, at) in enumerate(moments)
    ]
    return pa.Table.from_pylist(written, schema=PAYLOAD_COLUMNS)


@pytest.fixture
def held() -> HeldRows:
    return HeldRows()


@pytest.fixture
def measuring(system: MLSystem, held: HeldRows, tmp_path: Path) -> Iterator[Measuring]:
    reader = PayloadReader(tmp_path, held=held)
    yield Measuring(system, reader, Reference((), ()), {}, None)
    reader.close()


@pytest.mark.parametrize(
    ("moments", "wanted", "second"),
    [
        ([(n, n) for n in range(100)], 10, 9),
        ([(n, n) for n in range(100)], 100, 99),
        ([(n, n) for n in range(99)], 100, None),
        # Each row is tried again three times, at the same moment and much later.
        ([(n, at) for n in range(20) for at in (n, n, n, 500 + n)], 15, 14),
        ([(n, at) for n in range(20) for at in (n, n, n, 500 + n)], 21, None),
        # The first row alone is tried so often that twice as many attempts hold too few rows.
        ([(0, 0)] * 60 + [(n, n) for n in range(1, 30)], 20, 19),
    ],
)
def test_it_ends_with_the_last_of_its_rows(
    measuring: Measuring, held: HeldRows, moments: list[tuple[int, int]], wanted: int, second: int | None
) -> None:
    held.add_payloads(rows(moments))
    end = measuring.end_by_rows(START, START + 1000 * SECOND, wanted)
    assert end == (None if second is None else START + second * SECOND + LAST)


def test_rows_after_the_latest_moment_do_not_count(measuring: Measuring, held: HeldRows) -> None:
    held.add_payloads(rows([(n, n) for n in range(100)]))
    assert measuring.end_by_rows(START, START + 50 * SECOND, 60) is None
    assert measuring.end_by_rows(START + 20 * SECOND, START + 50 * SECOND, 10) == START + 29 * SECOND + LAST
