"""The payload log is never in the way of a request, and counts every loss."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from sent_payloads import Record, records, written

from capstan.domain.payload_limits import LARGEST_BATCH
from capstan.serving import payload_log
from capstan.serving.payload_blocks import BATCH_ROWS, BLOCK_ROWS, body_of
from capstan.serving.payload_log import PayloadLog
from capstan.serving.requests import Call


def add(log: PayloadLog, number: int, **changes: Any) -> None:
    """One row, or the `rows` of a request."""
    told: dict[str, Any] = {
        "status": 200, "seconds": 0.001, "wall": 1_700_000_000.0, "outputs": {"probability": 0.5},
        "inputs": {"distance": 1},
    } | changes  # fmt: skip
    own = {field.name for field in fields(Call)} & told.keys()
    call = Call(0.0, **{"request_id": f"r-{number}"} | {name: told[name] for name in own})
    rows = told.get("rows", [told["inputs"]])
    log.add(call, told["status"], told["seconds"], told["wall"], rows, [told["outputs"]] * len(rows))


class Collector:
    """A real HTTP server that keeps what it acknowledges and can be told how to misbehave."""

    def __init__(self, limit: int = 1 << 26) -> None:
        self.limit = limit
        self.records: list[Record] = []
        self.blocks: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.headers: dict[str, str] = {}
        self.statuses: list[int] = []
        """Answered first, one per batch; then 200."""
        self.delay_seconds = 0.0
        self.port = 0

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        await asyncio.sleep(self.delay_seconds)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            taken = records(body)
            self.records += taken
            self.blocks += orjson.loads(body)
            self.batches.append(len(taken))
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


def log_to(port: int, *inputs: str, **changes: Any) -> PayloadLog:
    log = PayloadLog(f"http://127.0.0.1:{port}", "/capstan/toy/v1", "v1", None, **changes)
    log.expect(inputs or ("distance", "id"), "id")
    return log


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
            for number in range(5000):
                add(
                    log,
                    number,
                    inputs={"distance": 1, "id": "f-1"},
                    event_time="2013-02-01T00:00:00+00:00",
                    arm="v2",
                    unit="N12345",
                )
            await log.stop()
        assert [one.sequence for one in collector.records] == [*range(1, 5001)]
        assert {(block["boot"], block["system"], block["version"]) for block in collector.blocks} == {
            (log.boot, "toy", "v1")
        }
        assert max(collector.batches) == BLOCK_ROWS
        assert len(collector.batches) <= 5
        assert collector.records[0] == Record(
            request_id="r-0",
            role="champion",
            attempt=1,
            row=0,
            event_time="2013-02-01T00:00:00+00:00",
            arm="v2",
            unit="N12345",
            entity_id="f-1",
            status=200,
            latency_seconds=0.001,
            nonfinite=False,
            sequence=1,
            outputs={"probability": 0.5},
            inputs={"distance": 1, "id": "f-1"},
        )
        headers = collector.headers
        assert headers["authorization"] == "Bearer secret"
        assert headers["content-type"] == "application/json"
        assert (headers["x-capstan-boot"], headers["x-capstan-produced"], headers["x-capstan-lost"]) == (
            log.boot,
            "5000",
            "0",
        )

    run(scenario)


def test_requests_of_many_rows_go_to_the_collector_by_thousands() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port, flush_seconds=120)
            for number in range(250):
                add(log, number, rows=[{"distance": row, "id": "f-1"} for row in range(100)])
            log.start()
            await log.stop()
        assert [one.sequence for one in collector.records] == [*range(1, 25_001)]
        # The first word of a boot has none.
        assert [rows for rows in collector.batches if rows] == [BATCH_ROWS, BATCH_ROWS, 5000]
        assert log.lost == 0

    run(scenario)


def test_rows_of_lonely_requests_are_written_a_few_at_a_time_also_among_batches() -> None:
    log = log_to(1)
    for number in range(3 * BLOCK_ROWS):
        add(log, number)
        if number % 1000 == 0:
            add(log, number, rows=[{}, {}])
    written_at_once = []
    while batch := log._next_batch():
        written_at_once.append(sum(part.rows for part in batch if part.rows != 2))
    assert max(written_at_once) <= BLOCK_ROWS
    assert (sum(written_at_once) + 12, log.lost) == (log.produced, 0)


def test_a_collector_that_is_busy_for_a_second_of_full_load_costs_no_payload() -> None:
    log = log_to(1, *(f"c{number}" for number in range(20)))
    rows = [{f"c{number}": row / 7 for number in range(20)} for row in range(100)]
    for number in range(1000):
        add(log, number, rows=rows)
    assert (log.produced, log.lost) == (100_000, 0)
    assert log._bytes <= payload_log.BUFFER_BYTES


def test_wide_rows_go_in_batches_that_the_collector_takes() -> None:
    wide = {f"column_{number}": "x" * 40 for number in range(2000)}

    async def scenario() -> None:
        async with Collector(limit=LARGEST_BATCH).running() as collector:
            log = log_to(collector.port, *wide, flush_seconds=120)
            log.start()
            for number in range(300):
                add(log, number, inputs=wide)
            await log.stop()
        assert [one.request_id for one in collector.records] == [f"r-{n}" for n in range(300)]
        assert (log.lost, len(collector.batches) > 2) == (0, True)
        assert collector.headers["x-capstan-system"] == "toy"

    run(scenario)


def test_names_of_columns_count_in_what_the_collector_takes_at_once() -> None:
    names = [f"column_{number}_{'x' * 30}" for number in range(1000)]
    log = log_to(1, *names)
    for number in range(300):
        # Requests of two rows are blocks of their own, and rows of different outputs share none.
        add(log, number, rows=[{}, {}])
        add(log, number, inputs={}, outputs=None if number % 2 else {"probability": 0.5})
    taken = 0
    while batch := log._next_batch():
        taken += sum(part.rows for part in batch)
        assert len(body_of(batch)) <= LARGEST_BATCH
    assert (taken, log._rows, log._bytes, log.lost) == (900, 0, 0, 0)


KINDS = {
    "as it was sent": {"sent": b"[1]"},
    "written anew": {},
    "refused": {"status": 422, "rows": [], "sent": b"[1]"},
    "many": {"rows": [{"distance": 1}] * 3},
    "many, unsound": {"rows": [{"distance": 1}] * 3, "status": 500, "outputs": None},
    "no JSON": {"inputs": {"distance": object()}},
}


@settings(max_examples=100, deadline=None)
@given(
    kinds=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 130)), max_size=6),
    buffer_rows=st.sampled_from([5, 100, 10_000]),
)
def test_whatever_kinds_of_requests_follow_each_other_their_rows_stay_in_order_and_are_lost_or_sent(
    kinds: list[tuple[str, int]], buffer_rows: int
) -> None:
    log = log_to(1, "distance", buffer_rows=buffer_rows)
    expected: list[str] = []
    for kind, times in kinds:
        for _ in range(times):
            changes = KINDS[kind]
            count = max(1, len(changes.get("rows", [0])))
            add(log, len(expected), **changes)
            expected += [f"r-{len(expected)}"] * count if kind != "no JSON" else [""]
    kept: list[Record] = []
    while batch := log._next_batch():
        kept += records(body_of(batch))
        log._sent()
    assert len(kept) + log.lost == log.produced == len(expected)
    assert [one.request_id for one in kept] == [expected[one.sequence - 1] for one in kept]
    assert [one.sequence for one in kept] == sorted({one.sequence for one in kept})
    if buffer_rows > len(expected):
        assert log.lost == expected.count("")


def test_the_buffer_is_bounded_in_bytes_too_and_drops_the_oldest() -> None:
    lost: list[tuple[str, int]] = []
    log = log_to(1, "text", buffer_bytes=50_000, on_lost=lambda *told: lost.append(told))
    for number in range(100):
        add(log, number, inputs={"text": "x" * 5000})
    kept = records(body_of(written(log._buffer)))
    assert sum(len(one.inputs["text"]) for one in kept) <= 50_000
    assert log.lost == sum(payloads for _, payloads in lost) == 100 - len(kept)
    assert kept[-1].request_id == "r-99"


def test_what_waits_takes_the_memory_that_is_counted_also_of_many_outputs() -> None:
    """By `tracemalloc`, since orjson's own bytes hold more than they say."""
    log = log_to(1, "text")
    classes = [f"probability.{number}" for number in range(100)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(500):
        outputs = {name: number + at / 7 for at, name in enumerate(classes)}
        add(log, number, inputs={"text": "x"}, outputs=outputs)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.5 * log._bytes < taken < 1.5 * log._bytes


def test_texts_that_json_must_escape_arrive_as_they_were() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            add(log, 1, request_id='a"b\\', inputs={"id": "Zürich\n"})
            add(log, 2, wall=1_700_000_001.25)
            await log.stop()
        first, second = collector.records
        assert (first.request_id, first.entity_id) == ('a"b\\', "Zürich\n")
        assert second.event_time == 1_700_000_001.25

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
            add(log, 1)
            await until(lambda: len(collector.records) == 1)
            assert collector.headers["authorization"] == "Bearer new"
            await log.stop()

    run(scenario)


def test_a_lonely_record_arrives_within_a_fraction_of_a_second() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            await until(lambda: bool(collector.headers))
            add(log, 1)
            started = time.monotonic()
            await until(lambda: bool(collector.records))
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
                add(log, number)
            await until(lambda: len(collector.records) == 10)
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
            add(log, number)
        await asyncio.sleep(0.3)
        async with Collector().running(port) as collector:
            await until(lambda: len(collector.records) == 10)
            await log.stop()

    run(scenario)


def test_while_the_collector_is_away_the_oldest_are_dropped_and_counted() -> None:
    async def scenario() -> None:
        losses: list[tuple[str, int]] = []
        async with Collector().running() as first:
            port = first.port
        log = log_to(port, buffer_rows=100, on_lost=lambda reason, n: losses.append((reason, n)))
        log.start()
        for number in range(250):
            add(log, number)
        assert (log.produced, log.lost) == (250, 150)
        async with Collector().running(port) as collector:
            await until(
                lambda: collector.headers.get("x-capstan-produced") == "250" and len(collector.records) == 100
            )
            assert [one.request_id for one in collector.records] == [f"r-{n}" for n in range(150, 250)]
            assert collector.headers["x-capstan-lost"] == "150"
            await log.stop()
        assert losses == [("overflow", 1)] * 150

    run(scenario)


def test_a_slow_collector_never_holds_up_whoever_adds() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            collector.delay_seconds = 0.5
            log = log_to(collector.port, buffer_rows=1000)
            log.start()
            longest = 0.0
            for number in range(3000):
                started = time.perf_counter()
                add(log, number)
                longest = max(longest, time.perf_counter() - started)
                if number % 100 == 0:
                    await asyncio.sleep(0)
            # Whoever waited for the collector would have waited for half a second.
            assert longest < 0.25
            collector.delay_seconds = 0.0
            await log.stop()
        assert len(collector.records) + log.lost == log.produced == 3000
        assert log.lost > 0

    run(scenario)


def test_a_refused_batch_is_counted_and_the_next_one_goes_through() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            await until(lambda: bool(collector.headers))
            collector.statuses = [400]
            add(log, 1)
            await until(lambda: log.lost == 1)
            add(log, 2)
            await until(lambda: len(collector.records) == 1)
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
                add(log, number, inputs={"distance": 1 << 80 if number == 2 else number})
            await log.stop()
            assert (log.produced, log.lost) == (3, 1)
            assert [one.request_id for one in collector.records] == ["r-1", "r-3"]
            assert collector.headers["x-capstan-lost"] == "1"

    run(scenario)


def test_an_answer_that_json_cannot_hold_costs_its_own_record_only() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            losses: list[tuple[str, int]] = []
            log = log_to(collector.port, on_lost=lambda *told: losses.append(told))
            for number in range(1, 8):
                role = "shadow" if number == 3 else "champion"
                add(log, number, outputs={"label": object() if number in (3, 4) else number}, role=role)
            assert log._rows == 7
            log.start()
            await log.stop()
        assert [one.request_id for one in collector.records] == ["r-1", "r-2", "r-5", "r-6", "r-7"]
        assert [one.sequence for one in collector.records] == [1, 2, 5, 6, 7]
        assert (log.produced, log.lost, log.lost_copies, losses) == (7, 2, 1, [("rejected", 1)] * 2)
        assert (log._rows, log._bytes) == (0, 0)

    run(scenario)


def test_what_all_rows_of_a_block_share_is_written_once() -> None:
    log = log_to(1, "distance")
    for number in range(3):
        add(log, number, wall=1_700_000_000.0 + number, unit=f"u{number}")
    (block,) = orjson.loads(body_of(log._next_batch()))
    assert block["names"] == ["request_id", "event_time", "unit", "output.probability", "input.distance"]
    assert block["same"].keys() == {
        "row", "role", "attempt", "arm", "entity_id", "status", "latency_seconds", "nonfinite",
    }  # fmt: skip


def test_a_stop_flushes_what_was_just_added() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            for number in range(700):
                add(log, number)
            await log.stop()
            assert len(collector.records) == 700

    run(scenario)


def test_a_drain_ends_only_when_the_collector_has_everything() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            collector.delay_seconds = 0.05
            log = log_to(collector.port)
            log.start()
            for number in range(1700):
                add(log, number)
            assert await log.drain()
            assert len(collector.records) == 1700
            collector.statuses = [503] * 100
            add(log, 1700)
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
            add(log, number)
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
            add(log, number)
        stop = asyncio.create_task(log.stop())
        await asyncio.sleep(0.3)
        async with collector.running(collector.port):
            await stop
        assert (log.produced, log.lost, len(collector.records)) == (7, 0, 7)

    run(scenario)


def test_a_loss_is_told_even_when_nothing_else_is_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_log, "FIRST_RETRY_SECONDS", 0.01)

    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port)
            log.start()
            await until(lambda: bool(collector.headers))
            collector.statuses = [413]
            add(log, 1)
            await until(lambda: collector.headers.get("x-capstan-lost") == "1")
            assert collector.records == []
            await log.stop()

    run(scenario)


