"""A batch of requests is answered, split, copied, counted and stored as gateway, services and collector do it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from unit.serving.conftest import model_dir as model_dir

from capstan.domain.traffic import Arm, Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.versions import VersionName
from capstan.embedded.backtest.answering import BatchAnswers, LoadedModel
from capstan.embedded.clocks import StillClock
from capstan.embedded.replay.client import Prediction
from capstan.errors import InvalidDataError
from capstan.serving.model import Model, load
from capstan.tasks import task_named

V1, V2 = VersionName("v1"), VersionName("v2")
AT = datetime(2013, 2, 1, 12, tzinfo=UTC)
ROW = {"flight_id": "f", "scheduled_departure": "2013-02-01T12:00:00Z", "temp": 3.5, "carrier": "UA"}


def asked(number: int, **changes: object) -> Prediction:
    row = {**ROW, "flight_id": f"f{number}", "distance": 500.0 + number, **changes}
    return Prediction(orjson.dumps(row), f"N{number}", f"2013-02-01T12:{number % 60:02d}:00Z")


class World:
    def __init__(self, folder: Path, model: Path) -> None:
        self.split: TrafficSplit | None = champion_only(V1)
        self.clock = StillClock(AT)
        self.folder = folder
        kinds = {"distance": "numeric", "temp": "numeric", "carrier": "categorical", "dest": "categorical"}
        self.answers = BatchAnswers(
            "toy",
            folder,
            {**kinds, "flight_id": "categorical"},  # type: ignore[arg-type]
            task_named("BinaryClassification"),
            self.clock,
            lambda: self.split,
            lambda _version: model,
        )

    def stored(self) -> list[dict[str, object]]:
        files = sorted(self.folder.rglob("*.parquet"))
        return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


@pytest.fixture
def world(tmp_path: Path, model_dir: Path) -> World:
    return World(tmp_path / "payloads", model_dir)


def test_each_request_is_answered_as_the_service_answers_it_and_stored(world: World, model_dir: Path) -> None:
    answered = world.answers.send([asked(number) for number in range(5)])
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
    assert world.answers.send([asked(number) for number in range(20)]).sent == 20
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
    world.answers.send([asked(number) for number in range(400)])
    roles = Counter((row["version"], row["role"], row["arm"]) for row in world.stored())
    assert roles.keys() == {("v1", "champion", "v1"), ("v2", "challenger", "v2")}
    assert 70 < roles["v2", "challenger", "v2"] < 130
    found = world.answers.operation(V1, V2, world.clock.wall(), world.clock.wall(), False)
    assert found.assigned == {V1: roles["v1", "champion", "v1"], V2: roles["v2", "challenger", "v2"]}


def test_a_row_that_the_service_refuses_is_refused_stored_without_inputs_and_told(world: World) -> None:
    answered = world.answers.send([asked(0), asked(1, carrier="XX")])
    assert (answered.sent, answered.failed) == (2, 1)
    assert "carrier" in answered.failures[0]
    refused = [row for row in world.stored() if row["status"] == 422]
    assert len(refused) == 1
    assert refused[0]["input.distance"] is None
    found = world.answers.operation(V1, V1, world.clock.wall(), world.clock.wall(), False)
    assert found.champion.refused == 1


def test_without_a_champion_nothing_is_answered(world: World) -> None:
    world.split = None
    assert world.answers.send([asked(0)]).sent == 0
    assert world.stored() == []


def test_a_model_is_asked_about_no_rows_where_no_label_has_come(model_dir: Path) -> None:
    model = LoadedModel(model_dir)
    assert len(model.model.task.outputs(model.predictions([]))) == 0


def test_a_model_that_raises_is_told_with_the_way_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Model, row: object) -> float:
        raise ZeroDivisionError(f"no {row}")

    monkeypatch.setattr(Model, "predict_row", broken)
    with pytest.raises(InvalidDataError, match=r"the model raised ZeroDivisionError: .*`capstan replay`"):
        world.answers.send([asked(0)])
