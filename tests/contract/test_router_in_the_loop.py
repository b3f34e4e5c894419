"""A bandit's arms die inside Seldon's graph while the loop runs, over what Seldon's operator was seen to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from contract.test_traffic_istio import V1, V2, V3, World, version

from capstan.adapters.memory.loop import (
    MemoryAlerts,
    MemoryClock,
    MemoryEvidence,
    MemoryMonitoring,
    MemoryOperation,
    MemoryPipelines,
    MemoryRegistry,
    MemoryStore,
)
from capstan.domain.retraining import RetrainingPolicy
from capstan.domain.rollout import RolloutCause, RolloutPolicy, RolloutRequest, RolloutState, rollout_name
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import Outcome
from capstan.domain.system import SystemPolicy, SystemState
from capstan.domain.verdicts.evidence import OperationEvidence, PairedEvidence, VersionOperation
from capstan.domain.verdicts.experiments import Better
from capstan.domain.versions import SystemName, VersionName
from capstan.engine import Engine
from capstan.engine.records import rollout_record, rollout_state
from capstan.ports.codec import to_json
from capstan.ports.store import Kind, Record

SYSTEM = SystemName("flights")
V4 = VersionName("v4")
CLICKS = Outcome("clicks", Better.HIGHER, timedelta(0), timedelta(0), is_loss=False, is_share=True)
POLICY = RolloutPolicy(
    (BanditStep(CLICKS, by_request=True, arms=(V3, V4)),),
    {},
    progress_deadline=timedelta(minutes=5),
    look_interval=timedelta(seconds=1),
    digest="d",
)
SOON, PASSES = timedelta(seconds=10), 8


class Loop:
    """Four versions, of which v1 is the champion."""

    def __init__(self) -> None:
        self.world, self.store = World(), MemoryStore()
        self.clock = MemoryClock(datetime(2026, 3, 2, tzinfo=UTC))
        self.registry = MemoryRegistry()
        names = (V1, V2, V3, V4)
        for name in names:
            self.registry.register(version(name), tags={}, metrics={})
        self.registry.set_alias("champion", V1)
        self.world.deploy(*names)
        request = RolloutRequest(
            rollout_name(SYSTEM, V1, V2, 1),
            SYSTEM,
            RolloutCause.CHALLENGER,
            version(V2),
            version(V1),
            others=(version(V3), version(V4)),
        )
        state = SystemState(version(V1), self.clock.now(), rollout=request, rollouts=1)
        self.store.put(Record(Kind.SYSTEM, SYSTEM, SYSTEM, {}, {"state": to_json(state)}))
        self.store.put(rollout_record(request))
        self.ways: list[dict[str, int]] = []
        """Where users were led after each pass, and whether that could answer."""

    def passes(self, count: int = PASSES, *, restarts: bool = True) -> None:
        """Each of another process, or all of one."""
        engine = self._engine()
        for _ in range(count):
            self.clock.advance(SOON)
            (self._engine() if restarts else engine).reconcile(SYSTEM)
            self.world.look()
            self.ways.append({name: weight for name, weight in self.world.route().items() if weight})

    def kill(self, *names: VersionName) -> None:
        self.world.kube.stuck |= {VersionName(f"{name} of the graph") for name in names}

    def told(self) -> list[str]:
        return [event.reason for _, event in self.store.events(SYSTEM)]

    def rollout(self) -> RolloutState:
        [record] = self.store.list(Kind.ROLLOUT)
        return rollout_state(record)

    def arms(self) -> list[str]:
        """Of the graph that users are led to; empty: there is none."""
        found = self.world.kube.get("SeldonDeployment", "flights")
        assert found is not None
        graphs = [one["graph"] for one in found["spec"]["predictors"] if one["name"] == "arms"]
        return [child["name"] for graph in graphs for child in graph["children"]]

    def _engine(self) -> Engine:
        same = [VersionOperation(name, 1000, 0, {float("inf"): 1000}) for name in (V1, V2)]
        traffic = self.world.provider()
        return Engine(
            self.store,
            MemoryPipelines(None, self.registry, None),  # type: ignore[arg-type]
            self.registry,
            traffic,
            traffic,
            MemoryEvidence(lambda *_: PairedEvidence()),
            MemoryOperation(lambda *_: OperationEvidence(*same)),
            MemoryAlerts(),
            MemoryMonitoring(),
            self.clock,
            policy=lambda _: SystemPolicy(POLICY, RetrainingPolicy()),
        )


@pytest.fixture
def loop() -> Loop:
    loop = Loop()
    loop.passes()
    assert loop.ways[-1] == {"arms": 100}, loop.told()
    assert loop.arms() == ["v1", "v2", "v3", "v4"]
    return loop


@pytest.mark.parametrize("dead", [(V3,), (V4, V3)], ids=["one", "two at once"])
def test_arms_that_die_leave_the_graph_and_the_step_goes_on(
    loop: Loop, dead: tuple[VersionName, ...]
) -> None:
    before, seen = loop.rollout(), len(loop.ways)
    loop.kill(*dead)
    loop.passes()
    alive = [name for name in ("v1", "v2", "v3", "v4") if name not in dead]
    assert (loop.ways[-1], loop.arms()) == ({"arms": 100}, alive)
    # Users meet the champion's own pods until another graph is ready, and nobody else.
    ways = [next(iter(way)) for way in loop.ways[seen:]]
    assert ways == sorted(ways, reverse=True), "v1 first, and then the graph for good"
    assert ways[0] == "v1"
    after = loop.rollout()
    assert after.left.keys() == set(dead)
    assert (after.step_since, after.crashes, after.corrections) == (before.step_since, 0, 0)
    assert loop.told().count("StepStarted") == 1
    assert "ChallengerLost" not in loop.told()


def test_arms_that_die_one_after_the_other_leave_until_the_challenger_is_alone(loop: Loop) -> None:
    for dead in (V3, V4):
        loop.kill(dead)
        loop.passes()
    assert (loop.ways[-1], loop.arms()) == ({"arms": 100}, ["v1", "v2"])
    assert loop.rollout().crashes == 0
    # The rollout is the challenger's: without it the step begins anew.
    loop.kill(V2)
    loop.passes()
    assert loop.told().count("ChallengerLost") == 1
    assert loop.ways[-1] == {"v1": 100}


def test_the_champion_that_dies_in_the_graph_with_an_arm_is_the_way_back_for_all(loop: Loop) -> None:
    loop.kill(V1, V3)
    loop.passes()
    assert loop.told().count("ChallengerLost") == 1
    assert loop.ways[-1] == {"v1": 100}
    loop.world.kube.stuck.clear()
    loop.passes()
    assert loop.ways[-1] == {"arms": 100}
    assert loop.told().count("StepStarted") == 2


def test_an_arm_that_does_not_start_in_the_next_graph_leaves_at_its_deadline(loop: Loop) -> None:
    loop.kill(V3)
    loop.world.kube.stuck |= {VersionName("router of the graph")}
    loop.passes()
    assert loop.arms() == ["v1", "v2", "v4"]
    loop.world.kube.stuck = {VersionName("v4 of the graph")}
    loop.passes(POLICY.progress_deadline // SOON + PASSES, restarts=False)
    assert (loop.ways[-1], loop.arms()) == ({"arms": 100}, ["v1", "v2"])
    assert loop.told().count("ArmLeft") == 2
    assert "RolledBack" not in loop.told()
