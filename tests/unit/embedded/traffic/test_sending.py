"""Claims about acting on planned traffic: steady whatever the gateway does, honest in counts, labels at their time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest
from aiohttp import web

from capstan.embedded.replay.client import GatewayClient
from capstan.embedded.traffic.changes import Changes
from capstan.embedded.traffic.plan import Case, KeyColumns, RecordedRequest, plan_traffic
from capstan.embedded.traffic.reports import EventRate, read_event_rates
from capstan.embedded.traffic.sending import Reporting, send_traffic
from capstan.embedded.traffic.tally import Latencies, Tally
from capstan.errors import InvalidDataError, UnavailableError
from capstan.recording.events import events_of
from capstan.recording.labels import labels_of
from capstan.spec.online import OnlineMetric

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Gateway:
    """Answers after `seconds`; says true where x is even, and fails where it is negative."""

    seconds: float = 0.0
    began: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.began.append(time.monotonic())
        number = len(self.began)
        row = orjson.loads(await request.read())
        await asyncio.sleep(self.seconds)
        if row["x"] < 0:
            return web.Response(status=503, text="no version serves")
        document = {
            "version": "v2" if row["x"] >= 10 else "v1",
            "request_id": f"r{number}",
            "predictions": [{"probability": 0.5, "label": row["x"] % 2 == 0}],
        }
        return web.json_response(document)

    @contextmanager
    def listening(self) -> Iterator[str]:
        loop = asyncio.new_event_loop()
        app = web.Application()
        app.router.add_post("/predict", self.answer)
        runner = web.AppRunner(app)

        async def start() -> int:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port: int = runner.addresses[0][1]
            return port

        port = loop.run_until_complete(start())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


@dataclass
class Desk:
    """Takes labels and events, or does not."""

    away: bool = False
    labels: list[tuple[float, dict[str, object]]] = field(default_factory=list)
    events: list[dict[str, object]] = field(default_factory=list)

    def post_labels(self, labels: Sequence[dict[str, object]], *, system: str | None = None) -> int:
        assert system == "toy"
        if self.away:
            raise UnavailableError("the collector", "does not answer")
        self.labels += [(time.monotonic(), label) for label in labels]
        return len(labels)

    def post_events(self, events: Sequence[dict[str, object]], *, system: str | None = None) -> int:
        assert system == "toy"
        if self.away:
            raise UnavailableError("the collector", "does not answer")
        self.events += events
        return len(events)


def send(
    gateway: Gateway,
    rows: Sequence[int],
    *,
    desk: Desk | None = None,
    keys: KeyColumns = KeyColumns("id"),  # noqa: B008 - frozen
    rate: float = 100,
    length: timedelta | None = None,
    connections: int = 16,
    reporting: Reporting = Reporting(),  # noqa: B008 - frozen
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    recorded = [RecordedRequest((Case({"x": x}, x % 4 == 0),), "") for x in rows]
    planned = plan_traffic(
        recorded,
        keys,
        Changes(),
        rate=rate,
        length=length or timedelta(seconds=len(rows) / rate),
        start=START,
        rng=np.random.default_rng(0),
    )
    with gateway.listening() as address:
        client = GatewayClient(address, connections=connections)
        try:
            return send_traffic(
                planned,
                client=client,
                desk=desk or Desk(),
                system="toy",
                reporting=reporting,
                rng=np.random.default_rng(1),
                now=lambda: datetime.now(UTC),
                stop=stop,
                progress=progress,
            )
        finally:
            client.close()


def test_answers_are_counted_by_version_and_failures_by_reason() -> None:
    tally = send(Gateway(), [1, 2, 3, 10, 11, -1])
    assert tally.versions == {"v1": 3, "v2": 2}
    assert (tally.sent, tally.answered, tally.failed) == (6, 5, 1)
    assert tally.failures == {"status 503: no version serves": 1}


def test_a_slow_gateway_is_asked_at_the_same_rate() -> None:
    """Twenty requests, one every 20 ms, each answered after 300 ms: a closed loop of one would take 6 s."""
    gateway = Gateway(seconds=0.3)
    start = time.monotonic()
    tally = send(gateway, range(20), rate=50, connections=20)
    assert tally.answered == 20
    assert gateway.began[-1] - gateway.began[0] < 2
    early = [at for number, at in enumerate(gateway.began) if at - start < number / 50 - 0.001]
    assert early == [], "a sender that was held up catches up, and none is sent before its moment"


def test_requests_under_way_are_bounded_and_waiting_counts_as_latency() -> None:
    """Two connections, 200 ms each, ten requests at once: the last waits for four others on its connection."""
    tally = send(Gateway(seconds=0.2), range(10), rate=1000, connections=2)
    slowest = tally.latencies.quantile(1.0)
    assert slowest is not None
    assert slowest > 0.9


def test_labels_come_after_their_delay_by_the_fresh_ids() -> None:
    desk, began = Desk(), time.monotonic()
    tally = send(Gateway(), range(4), desk=desk, reporting=Reporting(timedelta(seconds=1)))
    assert tally.labels == 4
    assert all(at - began >= 1 for at, _ in desk.labels)
    assert len({label["id"] for _, label in desk.labels}) == 4
    assert sorted(str(label["label"]) for _, label in desk.labels) == ["False", "False", "False", "True"]


def test_without_a_column_of_ids_labels_name_the_request() -> None:
    desk = Desk()
    send(Gateway(), [1], desk=desk, keys=KeyColumns(), reporting=Reporting(timedelta(0)))
    assert [label for _, label in desk.labels] == [{"requestId": "r1", "label": False}]


def test_a_failed_request_has_no_label() -> None:
    desk = Desk()
    send(Gateway(), [-4, 4], desk=desk, reporting=Reporting(timedelta(0)))
    assert len(desk.labels) == 1


def test_what_the_collector_does_not_take_is_told() -> None:
    rates = (EventRate("click", 1, 1),)
    tally = send(Gateway(), [1, 2], desk=Desk(away=True), reporting=Reporting(timedelta(0), rates))
    assert (tally.labels, tally.events.total(), tally.not_taken) == (0, 0, 4)
    assert "does not answer" in tally.why_not_taken


def test_users_react_to_right_and_to_wrong_answers() -> None:
    """Right where the parity and the label agree: of 0, 1, 2 and 3 only 2 is answered wrong."""
    desk = Desk()
    rates = (EventRate("click", 1, 0), EventRate("complaint", 0, 1, needs_value=True))
    tally = send(Gateway(), range(4), desk=desk, reporting=Reporting(None, rates))
    assert tally.events == {"click": 3, "complaint": 1}
    (complaint,) = [event for event in desk.events if event["event"] == "complaint"]
    assert complaint["value"] == 1
    assert len({event["eventId"] for event in desk.events}) == 4


@pytest.mark.parametrize(
    "keys",
    [pytest.param(KeyColumns("id"), id="ids of cases"), pytest.param(KeyColumns(), id="ids of requests")],
)
def test_the_collector_takes_what_is_handed_in(keys: KeyColumns) -> None:
    desk = Desk()
    rates = (EventRate("click", 1, 1), EventRate("purchase", 1, 1, needs_value=True))
    send(Gateway(), range(4), desk=desk, keys=keys, reporting=Reporting(timedelta(0), rates))
    assert len(events_of(desk.events, {"purchase"})) == 8
    assert len(labels_of([label for _, label in desk.labels], ["Boolean"])) == 4


def test_a_wish_to_stop_ends_it_soon_and_tells_which_labels_are_left() -> None:
    began = time.monotonic()
    tally = send(
        Gateway(),
        range(4),
        length=timedelta(hours=1),
        reporting=Reporting(timedelta(hours=1)),
        stop=lambda: time.monotonic() > began + 0.5,
    )
    assert time.monotonic() - began < 5
    assert tally.answered == tally.labels_left > 0
    assert tally.labels == 0


@pytest.mark.parametrize("seconds", [3600, 0.1])
def test_an_error_while_progress_is_told_ends_it_soon(seconds: float) -> None:
    """A closed pipe is one. Labels wait for an hour, so nothing else ends it within the test."""

    def progress(_: Tally) -> None:
        raise BrokenPipeError

    began, stop = time.monotonic(), threading.Event()
    timer = threading.Timer(10, stop.set)
    timer.start()
    with pytest.raises(BrokenPipeError):
        send(
            Gateway(),
            range(4),
            length=timedelta(seconds=seconds),
            reporting=Reporting(timedelta(hours=1)),
            stop=stop.is_set,
            progress=progress,
        )
    timer.cancel()
    assert time.monotonic() - began < 5


def test_quantiles_are_true_to_one_percent() -> None:
    latencies = Latencies()
    for number in range(1, 1001):
        latencies.add(number / 1000)
    assert latencies.quantile(0.5) == pytest.approx(0.5, rel=0.011)
    assert latencies.quantile(0.99) == pytest.approx(0.99, rel=0.011)
    assert Latencies().quantile(0.5) is None


ONLINE = (
    OnlineMetric(
        name="clicked",
        event="click",
        aggregate="Rate",
        per="Request",
        window=timedelta(minutes=1),
        better="Higher",
    ),
    OnlineMetric(
        name="spent", event="purchase", aggregate="Sum", window=timedelta(minutes=1), better="Higher"
    ),
)


@pytest.mark.parametrize(
    ("written", "judges", "words"),
    [
        pytest.param("tap=0.1", True, "no metric of evaluation.online reads 'tap'", id="unknown"),
        pytest.param("click", True, "write the share", id="no share"),
        pytest.param("click=2", True, "write the share", id="above 1"),
        pytest.param("click=0.1/0.2/0.3", True, "write the share", id="three shares"),
        pytest.param("click=0.1/0.2", False, "neither right nor wrong", id="a task without classes"),
    ],
)
def test_events_that_cannot_be_meant_are_refused(written: str, judges: bool, words: str) -> None:
    with pytest.raises(InvalidDataError) as refused:
        read_event_rates([written], ONLINE, judges=judges)
    assert words in str(refused.value)


def test_one_share_holds_for_all_answers_and_sums_get_values() -> None:
    rates: Any = read_event_rates(["click=0.3/0.05", "purchase=0.1"], ONLINE, judges=True)
    assert rates == (EventRate("click", 0.3, 0.05), EventRate("purchase", 0.1, 0.1, needs_value=True))
