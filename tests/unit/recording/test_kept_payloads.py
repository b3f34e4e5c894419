"""A flush writes what was kept of each body in memory; after a crash the log alone tells the same."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.recording import blocks
from capstan.recording.collector import intake as intake_module
from capstan.recording.collector.boots import Heading
from capstan.recording.collector.intake import Intake

RECEIVED = datetime(2013, 2, 1, 12, 30, tzinfo=UTC)
MOMENT = "2013-02-01T12:00:00Z"
HEADING = Heading("b1", "v3", produced=100, lost=0)


def lonely(first: int, *distances: object) -> dict[str, Any]:
    """Requests of one row: columns of what is told of them, and rows of their inputs."""
    told = {
        "request_id": [f"r{first + at}" for at in range(len(distances))],
        "status": [200 if at else 422 for at in range(len(distances))],
        "output.probability": [0.5 for _ in distances],
    }
    return {
        "boot": "b1", "system": "toy", "version": "v3", "first": first,
        "names": [*told, "input.distance", "input.origin"], "columns": [*told.values()],
        "rows": [{"distance": value, "origin": "JFK"} for value in distances],
        "same": {"role": "champion", "row": 0, "attempt": 1, "event_time": MOMENT},
    }  # fmt: skip


def batch(first: int, *distances: object, **same: object) -> dict[str, Any]:
    """One request of many rows."""
    columns = {
        "row": [*range(len(distances))],
        "output.probability": [0.25 for _ in distances],
        "input.distance": [*distances],
        "input.origin": [None if at % 2 else "LGA" for at in range(len(distances))],
    }
    return {
        "boot": "b1", "system": "toy", "version": "v3", "first": first,
        "names": [*columns], "columns": [*columns.values()],
        "same": {
            "request_id": f"many{first}", "role": "champion", "attempt": 1, "event_time": MOMENT, "status": 200,
            **same,
        },
    }  # fmt: skip


BODIES = [
    [lonely(1, 1.5, 2, 3.25)],
    # A repeated block, and two values that break a rule.
    [lonely(1, 1.5, 2, 3.25), batch(4, 1.0, [1], 3.0, "4")],
    [batch(8, 1.0, 2.0, role="shadow"), batch(10, True, None, arm="v2", unit="u1", shares="v1=60 v3=40")],
    [batch(12, 1.0, event_time="2013-02-03T00:00:00Z"), lonely(13, "x" * 9000, 2.5)],
]


def stored(systems: Path) -> dict[str, pa.Table]:
    """Each file by its place."""
    folder = systems / "toy" / "payloads"
    files = sorted(folder.rglob("*.parquet"))
    return {str(file.relative_to(folder)): pq.read_table(file, partitioning=None) for file in files}


def sequences(systems: Path) -> list[int]:
    return [number for table in stored(systems).values() for number in table["sequence"].to_pylist()]


def taken(root: Path) -> Intake:
    (root / "systems" / "toy" / "payloads").mkdir(parents=True)
    found = Intake(root / "collector", root / "systems")
    for body in BODIES:
        found.receive(HEADING, orjson.dumps(body), RECEIVED)
    return found


def test_what_was_kept_and_what_the_log_tells_are_stored_alike(tmp_path: Path) -> None:
    kept = taken(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    again = Intake(tmp_path / "two" / "collector", tmp_path / "two" / "systems")
    assert again.ledger.statistics() == kept.ledger.statistics()
    for one in (kept, again):
        one.flush()
    assert stored(tmp_path / "one" / "systems") == stored(tmp_path / "two" / "systems")
    assert sorted(sequences(tmp_path / "one" / "systems")) == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 14]
    assert kept.ledger.stored == 12
    assert kept.ledger.refused == 2


def test_a_flush_reads_no_body_again_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = taken(tmp_path)
    monkeypatch.setattr(blocks, "accepted", None)
    monkeypatch.setattr(intake_module, "accepted", None)
    kept.flush()
    assert len(sequences(tmp_path / "systems")) == 12


def test_memory_for_what_is_kept_is_bounded_and_the_rest_is_read_from_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "KEPT_BYTES", len(orjson.dumps(BODIES[0])) + 1)
    few = taken(tmp_path / "few")
    assert [len(records) for records in few._kept.values()] == [1]
    few.flush()
    assert not few._kept
    monkeypatch.undo()
    many = taken(tmp_path / "many")
    assert [len(records) for records in many._kept.values()] == [len(BODIES)]
    many.flush()
    assert stored(tmp_path / "few" / "systems") == stored(tmp_path / "many" / "systems")


def test_a_request_of_many_rows_is_one_answer_and_a_copy_is_none(tmp_path: Path) -> None:
    found = taken(tmp_path).ledger
    # Three of one row, the batches from 4, 10 and 12, and the second of the last body; not the copy.
    assert (found.answered, found.refused_requests) == (7, 1)
