"""The payload log is never in the way of a request, and counts every loss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from capstan.domain.payload_limits import LARGEST_BATCH
from capstan.serving import payload_log
from capstan.serving.payload_log import PayloadLog, PayloadRecord


def record(number: int, **changes: Any) -> PayloadRecord:
    values: dict[str, Any] = {
        "request_id": f"r-{number}",
        "role": "champion",
        "attempt": 1,
        "row": 0,
        "wall": 1_700_000_000.0,
        "event_time": None,
        "arm": None,
        "unit": None,
        "entity_id": None,
        "status": 200,
        "latency_seconds": 0.001,
        "outputs": {"probability": 0.5},
        "nonfinite": False,
        "inputs": {"distance": 1},
        "error": None,
    }
    return PayloadRecord(**{**values, **changes})


class Collector:
    """A real HTTP server that keeps what it acknowledges and can be told how to misbehave."""

    def __init__(self, limit: int = 1 << 26) -> None:
        self.limit = limit
        self.events: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.headers: dict[str, str] = {}
        self.statuses: list[int] = []
        """Answered first, one per batch; then 200."""
        self.delay_seconds = 0.0
        self.port = 0

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(self.delay_seconds)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.events += body
            self.batches.append(len(body))
            self.headers = {name.lower(): value for name, value in request.headers.items()}
        return web.json_response({}, status=status)

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[Collector]:
        app = web.Application(client_max_size=self.limit)
        app.router.add_post("/payloads", self.receive)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()


def log_to(port: int, **changes: Any) -> PayloadLog:
    return PayloadLog(f"http://127.0.0.1:{port}", "/capstan/toy/v1", "v1", None, **changes)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.01)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_records_arrive_in_order_in_few_batches_with_all_their_fields(tmp_path: Path) -> None:
    token = tmp_path / "internal"
    token.write_text("secret\n")

    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.token_file = token
            log.start()
            for number in range(1200):
                log.add(
                    record(
                        number,
                        entity_id="f-1",
                        event_time="2013-02-01T00:00:00+00:00",
                        arm="v2",
                        unit="N12345",
                    )
                )
            await log.stop()
        assert [event["id"] for event in collector.events] == [f"{log.boot}-{n}" for n in range(1, 1201)]
        assert max(collector.batches) == 500
        assert len(collector.batches) <= 5
        event = collector.events[0]
        assert (event["source"], event["type"], event["specversion"]) == (
            "/capstan/toy/v1",
            "dev.capstan.prediction",
            "1.0",
        )
        assert event["data"] == {
            "request_id": "r-0",
            "version": "v1",
            "role": "champion",
            "attempt": 1,
            "row": 0,
            "event_time": "2013-02-01T00:00:00+00:00",
            "arm": "v2",
            "unit": "N12345",
            "entity_id": "f-1",
            "status": 200,
            "latency_seconds": 0.001,
            "outputs": {"probability": 0.5},
            "nonfinite": False,
            "inputs": {"distance": 1},
        }
        headers = collector.headers
        assert headers["authorization"] == "Bearer secret"
        assert headers["content-type"] == "application/cloudevents-batch+json"
        assert (headers["x-capstan-boot"], headers["x-capstan-produced"], headers["x-capstan-lost"]) == (
            log.boot,
            "1200",
            "0",
        )

    run(scenario)


def test_wide_rows_go_in_batches_that_the_collector_takes() -> None:
    wide = {f"column_{number}": "x" * 40 for number in range(2000)}

    async def scenario() -> None:
        async with Collector(limit=LARGEST_BATCH).running() as collector:
            log = log_to(collector.port)
            log.start()
            for number in range(300):
                log.add(record(number, inputs=wide))
            await log.stop()
        assert [event["data"]["request_id"] for event in collector.events] == [f"r-{n}" for n in range(300)]
        assert (log.lost, len(collector.batches) > 2) == (0, True)
        assert collector.headers["x-capstan-system"] == "toy"

    run(scenario)


def test_the_buffer_is_bounded_in_bytes_too_and_drops_the_oldest() -> None:
    lost: list[tuple[str, int]] = []
    log = log_to(1, buffer_bytes=50_000, on_lost=lambda reason, records: lost.append((reason, records)))
    for number in range(100):
        log.add(record(number, inputs={"text": "x" * 5000}))
    assert sum(map(len, log._buffer)) <= 50_000
    assert log.lost == sum(records for _, records in lost) == 100 - len(log._buffer)
    assert b'"r-99"' in log._buffer[-1]


def test_texts_that_json_must_escape_arrive_as_they_were() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            told = {"request_id": 'a"b\\', "entity_id": "Zürich\n", "error": {"field": '"', "rule": "}"}}
            log.add(record(1, **told))
            log.add(record(2, wall=1_700_000_001.25))
            await log.stop()
        first, second = collector.events
        assert {name: first["data"][name] for name in told} == told
        assert "error" not in second["data"]
        assert second["time"] == second["data"]["event_time"] == "2023-11-14T22:13:21.250000+00:00"

    run(scenario)


def test_another_token_is_read_after_a_refusal(tmp_path: Path) -> None:
    token = tmp_path / "internal"
    token.write_text("old")

    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.token_file = token
            log.start()
            await until(lambda: collector.headers.get("authorization") == "Bearer old")
            token.write_text("new")
            collector.statuses = [401]
            log.add(record(1))
            await until(lambda: len(collector.events) == 1)
            assert collector.headers["authorization"] == "Bearer new"
            await log.stop()

    run(scenario)


def test_a_lonely_record_arrives_within_a_fraction_of_a_second() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            await until(lambda: bool(collector.headers))
            log.add(record(1))
            started = time.monotonic()
            await until(lambda: bool(collector.events))
            assert time.monotonic() - started < 1.0
            await log.stop()

    run(scenario)


def test_an_erring_collector_gets_every_record_once_it_recovers() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            collector.statuses = [503, 500, 401, 429]
            log = log_to(collector.port)
            log.start()
            for number in range(10):
                log.add(record(number))
            await until(lambda: len(collector.events) == 10)
            assert (log.produced, log.lost) == (10, 0)
            await log.stop()

    run(scenario)


def test_an_absent_collector_gets_every_record_once_it_is_there() -> None:
    async def scenario() -> None:
        async with Collector().running() as first:
            port = first.port
        log = log_to(port)
        log.start()
        for number in range(10):
            log.add(record(number))
        await asyncio.sleep(0.3)
        async with Collector().running(port) as collector:
            await until(lambda: len(collector.events) == 10)
            await log.stop()

    run(scenario)


def test_while_the_collector_is_away_the_oldest_are_dropped_and_counted() -> None:
    async def scenario() -> None:
        losses: list[tuple[str, int]] = []
        async with Collector().running() as first:
            port = first.port
        log = log_to(port, buffer_records=100, on_lost=lambda reason, n: losses.append((reason, n)))
        log.start()
        for number in range(250):
            log.add(record(number))
        assert (log.produced, log.lost) == (250, 150)
        async with Collector().running(port) as collector:
            await until(
                lambda: collector.headers.get("x-capstan-produced") == "250" and len(collector.events) == 100
            )
            assert [event["data"]["request_id"] for event in collector.events] == [
                f"r-{n}" for n in range(150, 250)
            ]
            assert collector.headers["x-capstan-lost"] == "150"
            await log.stop()
        assert losses == [("overflow", 1)] * 150

    run(scenario)


def test_a_slow_collector_never_holds_up_whoever_adds() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            collector.delay_seconds = 0.5
            log = log_to(collector.port, buffer_records=1000)
            log.start()
            longest = 0.0
            for number in range(3000):
                started = time.perf_counter()
                log.add(record(number))
                longest = max(longest, time.perf_counter() - started)
                if number % 100 == 0:
                    await asyncio.sleep(0)
            # Whoever waited for the collector would have waited for half a second.
            assert longest < 0.25
            collector.delay_seconds = 0.0
            await log.stop()
        assert len(collector.events) + log.lost == log.produced == 3000
        assert log.lost > 0

    run(scenario)


def test_a_refused_batch_is_counted_and_the_next_one_goes_through() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            await until(lambda: bool(collector.headers))
            collector.statuses = [400]
            log.add(record(1))
            await until(lambda: log.lost == 1)
            log.add(record(2))
            await until(lambda: len(collector.events) == 1)
            assert collector.headers["x-capstan-lost"] == "1"
            await log.stop()

    run(scenario)


def test_a_value_that_json_cannot_hold_costs_its_own_record_only() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            await until(lambda: bool(collector.headers))
            for number in (1, 2, 3):
                log.add(record(number, inputs={"distance": 1 << 80 if number == 2 else number}))
            await log.stop()
            assert (log.produced, log.lost) == (3, 1)
            assert [event["data"]["request_id"] for event in collector.events] == ["r-1", "r-3"]
            assert collector.headers["x-capstan-lost"] == "1"

    run(scenario)


def test_a_stop_flushes_what_was_just_added() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            for number in range(700):
                log.add(record(number))
            await log.stop()
            assert len(collector.events) == 700

    run(scenario)


def test_a_drain_ends_only_when_the_collector_has_everything() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            collector.delay_seconds = 0.05
            log = log_to(collector.port)
            log.start()
            for number in range(1700):
                log.add(record(number))
            assert await log.drain()
            assert len(collector.events) == 1700
            collector.statuses = [503] * 100
            log.add(record(1700))
            assert not await log.drain(0.2)
            collector.statuses = []
            await log.stop()

    run(scenario)


def test_a_stop_without_a_collector_ends_in_time_and_counts_what_is_left() -> None:
    async def scenario() -> None:
        async with Collector().running() as first:
            port = first.port
        losses: list[tuple[str, int]] = []
        log = log_to(port, flush_seconds=0.5, on_lost=lambda reason, n: losses.append((reason, n)))
        log.start()
        for number in range(7):
            log.add(record(number))
        started = time.monotonic()
        await log.stop()
        assert time.monotonic() - started < 3.0
        assert losses == [("shutdown", 7)]
        assert (log.produced, log.lost) == (7, 7)

    run(scenario)


def test_a_stop_waits_for_a_collector_that_comes_back() -> None:
    async def scenario() -> None:
        collector = Collector()
        async with collector.running():
            pass
        log = log_to(collector.port, flush_seconds=30.0)
        log.start()
        for number in range(7):
            log.add(record(number))
        stop = asyncio.create_task(log.stop())
        await asyncio.sleep(0.3)
        async with collector.running(collector.port):
            await stop
        assert (log.produced, log.lost, len(collector.events)) == (7, 0, 7)

    run(scenario)


def test_a_loss_is_told_even_when_nothing_else_is_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_log, "FIRST_RETRY_SECONDS", 0.01)

    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            await until(lambda: bool(collector.headers))
            collector.statuses = [413]
            log.add(record(1))
            await until(lambda: collector.headers.get("x-capstan-lost") == "1")
            assert collector.events == []
            await log.stop()

    run(scenario)


def test_of_a_lost_request_of_many_rows_one_stands_for_the_answer() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port, buffer_records=4)
            for number in range(3):
                for row in range(5):
                    log.add(record(number, row=row, inputs={"row": 0}))
            log.add(record(3, row=1, inputs={"a": object()}))
            log.start()
            await log.stop()
        kept = [event["data"]["row"] for event in collector.events]
        # Fifteen rows of three requests, of which the last few were kept, and one that no JSON can hold.
        assert (log.lost, log.lost_copies) == (16 - len(kept), 13 - sum(row > 0 for row in kept))

    run(scenario)


def test_lost_copies_are_told_apart_from_lost_answers() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port, buffer_records=10)
            # An input column may be called like the role, and a request like anything.
            for number in range(40):
                role = "shadow" if number % 4 == 0 else "challenger"
                log.add(
                    record(
                        number, role=role, request_id='r",role":"shadow"', inputs={"role": "shadow", "a": 1}
                    )
                )
            log.add(record(40, role="shadow", inputs={"a": object()}))
            log.start()
            await log.stop()
        dropped = 41 - len(collector.events)
        kept = sum(event["data"]["role"] == "shadow" for event in collector.events)
        assert (log.lost, log.lost_copies) == (dropped, 11 - kept)
        assert collector.headers["x-capstan-lost-copies"] == str(log.lost_copies)

    run(scenario)
