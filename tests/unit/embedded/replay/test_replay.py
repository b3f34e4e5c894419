"""A replay moves event time from boundary to boundary and sends each request once."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from capstan.embedded.clocks import ReplayClock
from capstan.embedded.replay.client import Answered
from capstan.embedded.replay.fixed_durations import FixedDurations
from capstan.embedded.replay.recorded_rows import is_sampled, record_traffic
from capstan.embedded.replay.replaying import Replay, load_journal, next_tick

NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


START, END = moment("2013-02-01T05:00"), moment("2013-02-04T05:00")


def recorded(share: float = 1.0):
    times = [START + timedelta(hours=6 * i) for i in range(12)]
    known = [None if i == 5 else time + timedelta(hours=5) for i, time in enumerate(times)]
    table = pa.table(
        {
            "id": [f"f{i}" for i in range(12)],
            "time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "plane": [None if i == 3 else f"N{i % 4}" for i in range(12)],
            "distance": pa.array([float("nan") if i == 2 else float(i) for i in range(12)]),
            "late": pa.array([None if i == 5 else bool(i % 2) for i in range(12)]),
            "label_available_at": pa.array(known, pa.timestamp("us", tz="UTC")),
        }
    )
    return record_traffic(
        table,
        columns=["distance"],
        id_column="id",
        time_column="time",
        key_column="plane",
        label_column="late",
        share=share,
        no_label_delay_microseconds=86_400_000_000,
    )


class Client:
    def __init__(self, *, die_after: int | None = None) -> None:
        self.sent: list[str] = []
        self._die_after = die_after

    def send(self, predictions, *, stop):
        answered = Answered()
        for prediction in predictions:
            if self._die_after is not None and len(self.sent) >= self._die_after:
                raise KeyboardInterrupt
            self.sent.append(prediction.event_time)
            answered.sent += 1
        return answered


class World:
    def __init__(self, clock: ReplayClock) -> None:
        self.clock = clock
        self.labels: list[dict[str, object]] = []
        self.events: list[dict[str, object]] = []
        self.log: list[str] = []
        self.settled: list[datetime] = []
        self.wakes: dict[datetime, timedelta] = {}
        self.stored: set[str] = set()

    def post_labels(self, labels):
        self.labels += labels

    def post_events(self, events):
        self.log.append("posted")
        self.events += events

    def store_answers(self):
        self.log.append("stored")

    def answered_since(self, moment):
        return self.stored

    def settle(self):
        self.settled.append(self.clock.now())
        self.log.append("settled")
        return self.wakes.get(self.clock.now())


def replay(tmp_path, client, *, charges=None, stop=lambda: False, reactions=None):
    journal, stored = load_journal(tmp_path / "replay.json", START)
    clock = ReplayClock(journal.now)
    world = World(clock)
    run = Replay(
        recorded(),
        client=client,
        clock=clock,
        charges=charges or stored,
        settling=world,
        journal=journal,
        journal_path=tmp_path / "replay.json",
        end=END,
        tick=DAY,
        zone=NEW_YORK,
        stop=stop,
        progress=lambda journal: None,
        reactions=reactions,
    )
    return run, world


def test_every_request_is_sent_once_in_order(tmp_path):
    client = Client()
    run, _ = replay(tmp_path, client)
    assert run.run().sent == 12
    assert client.sent == sorted(client.sent)
    assert len(set(client.sent)) == 12


def test_every_label_is_posted_once_it_is_known_and_missing_ones_say_so(tmp_path):
    run, world = replay(tmp_path, Client())
    run.run()
    posted = {label["id"]: label for label in world.labels}
    assert posted["f1"]["label"] == 1.0
    assert posted["f5"]["noLabel"] is True
    assert "label" not in posted["f5"]
    assert len(world.labels) == len(posted)
    assert all(datetime.fromisoformat(str(label["availableAt"])) <= END for label in world.labels)


class Reacting:
    def between(self, start, end):
        return [{"from": start, "to": end}]


def test_users_react_to_stored_answers_before_anything_is_decided_and_each_moment_once(tmp_path):
    run, world = replay(tmp_path, Client(), reactions=Reacting())
    run.run()
    days = [START, START + DAY, START + 2 * DAY, END]
    assert [(one["from"], one["to"]) for one in world.events] == list(itertools.pairwise(days))
    assert world.log == ["settled", *["stored", "posted", "settled"] * 3]


def test_event_time_stops_at_local_midnights(tmp_path):
    run, world = replay(tmp_path, Client())
    run.run()
    assert world.settled == [START, START + DAY, START + 2 * DAY, END]


def test_charged_work_becomes_visible_at_its_own_boundary(tmp_path):
    charges = FixedDurations({"run/r": START + timedelta(hours=2)})
    run, world = replay(tmp_path, Client(), charges=charges)
    run.run()
    assert world.settled[1] == START + timedelta(hours=2)


def test_engine_is_woken_when_it_asked_to_be(tmp_path):
    run, world = replay(tmp_path, Client())
    world.wakes[START + DAY] = timedelta(hours=3)
    run.run()
    assert START + DAY + timedelta(hours=3) in world.settled


def test_killed_replay_resends_only_what_was_not_answered(tmp_path):
    first = Client(die_after=6)
    run, _ = replay(tmp_path, first)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    second = Client()
    run, world = replay(tmp_path, second)
    world.stored = {"f4", "f5"}
    run.run()
    assert first.sent + second.sent == sorted(set(first.sent + second.sent))
    assert len(first.sent + second.sent) == 12


def test_replay_killed_while_it_settles_goes_on_at_that_moment_with_its_charges(tmp_path):
    client = Client()
    run, world = replay(tmp_path, client)
    charges = run._charges

    def die():
        if world.clock.now() == START + DAY:
            charges.begin("run/r", START + DAY + timedelta(hours=2))
            raise KeyboardInterrupt

    world.settle = die
    with pytest.raises(KeyboardInterrupt):
        run.run()
    sent = len(client.sent)
    run, world = replay(tmp_path, client)
    assert run.run().sent == 12
    assert world.settled[:2] == [START + DAY, START + DAY + timedelta(hours=2)]
    assert len(client.sent) == 12 > sent


def test_stopped_replay_goes_on_where_it_was(tmp_path):
    calls = iter([False, False, True, True])
    run, _ = replay(tmp_path, Client(), stop=lambda: next(calls))
    run.run()
    journal, _ = load_journal(tmp_path / "replay.json", START)
    assert journal.position == START + DAY


def test_request_carries_null_for_a_missing_value_and_no_key_where_there_is_none():
    traffic = recorded()
    assert b'"distance":null' in traffic.bodies[2]
    assert traffic.keys[3] == ""


def test_sample_is_the_same_everywhere_and_of_the_stated_size():
    ids = [f"2013-1-{i}" for i in range(20_000)]
    drawn = [i for i in ids if is_sampled(i, 0.34)]
    assert abs(len(drawn) / len(ids) - 0.34) < 0.01
    assert drawn[:3] == [i for i in ids if is_sampled(i, 0.34)][:3]
    assert set(drawn) <= {i for i in ids if is_sampled(i, 0.5)}


@pytest.mark.parametrize(
    ("now", "tick", "expected"),
    [
        pytest.param("2013-03-09T12:00", DAY, "2013-03-10T05:00", id="standard-time"),
        pytest.param("2013-03-10T06:00", DAY, "2013-03-11T04:00", id="short-day-of-clock-change"),
        pytest.param("2013-02-01T05:00", timedelta(hours=6), "2013-02-01T11:00", id="quarter-day"),
    ],
)
def test_ticks_end_at_local_times(now, tick, expected):
    assert next_tick(moment(now), tick, NEW_YORK) == moment(expected)