def test_of_a_lost_request_of_many_rows_one_stands_for_the_answer() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port, "distance", buffer_rows=9)
            for number in range(3):
                add(log, number, rows=[{"distance": row} for row in range(5)])
            bad = [{"distance": object() if row == 1 else row} for row in range(3)]
            add(log, 3, rows=bad)
            log.start()
            await log.stop()
        # Two requests of five rows were dropped for later ones, and one row of the last that no JSON can hold.
        assert [(one.request_id, one.row) for one in collector.records] == [
            *(("r-2", row) for row in range(5)),
            ("r-3", 0),
            ("r-3", 2),
        ]
        assert (log.produced, log.lost, log.lost_copies) == (18, 11, 9)
        assert [one.sequence for one in collector.records] == [11, 12, 13, 14, 15, 16, 18]

    run(scenario)


def test_rows_of_a_request_are_a_block_of_columns_whatever_lies_around_them() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port, "distance", "id")
            add(log, 0)
            add(log, 1)
            add(log, 2, rows=[{"distance": row, "id": row} for row in range(300)], role="challenger")
            add(log, 3, status=422, rows=[], outputs=None)
            # Answers of which one was no sound one.
            call = Call(0.0, request_id="r-4")
            log.add(
                call, 500, 0.01, 1_700_000_000.0, [{"id": "a"}, {"id": "b"}], [{"probability": 0.5}, None]
            )
            log.start()
            await log.stop()
        assert [("rows" in block, block["first"]) for block in collector.blocks] == [
            (True, 1), (False, 3), (False, 303), (True, 304), (True, 305),
        ]  # fmt: skip
        many = collector.records[2:302]
        assert [(one.row, one.entity_id, one.inputs["distance"]) for one in many] == [
            (row, str(row), row) for row in range(300)
        ]
        assert {(one.request_id, one.role, one.status) for one in many} == {("r-2", "challenger", 200)}
        told = [(one.status, one.outputs, one.nonfinite, one.entity_id) for one in collector.records[302:]]
        assert told == [
            (422, None, False, None), (500, {"probability": 0.5}, False, "a"), (500, None, True, "b"),
        ]  # fmt: skip

    run(scenario)


