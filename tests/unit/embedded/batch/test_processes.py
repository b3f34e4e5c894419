"""Claims about batches by the calendar on one machine: each is a process, which ends with its loop."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from unit.cli.served_place import FILE, SYSTEM, Place

from capstan.adapters.processes.spec import ProcessPhase, ProcessSpec
from capstan.domain.batch_calendar import BatchState, BatchStatus, plan_batch
from capstan.domain.training import RunPhase
from capstan.embedded.batch import process, watching
from capstan.embedded.batch.processes import NAME, ProcessBatches
from capstan.embedded.live import take_down
from capstan.embedded.wiring import processes_of, spec_document
from capstan.engine.policies import system_policy
from capstan.ports.codec import to_json
from capstan.spec import load

BATCHED = FILE.replace("keys: {id: flight_id}", "keys: {id: flight_id, time: departure}").replace(
    "  features:", '  batch: {schedule: "0 3 * * *", output: predictions}\n  features:'
)
NOBODY = "http://127.0.0.1:9"
"""Address of a collector that is away."""
SERVES = datetime(2026, 3, 1, 10, tzinfo=UTC)


class InThisProcess:
    """Processes of which one does its work when it is asked how far it is, unless it was ended before."""

    def __init__(self) -> None:
        self.order: dict[str, Any] | None = None
        self.refusal: Exception | None = None
        self.is_killed = False

    def ensure(self, spec: ProcessSpec) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.order, self.is_killed = json.loads(Path(spec.argv[-1]).read_text()), False

    def tick_one(self, _name: str) -> None:
        if self.order is not None and not self.is_killed:
            Path(self.order["result"]).write_text(json.dumps(to_json(process.run(self.order))))
            self.is_killed = True

    def status(self) -> dict[str, SimpleNamespace]:
        phase = ProcessPhase.EXITED if self.is_killed else ProcessPhase.RUNNING
        return {} if self.order is None else {NAME: SimpleNamespace(phase=phase)}

    def stop(self, _name: str) -> None:
        self.order = None


class Batches:
    """One life of a loop; time stands still unless a test moves it."""

    def __init__(
        self, place: Place, now: datetime, state: BatchState | None = None, processes: Any = None
    ) -> None:
        system = load(place.folder / "system.yaml")
        self.place, self.now, self.state = place, now, state or BatchState()
        self.processes = processes or InThisProcess()
        self.made = ProcessBatches(self.processes, place.state, system, spec_document(system), NOBODY)
        self.events: list[str] = []
        self.calendar = system_policy(system).batches
        assert self.calendar is not None

    def look(self) -> bool:
        """Whether there is anything to wait for."""
        begun, champion = self.state.begun, self.place.versions[0]
        seen = self.made.status(begun) if begun is not None else BatchStatus(RunPhase.ABSENT)
        step = plan_batch(self.calendar, self.state, seen, champion, SERVES, now=self.now)
        self.state = step.state
        if step.ended is not None:
            self.events.append(self.state.told)
        if step.start is not None:
            self.made.start(step.start)
        return step.ended is not None or (self.state.begun is not None and not self.state.has_failed)

    def settle(self) -> None:
        """Until nothing runs and nothing is due."""
        deadline = time.monotonic() + 300
        while self.look():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(tmp_path_factory.mktemp("scheduled"))
    (made.folder / "system.yaml").write_text(BATCHED)
    rows = [
        f"{day}/{hour},2026-03-{day:02d}T{hour:02d}:00:00Z,500,UA" for day in (1, 2, 3) for hour in range(24)
    ]
    made.table("\n".join(["flight_id,departure,distance,carrier", *rows]) + "\n", "flights.csv")
    return made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_TRIES", 1)


@pytest.fixture
def batches(place: Place) -> Iterator[Batches]:
    for folder in (place.state.batches(SYSTEM), place.folder / "predictions"):
        shutil.rmtree(folder, ignore_errors=True)
    made = Batches(place, datetime(2026, 3, 2, 3, tzinfo=UTC))
    yield made
    made.made.end()


def written(place: Place) -> dict[str, list[str]]:
    return {
        folder.name: [
            identity
            for file in sorted(folder.glob("*.parquet"))
            for identity in pq.ParquetFile(file).read()["flight_id"].to_pylist()
        ]
        for folder in sorted((place.folder / "predictions").iterdir())
    }


def test_each_row_is_in_one_batch_and_each_is_told(batches: Batches) -> None:
    batches.settle()
    batches.settle()
    batches.now += timedelta(days=1, minutes=5)
    batches.settle()
    found = written(batches.place)
    assert list(found) == [
        "2026-03-01T030000Z--2026-03-02T030000Z", "2026-03-02T030000Z--2026-03-03T030000Z",
    ]  # fmt: skip
    hours = [f"{day}/{hour}" for day in (1, 2, 3) for hour in range(24)]
    assert [identity for one in found.values() for identity in one] == hours[3:51]
    assert len(batches.events) == 2
    assert batches.events[0].startswith(
        "rows of 2026-03-01 03:00 to 2026-03-02 03:00 UTC: 24 read, 24 written, 0 refused by v1; in "
    )
    assert batches.state.done_to == datetime(2026, 3, 3, 3, tzinfo=UTC)


def test_a_batch_that_was_stopped_goes_on_in_the_next_life_with_the_same_rows(batches: Batches) -> None:
    batches.look()
    assert batches.processes.order is not None
    batches.made.end()
    assert batches.processes.order is None
    later = Batches(batches.place, batches.now + timedelta(days=3), batches.state)
    later.settle()
    assert [message[:48] for message in later.events] == [
        "rows of 2026-03-01 03:00 to 2026-03-02 03:00 UTC",
        "rows of 2026-03-02 03:00 to 2026-03-05 03:00 UTC",
    ]


def test_a_killed_process_is_told_once_and_tried_again_after_a_minute(batches: Batches) -> None:
    for _ in range(2):
        batches.look()
        batches.processes.is_killed = True
        batches.settle()
        batches.now += timedelta(minutes=3)
    (event,) = batches.events
    assert "its process ended without a result" in event
    assert batches.state.failures == 2
    batches.settle()
    assert "24 read, 24 written" in batches.events[-1]


def test_a_process_that_cannot_be_started_fails_the_batch_and_not_the_loop(batches: Batches) -> None:
    batches.processes.refusal = OSError(errno.EAGAIN, "Resource temporarily unavailable")
    batches.settle()
    (event,) = batches.events
    assert "its process cannot be started: [Errno 11] Resource temporarily unavailable" in event
    batches.processes.refusal, batches.now = None, batches.now + timedelta(minutes=3)
    batches.settle()
    assert "24 read, 24 written" in batches.events[-1]


def test_a_source_that_is_away_fails_with_its_name_and_the_calendar_waits(batches: Batches) -> None:
    source = batches.place.folder / "flights.csv"
    kept = source.read_bytes()
    source.unlink()
    try:
        batches.settle()
    finally:
        source.write_bytes(kept)
    (event,) = batches.events
    assert "flights" in event
    batches.look()
    assert batches.processes.order is None


def test_a_real_process_does_the_same_and_ends_with_a_loop_that_was_killed(batches: Batches) -> None:
    processes = processes_of(batches.place.state)
    real = Batches(batches.place, batches.now, processes=processes)
    real.settle()
    assert "24 read, 24 written" in real.events[0]
    assert processes.adopt() == [], "what has ended is no part that runs"
    order = batches.place.state.batches(SYSTEM) / "order.json"
    result = batches.place.state.batches(SYSTEM) / "result.json"
    result.unlink()
    # Of another parent: the same as one that is gone.
    order.write_text(json.dumps({**json.loads(order.read_text()), "parent": 1}))
    orphan = subprocess.Popen([sys.executable, "-m", "capstan.embedded.batch.process", str(order)])
    assert orphan.wait(300) != 0
    assert not result.exists()


def test_down_ends_a_batch_that_a_killed_loop_has_left(batches: Batches) -> None:
    state = batches.place.state
    real = Batches(batches.place, batches.now, processes=processes_of(state))
    real.look()
    assert processes_of(state).adopt() == [NAME]
    assert NAME in take_down(state).orphans
    assert processes_of(state).adopt() == []
