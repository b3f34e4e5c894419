"""Claims about who may act: two candidates, one API server, clocks that are wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.errors import CapstanError, UnavailableError
from capstan_operator.leader import LeaseLock, Timing

NAMESPACE = "capstan-system"


@dataclass
class Time:
    """Seconds that pass for everybody."""

    seconds: float = 0.0


@dataclass
class Candidate:
    """A process that looks at the Lease now and then."""

    kube: MemoryKube
    name: str
    time: Time
    skew: timedelta = timedelta(0)
    is_alive: bool = True
    lock: LeaseLock = field(init=False)
    due: float = 0.0

    def __post_init__(self) -> None:
        def wall() -> datetime:
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time.seconds) + self.skew

        self.lock = LeaseLock(
            self.kube, NAMESPACE, self.name, clock=lambda: self.time.seconds, now=wall, timing=Timing()
        )

    def step(self) -> None:
        if not self.is_alive or self.time.seconds < self.due:
            return
        timing = self.lock.timing
        try:
            held = self.lock.try_to_hold()
        except CapstanError:
            held = False
        self.due = self.time.seconds + (timing.renew if held else timing.retry)

    @property
    def acts(self) -> bool:
        return self.is_alive and self.lock.is_held


@dataclass
class World:
    """Two candidates; every quarter of a second at most one of them may act."""

    skew: timedelta = timedelta(0)
    time: Time = field(default_factory=Time)
    kube: MemoryKube = field(default_factory=MemoryKube)

    def __post_init__(self) -> None:
        self.one = Candidate(self.kube, "one", self.time)
        self.other = Candidate(self.kube, "other", self.time, self.skew)

    def run(self, seconds: float) -> list[str]:
        """Who acted, without repetitions."""
        acted: list[str] = []
        end = self.time.seconds + seconds
        while self.time.seconds < end:
            self.time.seconds += 0.25
            for candidate in (self.one, self.other):
                candidate.step()
            now = [candidate.name for candidate in (self.one, self.other) if candidate.acts]
            assert len(now) <= 1, f"two leaders at {self.time.seconds} s"
            acted += [name for name in now if acted[-1:] != [name]]
        return acted


def test_one_of_two_candidates_acts_and_keeps_acting():
    assert World().run(600) == ["one"]


@pytest.mark.parametrize("hours", [-5, 0, 5], ids=["behind", "right", "ahead"])
def test_a_wrong_clock_of_the_standby_takes_nothing_from_the_leader(hours: int):
    assert World(timedelta(hours=hours)).run(600) == ["one"]


@pytest.mark.parametrize("hours", [-5, 0, 5], ids=["behind", "right", "ahead"])
def test_the_standby_takes_over_within_30_seconds_of_a_kill(hours: int):
    world = World(timedelta(hours=hours))
    world.run(60)
    world.one.is_alive = False
    killed = world.time.seconds
    while not world.other.acts:
        world.run(0.25)
    assert 5 <= world.time.seconds - killed < 30


def test_a_released_lease_is_taken_at_the_next_look():
    world = World()
    world.run(60)
    world.one.lock.release()
    world.one.is_alive = False
    assert world.run(3) == ["other"]


def test_a_leader_that_cannot_renew_stops_before_another_may_begin():
    world = World()
    world.run(60)

    def unreachable(*_: object, **__: object) -> None:
        raise UnavailableError("Kubernetes", "cut off")

    world.one.lock._kube = type(
        "Cut", (), {"get": unreachable, "create": unreachable, "replace": unreachable}
    )()  # type: ignore[assignment]
    began = world.time.seconds
    while world.one.acts:
        world.run(0.25)
    stopped = world.time.seconds
    while not world.other.acts:
        world.run(0.25)
    assert stopped - began <= 12.25
    assert world.time.seconds - stopped >= 2.0, "time for calls that were under way"
    assert world.time.seconds - began < 30


def test_a_process_that_stood_still_knows_that_it_may_not_act():
    world = World()
    world.run(60)
    world.one.due = float("inf")
    world.time.seconds += 12.0
    assert not world.one.acts


def test_a_former_leader_that_comes_back_waits():
    world = World()
    world.run(60)
    world.one.due = world.time.seconds + 60
    assert world.run(50) == ["one", "other"]
    assert world.run(120) == ["other"]


def test_of_two_that_take_an_ended_lease_at_once_one_gets_it():
    world = World()
    world.one.lock.try_to_hold()
    world.time.seconds = 100.0
    third = Candidate(world.kube, "third", world.time)
    for candidate in (world.other, third):
        candidate.lock.try_to_hold()
    world.time.seconds = 120.0
    stale = world.kube.get("Lease", "capstan-operator", NAMESPACE)
    assert world.other.lock.try_to_hold()
    third.lock._kube = _Stale(world.kube, stale)  # type: ignore[assignment]
    assert not third.lock.try_to_hold()


class _Stale:
    """Reads what was there before the other one wrote."""

    def __init__(self, kube: MemoryKube, lease: object) -> None:
        self._kube, self._lease = kube, lease

    def get(self, *_: object) -> object:
        return self._lease

    def replace(self, document: dict[str, object]) -> object:
        return self._kube.replace(document)


def test_transitions_count_changes_of_the_holder():
    world = World()
    world.run(30)
    world.one.is_alive = False
    world.run(60)
    lease = world.kube.get("Lease", "capstan-operator", NAMESPACE)
    assert lease is not None
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("other", 1)