def test_a_request_whose_columns_are_too_wide_for_a_batch_goes_in_several() -> None:
    names = [f"column_{number}" for number in range(3000)]

    async def scenario() -> None:
        async with Collector(limit=LARGEST_BATCH).running() as collector:
            log = log_to(collector.port, *names, flush_seconds=120)
            add(log, 1, rows=[{names[row]: "x"} for row in range(1000)])
            log.start()
            await log.stop()
        assert [one.row for one in collector.records] == [*range(1000)]
        assert (log.lost, len(collector.batches) > 2) == (0, True)

    run(scenario)


def test_lost_copies_are_told_apart_from_lost_answers() -> None:
    async def scenario() -> None:
        async with Collector().running() as collector:
            log = log_to(collector.port, "role", "a", buffer_rows=10)
            # An input column may be called like the role, and a request like anything.
            for number in range(40):
                role = "shadow" if number % 4 == 0 else "challenger"
                add(log, number, role=role, request_id='r",role":"shadow"', inputs={"role": "shadow", "a": 1})
            add(log, 40, role="shadow", inputs={"a": object()})
            log.start()
            await log.stop()
        dropped = 41 - len(collector.records)
        kept = sum(one.role == "shadow" for one in collector.records)
        assert (log.lost, log.lost_copies) == (dropped, 11 - kept)
        assert collector.headers["x-capstan-lost-copies"] == str(log.lost_copies)

    run(scenario)
