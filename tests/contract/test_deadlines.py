"""A deadline that stored pairs or users say cannot be met is refused before the changed file is followed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from contract.test_evidence import SINCE, WALL, flights, label, pair, payload
from sent_payloads import body

from capstan.adapters.sqlite.store import SqliteStore
from capstan.domain.rollout import RolloutCause, RolloutName, RolloutPhase, RolloutRequest, RolloutState
from capstan.domain.system import SystemState
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.history import stored_units
from capstan.embedded.layout import StateDir
from capstan.embedded.live import note_live, submit_change
from capstan.embedded.wiring import spec_document
from capstan.engine.records import rollout_record
from capstan.errors import InvalidSpecError
from capstan.ports.codec import to_json
from capstan.ports.store import Kind, Record
from capstan.recording.collector.intake import Intake
from capstan.spec import MLSystem, parse
from capstan.verbs.verdict_times import experiment_times

NAME = SystemName("flight-delays")
DAYS, REQUESTS = 9, 12


def system(*, cooldown: int = 14, **analysis: Any) -> MLSystem:
    document = flights()
    spec: Any = document["spec"]
    spec["rollout"]["steps"][0]["shadow"] |= {"minRequests": 50, "minLabels": 50}
    spec["rollout"]["analyses"][0] |= analysis
    spec["retraining"]["cooldown"] = f"{cooldown}d"
    return parse(document, base_dir=Path())


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """Nine days of pairs of a past rollout, each day of which favours the one or the other version."""
    state = StateDir(tmp_path)
    state.prepare(NAME)
    (tmp_path / "systems" / NAME / "spec.json").write_bytes(orjson.dumps(flights()))
    intake, rng = Intake(tmp_path / "collector", tmp_path / "systems"), random.Random(3)
    payloads, labels = [], []
    for day in range(DAYS):
        challenger = 0.9 if day % 2 else 0.1
        for number in range(REQUESTS):
            when = SINCE + timedelta(days=day, hours=6, minutes=number)
            name = f"{day}-{number}"
            payloads += pair(name, when, 0.5, challenger + rng.uniform(-0.05, 0.05))
            labels.append(label(name, True, when))
    intake.receive(None, body(payloads), WALL)
    intake.feedback(orjson.dumps({"labels": labels}), WALL, system=None)
    intake.flush()
    return state


@pytest.fixture
def store(state: StateDir) -> Iterator[SqliteStore]:
    store = SqliteStore(state.store)
    store.put(Record(Kind.SYSTEM, NAME, NAME, spec=spec_document(system())))
    request = RolloutRequest(RolloutName("r"), NAME, RolloutCause.CHALLENGER, version("v2"), version("v1"))
    past = RolloutState(RolloutPhase.PROMOTED, started_at=SINCE, finished_at=SINCE + timedelta(days=DAYS))
    record = store.put(rollout_record(request))
    store.put(
        Record(record.kind, record.name, record.system, record.spec, {"state": to_json(past)}, **_at(record))
    )
    note_live(state, system())
    yield store
    store.close()


def _at(record: Record) -> dict[str, Any]:
    return {"generation": record.generation, "resource_version": record.resource_version}


def version(name: str) -> ModelVersion:
    as_of = datetime(2013, 2, 1, tzinfo=UTC)
    return ModelVersion(
        VersionName(name), Digest("sha256:0"), RunName(f"run-{name}"), f"{NAME}:{name}", as_of
    )


def test_a_changed_file_whose_deadline_cannot_be_met_is_refused_with_ways_out(
    state: StateDir, store: SqliteStore
) -> None:
    before = store.get(Kind.SYSTEM, NAME)
    with pytest.raises(InvalidSpecError) as refused:
        submit_change(system(decide="NotWorse"), state, store)
    (mistake,) = refused.value.mistakes
    assert mistake.path == "rollout.steps[0].shadow.deadline"
    assert mistake.message.startswith("21d cannot be met: NotWorse at margin 0.01 logLoss")
    assert "ways out: decide: NotWorse with margin: " in mistake.message
    assert store.get(Kind.SYSTEM, NAME) == before


def test_a_changed_file_whose_deadline_can_be_met_is_followed(state: StateDir, store: SqliteStore) -> None:
    assert submit_change(system(margin=0.02), state, store) == 2


def test_a_rollout_that_is_followed_already_is_never_refused(state: StateDir, store: SqliteStore) -> None:
    """What serves must come back after a reboot, and other parts of the file may have to change at once."""
    followed = store.get(Kind.SYSTEM, NAME)
    assert followed is not None
    hopeless = system(decide="NotWorse")
    store.put(Record(Kind.SYSTEM, NAME, NAME, spec_document(hopeless), followed.status, **_at(followed)))
    assert submit_change(hopeless, state, store) is None
    assert submit_change(system(decide="NotWorse", cooldown=15), state, store) == 3


def experiment(effect: float, deadline: str) -> MLSystem:
    document = flights()
    spec: Any = document["spec"]
    step = {"metric": "logLoss", "window": "1d", "expectedEffect": effect, "deadline": deadline}
    spec["rollout"]["steps"] = [{"experiment": step}]
    return parse(document, base_dir=Path())


@pytest.fixture
def users(state: StateDir, store: SqliteStore) -> None:
    """The champion answered forty new users a day, the last of them four days ago: their labels can come no more."""
    now = datetime.now(UTC)
    intake, rng = Intake(state.root / "collector", state.root / "systems"), random.Random(5)
    payloads, labels = [], []
    for day in range(4, 12):
        # At noon where the flights are: the minutes before midnight would be of a day of their own.
        noon = (now - timedelta(days=day)).replace(hour=17, minute=0)
        for number in range(40):
            when = noon - timedelta(minutes=number)
            name = f"u{day}-{number}"
            said = rng.uniform(0.2, 0.8)
            payloads.append(payload(name, "v1", "champion", when, said, arm="v1", unit=f"tail-{name}"))
            labels.append(label(name, rng.random() < said, when))
    intake.receive(None, body(payloads), now)
    intake.feedback(orjson.dumps({"labels": labels}), now, system=None)
    intake.flush()
    record = store.get(Kind.SYSTEM, NAME)
    assert record is not None
    status = {"state": to_json(SystemState(champion=version("v1")))}
    store.put(Record(Kind.SYSTEM, NAME, NAME, record.spec, status, **_at(record)))


@pytest.mark.usefixtures("users")
def test_an_experiment_whose_deadline_past_users_cannot_meet_is_refused_with_ways_out(
    state: StateDir, store: SqliteStore
) -> None:
    hurried = experiment(0.02, "14d")
    with pytest.raises(InvalidSpecError) as refused:
        submit_change(hurried, state, store)
    (mistake,) = refused.value.mistakes
    assert mistake.path == "rollout.steps[0].experiment.deadline"
    assert "14d cannot be met: to find an effect of -0.02 with a power of 80%" in mistake.message
    assert "ways out: deadline: " in mistake.message
    (planned,) = experiment_times(hurried, stored_units(hurried, state, store))
    assert planned.problem == f"deadline: {mistake.message}"
    assert "40 new units a day with a mean logLoss of 0." in planned.basis
    assert planned.late is not None
    assert submit_change(experiment(0.5, "365d"), state, store) is not None
