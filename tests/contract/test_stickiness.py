"""Assignment of units behind a real Envoy: sticky, in proportion, independent of other rollouts, monotone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from contract.envoy_worlds import V3, OneGatewayWorld
from contract.model_services import EventLoop, Service

from capstan.domain.rollout import RolloutState
from capstan.domain.steps.canary import Baseline, CanaryStep
from capstan.domain.traffic import Arm, TrafficSplit, Weight, champion_only
from capstan.domain.versions import copy_name
from capstan.testing.ports.traffic import V1, V2, split
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real
UNITS = 3000


@pytest.fixture
def world(tmp_path: Path, loop: EventLoop) -> Iterator[OneGatewayWorld]:
    world = OneGatewayWorld(tmp_path, loop)
    yield world
    world.close()


def three(first: int, second: int, salt: str = "r1") -> TrafficSplit:
    arms = (Arm(V1, Weight(100 - first - second)), Arm(V2, Weight(first)), Arm(V3, Weight(second)))
    return TrafficSplit(arms=arms, salt=salt)


def assigned(world: OneGatewayWorld, wanted: TrafficSplit, units: int = UNITS) -> dict[str, str]:
    """The arm of each unit, as the versions are told it."""
    for service in world.services.values():
        service.seen.clear()
    world.apply(wanted)
    answers = world.send(units, keyed=True)
    assert answers.failed == 0
    seen = [one for service in world.services.values() for one in service.seen]
    arms = {one["x-capstan-key"]: one["x-capstan-arm"] for one in seen}
    # A slow machine may send a request to the champion after all; its arm stays what it was.
    assert len({(one["x-capstan-key"], one["x-capstan-arm"]) for one in seen}) == len(arms) == units
    return arms


def units_of(arms: dict[str, str], version: str) -> set[str]:
    return {unit for unit, arm in arms.items() if arm == version}


def is_within_chance(count: float, units: float, share: float) -> bool:
    return abs(count - units * share) < 4 * math.sqrt(units * share * (1 - share))


def test_three_arms_are_read_back_as_they_were_applied(world: OneGatewayWorld) -> None:
    for wanted in (three(20, 20), three(60, 30), three(0, 5), three(33, 33), three(95, 5)):
        world.apply(wanted)
        assert world.gateway.read_back() == wanted


def test_units_stay_on_their_arm_in_proportion_and_another_rollout_draws_anew(world: OneGatewayWorld) -> None:
    first = assigned(world, three(30, 20))
    assert assigned(world, three(30, 20)) == first
    for version, share in (("v1", 0.5), ("v2", 0.3), ("v3", 0.2)):
        assert is_within_chance(len(units_of(first, version)), UNITS, share)
    other = assigned(world, three(30, 20, salt="r2"))
    for mine in ("v1", "v2", "v3"):
        for theirs, share in (("v1", 0.5), ("v2", 0.3), ("v3", 0.2)):
            both = units_of(first, mine) & units_of(other, theirs)
            assert is_within_chance(len(both), len(units_of(first, mine)), share)


def test_a_share_that_rises_takes_units_of_the_champion_alone(world: OneGatewayWorld) -> None:
    shares = [(10, 10), (10, 40), (45, 40), (20, 50)]
    arms = [assigned(world, three(*one), units=1500) for one in shares]
    for (old, new), (before, after) in zip(pairwise(shares), pairwise(arms), strict=True):
        for number, version in enumerate(("v2", "v3")):
            kept = units_of(before, version) <= units_of(after, version)
            assert kept is (new[number] >= old[number])
        moved = [(before[unit], after[unit]) for unit in before if before[unit] != after[unit]]
        assert moved
        assert all("v1" in pair for pair in moved)


def test_an_arm_that_leaves_keeps_its_units_and_the_champion_answers_them(world: OneGatewayWorld) -> None:
    before = assigned(world, three(30, 20))
    whole = three(30, 20)
    vacant = replace(whole, arms=(*whole.arms[:2], replace(whole.arms[2], is_vacant=True)))
    assert assigned(world, vacant) == before
    assert not world.services[V3].seen
    assert {one["x-capstan-role"] for one in world.services[V1].seen} == {"champion"}
    assert V3 not in world.gateway.endpoints()
    world.apply(vacant)
    assert world.gateway.read_back() == vacant
    world.apply(champion_only(V1))
    world.send(20)
    assert world.gateway.read_back() == champion_only(V1)


def test_users_of_the_challenger_stay_when_a_fresh_copy_of_the_champion_comes_and_goes(
    world: OneGatewayWorld, loop: EventLoop
) -> None:
    copy = copy_name(V1)
    world.services[copy] = Service(copy, loop).start()
    beside, alone = (
        CanaryStep(Weight(20), baseline).split(V1, V2, "r1", RolloutState())
        for baseline in (Baseline.FRESH_COPY, Baseline.CHAMPION)
    )
    before = assigned(world, beside)
    assert world.gateway.read_back() == beside
    for version in (copy, V2):
        assert is_within_chance(len(units_of(before, version)), UNITS, 0.2)
    assert {one["x-capstan-role"] for one in world.services[copy].seen} == {"challenger"}
    after = assigned(world, alone)
    assert units_of(after, V2) == units_of(before, V2)
    assert units_of(after, V1) == units_of(before, V1) | units_of(before, copy)


def test_requests_without_a_key_are_drawn_one_by_one(world: OneGatewayWorld) -> None:
    world.apply(three(30, 20))
    world.send(UNITS, connections=4)
    seen = {
        version: [one["x-capstan-arm"] for one in world.services[version].seen] for version in world.services
    }
    arms = [arm for found in seen.values() for arm in found]
    for version, share in (("v1", 0.5), ("v2", 0.3), ("v3", 0.2)):
        assert is_within_chance(arms.count(version), len(arms), share)


def test_the_arm_outlives_a_retry_and_nobody_can_choose_it(world: OneGatewayWorld) -> None:
    world.services[V2].behaviour = "raises"
    world.apply(TrafficSplit(arms=(Arm(V1, Weight(0)), Arm(V2, Weight(100)))))
    world.send(20, headers={"x-capstan-arm": "v1", "x-capstan-key": "me"})
    assert {one["x-capstan-arm"] for one in world.services[V1].seen} == {"v2"}
    assert {one["x-capstan-key"] for one in world.services[V1].seen} == {"me"}
    world.apply(champion_only(V1))
    world.services[V1].seen.clear()
    world.send(5, headers={"x-capstan-arm": "v9"})
    assert {one["x-capstan-arm"] for one in world.services[V1].seen} == {"v1"}


def test_a_copy_is_told_by_its_host_so_that_its_arm_counts_for_nothing(world: OneGatewayWorld) -> None:
    world.apply(split(100, 0, mirror=V3))
    world.send(10)
    eventually(lambda: len(world.services[V3].seen) >= 10)
    assert {one[":host"] for one in world.services[V3].seen} == {"capstan-shadow"}
