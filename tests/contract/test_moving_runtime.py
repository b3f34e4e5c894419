"""Claims about versions that move to another runtime, made with real Envoys behind real agents."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from contract.envoy_worlds import FleetWorld
from contract.model_services import EventLoop, Service

from capstan.adapters.kubernetes.serving import Artifact
from capstan.cluster.moving import MovingServing
from capstan.domain.traffic import champion_only
from capstan.domain.versions import Digest, ModelVersion, Readiness, RunName, VersionName
from capstan.errors import CapstanError
from capstan.ports.serving import Endpoint
from capstan.testing.ports.traffic import V1, V2, split
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real


@dataclass
class Place:
    """One runtime: services that are up, and artifacts of the versions that were brought up in it."""

    services: Mapping[VersionName, Service]
    running: dict[VersionName, Artifact] = field(default_factory=dict)
    ready: set[VersionName] = field(default_factory=set)
    refuses: str = ""

    def deploy(self, version: ModelVersion) -> None:
        self.run(version.name, Artifact(version.bento_tag, version.digest))

    def run(self, name: VersionName, artifact: Artifact) -> None:
        if self.refuses:
            raise CapstanError(self.refuses)
        self.running[name] = artifact

    def retire(self, name: VersionName) -> None:
        """At once and without draining: whoever still sends requests here loses them."""
        self.ready.discard(name)
        if self.running.pop(name, None) is not None:
            self.services[name].stop()

    def readiness(self) -> Mapping[VersionName, Readiness]:
        return {name: Readiness.READY if name in self.ready else Readiness.STARTING for name in self.running}

    def endpoint(self, name: VersionName) -> Endpoint | None:
        return self.services[name].endpoint if name in self.running else None

    def artifacts(self) -> Mapping[VersionName, Artifact]:
        return dict(self.running)

    def troubles(self) -> Mapping[VersionName, str]:
        return {}

    def settle(self) -> None:
        return


def artifact(name: VersionName) -> Artifact:
    return Artifact(f"toy:{name}", Digest(f"sha256:{'a' * 64}"))


class Moving:
    """Two versions in the old runtime, behind two gateway pods, and a new runtime."""

    def __init__(self, folder: Path, loop: EventLoop) -> None:
        self.world = FleetWorld(folder, loop)
        self.old = Place(self.world.services)
        self.new = Place({name: Service(name, loop).start() for name in (V1, V2)})
        for name in (V1, V2):
            self.old.running[name] = artifact(name)
            self.old.ready.add(name)
        self.seconds = 0.0
        self.serving = self.afresh()

    def afresh(self) -> MovingServing:
        """As an operator that starts again makes it."""
        return MovingServing(self.new, self.old, clock=lambda: self.seconds)

    def move(self) -> bool:
        self.seconds += 5.0
        return self.serving.move(self.world.fleet)

    def close(self) -> None:
        self.world.close()
        for service in self.new.services.values():
            service.stop()


@pytest.fixture
def moving(tmp_path: Path, loop: EventLoop) -> Iterator[Moving]:
    moving = Moving(tmp_path, loop)
    yield moving
    moving.close()


def test_no_request_is_lost_while_two_versions_move_during_a_canary(moving: Moving) -> None:
    wanted = split(75, 25, salt="r1")
    moving.world.apply(wanted)
    load = moving.world.start(keyed=True, connections=8, pause=0.005)
    assert moving.move()
    assert moving.new.running == {V1: artifact(V1), V2: artifact(V2)}
    moving.new.ready |= {V1, V2}
    steps = 0
    while moving.move():
        steps += 1
        time.sleep(0.3)
        assert steps < 10
    time.sleep(0.5)
    answers = load.end()
    assert answers.failed == 0
    assert set(answers.versions) == {"v1", "v2"}
    assert moving.old.running == {}
    assert all(service.seen for service in moving.new.services.values())
    assert moving.world.fleet.read_back() == wanted


def test_the_old_one_serves_until_the_new_one_is_ready(moving: Moving) -> None:
    moving.world.apply(champion_only(V1))
    for _ in range(5):
        assert moving.move()
    assert moving.serving.readiness() == {V1: Readiness.READY, V2: Readiness.READY}
    assert moving.serving.endpoint(V1) == moving.old.endpoint(V1)
    assert moving.world.fleet.endpoints() == {V1: moving.old.endpoint(V1)}
    moving.new.ready.add(V1)
    assert moving.serving.endpoint(V1) == moving.new.endpoint(V1)


def test_the_old_one_is_not_taken_away_before_every_pod_sends_to_the_new_one(moving: Moving) -> None:
    moving.world.apply(champion_only(V1))
    moving.move()
    moving.new.ready |= {V1, V2}
    refusing = moving.world.cluster.pods[1]
    (refusing.folder / "token").write_text("another")
    for _ in range(4):
        assert moving.move()
    assert V1 in moving.old.running
    (refusing.folder / "token").write_text("a-secret")
    while moving.move():
        time.sleep(0.2)
    assert moving.old.running == {}
    assert moving.world.fleet.endpoints() == {V1: moving.new.endpoint(V1)}


def test_requests_that_are_under_way_to_the_old_one_end_well(moving: Moving) -> None:
    moving.world.apply(champion_only(V1))
    moving.world.services[V1].behaviour = "slow"
    moving.move()
    moving.new.ready |= {V1, V2}
    load = moving.world.start(connections=4, pause=0.01)
    eventually(lambda: bool(moving.world.services[V1].seen))
    while moving.move():
        # Between two looks as long as the loop takes at least where things happen.
        time.sleep(1.0)
    assert load.end().failed == 0


def test_an_operator_that_starts_again_goes_on(moving: Moving) -> None:
    moving.world.apply(champion_only(V1))
    moving.move()
    moving.new.ready |= {V1, V2}
    for _ in range(12):
        moving.serving = moving.afresh()
        moving.move()
    assert V1 in moving.old.running, "nobody has waited for what was under way"
    assert moving.world.fleet.endpoints() == {V1: moving.new.endpoint(V1)}
    while moving.move():
        time.sleep(0.1)
    assert moving.old.running == {}


def test_a_runtime_that_refuses_leaves_the_version_where_it_is_and_says_why(moving: Moving) -> None:
    moving.world.apply(champion_only(V1))
    moving.new.refuses = "the webhook denied the request"
    assert moving.move()
    assert "the webhook denied the request" in moving.serving.troubles()[V1]
    assert moving.serving.readiness()[V1] is Readiness.READY
    moving.new.refuses = ""
    moving.move()
    assert moving.serving.troubles() == {}


def test_a_version_that_is_retired_goes_from_both(moving: Moving) -> None:
    moving.world.apply(champion_only(V1))
    moving.move()
    moving.serving.retire(V2)
    assert set(moving.old.running) == set(moving.new.running) == {V1}


def test_a_version_that_comes_meanwhile_is_deployed_in_the_new_one_alone(moving: Moving) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    found = ModelVersion(VersionName("v3"), artifact(V1).digest, RunName("r"), "toy:v3", at)
    moving.serving.deploy(found)
    assert "v3" in moving.new.running
    assert "v3" not in moving.old.running
