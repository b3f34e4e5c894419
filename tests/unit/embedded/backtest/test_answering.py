"""A batch of requests is answered, split, copied, counted and stored as gateway, services and collector do it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pytest
from unit.serving.conftest import model_dir as model_dir

from capstan.domain.traffic import Arm, Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.versions import VersionName
from capstan.embedded.backtest import loaded_model
from capstan.embedded.backtest.answering import BatchAnswers
from capstan.embedded.backtest.history import History
from capstan.embedded.backtest.loaded_model import LoadedModel
from capstan.embedded.backtest.recorded_labels import label_columns
from capstan.embedded.clocks import StillClock
from capstan.embedded.replay.client import Answered
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.embedded.replay.replaying import Labels, Requests
from capstan.errors import InvalidDataError
from capstan.recording.held_rows import HeldRows
from capstan.recording.labels import FEEDBACK
from capstan.recording.reading import PayloadReader
from capstan.recording.segments import dated_segment, payload_segment, write_segment
from capstan.recording.served import served_with_labels
from capstan.serving.model import Model, load
from capstan.tasks import task_named

V1, V2 = VersionName("v1"), VersionName("v2")
AT = datetime(2013, 2, 1, 12, tzinfo=UTC)
ROW = {"flight_id": "f", "scheduled_departure": "2013-02-01T12:00:00Z", "temp": 3.5, "carrier": "UA"}


SPEC = {
    "features": [
        {"name": "distance", "numeric": {}},
        {"name": "temp", "numeric": {}},
        {"name": "carrier", "categorical": {}},
        {"name": "dest", "categorical": {}},
    ],
    "data": {"keys": {"id": "flight_id"}},
}
Asked = dict[str, object]


def asked(number: int, **changes: object) -> Asked:
    return {**ROW, "flight_id": f"f{number}", "distance": 500.0 + number, **changes}


def recorded(rows: Sequence[Asked]) -> RecordedTraffic:
    """A request each, a minute after the other."""
    minutes = [(AT + timedelta(minutes=at % 60)).timestamp() for at in range(len(rows))]
    times = np.array(minutes, dtype=np.int64) * 1_000_000
    return RecordedTraffic(
        entity_ids=[str(row["flight_id"]) for row in rows],
        cases=np.arange(len(rows) + 1),
        event_times=times,
        keys=[f"N{str(row['flight_id'])[1:]}" for row in rows],
        bodies=[orjson.dumps(row) for row in rows],
        labels=[at % 2 == 0 for at in range(len(rows))],
        label_times=times,
        label_order=np.arange(len(rows)),
    )


class World:
    def __init__(self, model: Path) -> None:
        self.split: TrafficSplit | None = champion_only(V1)
        self.clock = StillClock(AT)
        self.held = HeldRows()
        self.model = model
        self.is_by_columns = True

    def send(self, rows: Sequence[Asked]) -> Answered:
        history = History(recorded(rows), SPEC)
        if not self.is_by_columns:
            history.columns = None
        self.answers = BatchAnswers(
            "toy",
            history,
            self.held,
            task_named("BinaryClassification"),
            self.clock,
            lambda: self.split,
            lambda _version: self.model,
        )
        return self.answers.send(Requests(history.traffic, range(len(rows))))

    def stored(self) -> list[dict[str, object]]:
        table = self.held.payloads(AT - timedelta(days=1), AT + timedelta(days=1))
        return [] if table is None else list(table.sort_by("request_id").to_pylist())


@pytest.fixture
def world(model_dir: Path) -> World:
    return World(model_dir)


def test_each_request_is_answered_as_the_service_answers_it_and_stored(world: World, model_dir: Path) -> None:
    answered = world.send([asked(number) for number in range(5)])
    assert (answered.sent, answered.failed) == (5, 0)
    stored, model = world.stored(), load(model_dir)
    assert [row["entity_id"] for row in stored] == [f"f{number}" for number in range(5)]
    for number, row in enumerate(stored):
        values = {**ROW, "distance": 500.0 + number}
        assert row["output.probability"] == model.predict_row(values), "bit for bit"
        assert (row["version"], row["role"], row["arm"]) == ("v1", "champion", "v1")
        assert (row["unit"], row["status"], row["nonfinite"]) == (f"N{number}", 200, False)
        assert (row["input.distance"], row["input.carrier"], row["input.dest"]) == (
            500.0 + number,
            "UA",
            None,
        )
        assert row["event_time"] == datetime(2013, 2, 1, 12, number, tzinfo=UTC)


def test_a_shadow_gets_copies_that_are_no_answers_and_both_are_counted(world: World) -> None:
    world.split = TrafficSplit((Arm(V1, Weight(100)),), (Mirror(V2, Weight(100)),), "r1")
    begun = world.clock.wall()
    assert world.send([asked(number) for number in range(20)]).sent == 20
    assert Counter((row["version"], row["role"]) for row in world.stored()) == {
        ("v1", "champion"): 20,
        ("v2", "shadow"): 20,
    }
    found = world.answers.operation(V1, V2, begun, world.clock.wall(), True)
    assert (found.champion.requests, found.challenger.requests, found.challenger.errors) == (20, 20, 0)
    world.clock.advance_to(datetime(2013, 2, 2, tzinfo=UTC))
    later = world.answers.operation(V1, V2, world.clock.wall(), world.clock.wall(), True)
    assert later.challenger.requests == 0, "what was before the step does not count"


def test_a_canary_answers_its_share_as_a_challenger(world: World) -> None:
    world.split = TrafficSplit((Arm(V1, Weight(75)), Arm(V2, Weight(25))), salt="r1")
    world.send([asked(number) for number in range(400)])
    roles = Counter((row["version"], row["role"], row["arm"]) for row in world.stored())
    assert roles.keys() == {("v1", "champion", "v1"), ("v2", "challenger", "v2")}
    assert 70 < roles["v2", "challenger", "v2"] < 130
    found = world.answers.operation(V1, V2, world.clock.wall(), world.clock.wall(), False)
    assert found.assigned == {V1: roles["v1", "champion", "v1"], V2: roles["v2", "challenger", "v2"]}


def test_a_row_that_the_service_refuses_is_refused_stored_without_inputs_and_told(world: World) -> None:
    answered = world.send([asked(0), asked(1, carrier="XX")])
    assert (answered.sent, answered.failed) == (2, 1)
    assert "carrier" in answered.failures[0]
    refused = [row for row in world.stored() if row["status"] == 422]
    assert len(refused) == 1
    assert refused[0]["input.distance"] is None
    found = world.answers.operation(V1, V1, world.clock.wall(), world.clock.wall(), False)
    assert found.champion.refused == 1


def test_asked_as_columns_and_one_by_one_all_is_stored_alike_bit_by_bit(
    world: World, model_dir: Path
) -> None:
    rows = [asked(number, temp=None if number % 7 == 0 else number / 3) for number in range(90)]
    rows += [asked(90, temp=1e9), asked(91, carrier="XX"), asked(92, distance=7), asked(93, distance=None)]
    other = World(model_dir)
    other.is_by_columns = False
    for one in (world, other):
        one.split = TrafficSplit((Arm(V1, Weight(75)), Arm(V2, Weight(25))), (Mirror(V2, Weight(50)),), "r1")
    assert world.send(rows) == other.send(rows)
    # The number of a payload tells the order in which they were made, which nothing reads.
    stored = [
        sorted(
            ({name: value for name, value in row.items() if name != "sequence"} for row in one.stored()),
            key=lambda row: (str(row["request_id"]), str(row["role"])),
        )
        for one in (world, other)
    ]
    assert stored[0] == stored[1]
    assert len({row["output.probability"] for row in stored[0]}) > 50
    assert load(model_dir).by_columns() is not None, "else both were asked one by one"


def test_recorded_rows_are_answered_in_the_order_in_which_they_are_asked(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_model, "BLOCK", 4)
    model = History(recorded([asked(number) for number in range(12)]), SPEC).model(model_dir)
    in_order, turned = model.scores(np.arange(12)), model.scores(np.array([9, 0, 8, 1, 5]))
    assert in_order is not None
    assert len(set(in_order)) == 12
    assert turned == [in_order[number] for number in (9, 0, 8, 1, 5)]


def test_queries_read_what_is_held_as_they_read_the_same_rows_in_files(world: World, tmp_path: Path) -> None:
    rows = [asked(number) for number in range(50)]
    world.send(rows)
    labels = Labels(recorded(rows), np.arange(50))
    by_columns = label_columns(labels, AT, ["Boolean"])
    posted = FEEDBACK.read(list(labels), ["Boolean"])
    table = FEEDBACK.table((entry, AT) for entry in posted)
    assert by_columns == table
    world.held.add_labels(table)
    stored = world.held.payloads(AT, AT)
    write_segment(payload_segment(tmp_path / "payloads", AT.date(), 1), stored)
    write_segment(dated_segment(tmp_path / "labels", 1, table), table)
    task, end = task_named("BinaryClassification"), AT + timedelta(hours=1)
    found = [
        served_with_labels(reader, task, AT, end, as_of=AT + timedelta(minutes=30)).table
        for reader in (PayloadReader(tmp_path), PayloadReader(tmp_path / "none", held=world.held))
    ]
    assert found[0].num_rows == 50
    assert found[0]["label"].null_count == 19
    assert found[0].to_pylist() == found[1].to_pylist()


def test_without_a_champion_nothing_is_answered(world: World) -> None:
    world.split = None
    assert world.send([asked(0)]).sent == 0
    assert world.stored() == []


def test_a_model_is_asked_about_no_rows_where_no_label_has_come(model_dir: Path) -> None:
    model = LoadedModel(model_dir)
    assert len(model.model.task.outputs(model.predictions([]))) == 0


def test_a_model_that_raises_is_told_with_the_way_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Model, row: object) -> float:
        raise ZeroDivisionError(f"no {row}")

    monkeypatch.setattr(Model, "predict_row", broken)
    with pytest.raises(InvalidDataError, match=r"the model raised ZeroDivisionError: .*`capstan replay`"):
        world.send([asked(0)])


def test_a_recorded_request_is_read_once_for_all_policies_that_ask_a_model(model_dir: Path) -> None:
    model, nobody_reads_it = LoadedModel(model_dir), b"{"
    assert model.reads_as_recorded(0, orjson.dumps(asked(0)))
    assert not model.reads_as_recorded(1, orjson.dumps(asked(1, distance="far")))
    assert model.reads_as_recorded(0, nobody_reads_it)
    assert not model.reads_as_recorded(1, nobody_reads_it)
