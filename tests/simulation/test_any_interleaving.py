"""Whatever is observed in whatever order, and however often the loop dies: what must never happen does not happen."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulation.world import DAY, START, SYSTEM, Crash, Model, World

from capstan.adapters.memory.loop import Training
from capstan.domain.actions import Verb
from capstan.domain.rollout import RolloutPhase
from capstan.domain.traffic import Arm, TrafficSplit, Weight, champion_only
from capstan.domain.versions import Readiness, VersionName
from capstan.engine import commands
from capstan.errors import NotAllowedError
from capstan.ports.store import Kind

PARTS = ("registry", "serving", "traffic", "operation", "evidence", "alerts", "pipelines", "monitoring")


class AnyInterleaving(RuleBasedStateMachine):
    @initialize(in_rollout=st.sampled_from([True, True, True, False]))
    def begin(self, in_rollout: bool) -> None:
        self.world = World()
        original = self.world.traffic.apply

        def apply(split: TrafficSplit, endpoints: Any) -> None:
            readiness = self.world.serving.readiness()
            assert all(readiness.get(v) is Readiness.READY for v in split.versions), (
                "traffic to what is not ready"
            )
            original(split, endpoints)

        self.world.traffic.apply = apply  # type: ignore[method-assign]
        if in_rollout:
            # Most of what can go wrong needs a challenger.
            self.world.start()
            self.world.clock.advance(15 * DAY)
            self.world.fire()
            self.world.settle()

    def once(self) -> None:
        """One pass, perhaps the last of this process."""
        try:
            self.world.engine().reconcile(SYSTEM)
        except Crash:
            self.world.restart()

    @rule()
    def look(self) -> None:
        self.once()

    @rule(passes=st.integers(2, 12))
    def look_often(self, passes: int) -> None:
        for _ in range(passes):
            self.once()

    @rule(calls=st.integers(1, 40), when=st.sampled_from(["before", "after"]))
    def die(self, calls: int, when: str) -> None:
        self.world.crash_at = (len(self.world.calls) + calls, when)
        self.once()
        self.world.crash_at = None

    @rule(hours=st.integers(0, 24 * 9))
    def time_passes(self, hours: int) -> None:
        self.world.clock.advance(DAY / 24 * hours)

    @rule(days=st.integers(1, 9))
    def quiet_days(self, days: int) -> None:
        for _ in range(days):
            self.world.clock.advance(DAY)
            for _ in range(4):
                self.once()

    @rule(hours=st.integers(-48, 48))
    def the_clock_jumps(self, hours: int) -> None:
        self.world.clock.jump(now=DAY / 24 * hours)

    @rule(
        version=st.sampled_from(["v2", "v3", "v4"]),
        gain=st.sampled_from([-0.1, 0.0, 0.05]),
        error_rate=st.sampled_from([0.0, 0.0, 0.3]),
        labels=st.booleans(),
    )
    def a_model_is(self, version: str, gain: float, error_rate: float, labels: bool) -> None:
        self.world.models[version] = Model(gain, error_rate, labels=labels)

    @rule(requests=st.sampled_from([0, 10, 1000, 5000]))
    def traffic_is(self, requests: int) -> None:
        self.world.requests_per_day = requests

    @rule(fails=st.booleans(), gates=st.booleans())
    def training_will(self, fails: bool, gates: bool) -> None:
        def plan(request: Any) -> Training:
            return self.world.failed(request) if fails else self.world.trained(request, gates=gates)

        self.world.training = plan

    @rule(part=st.sampled_from(PARTS), away=st.booleans())
    def a_part_goes_or_comes(self, part: str, away: bool) -> None:
        getattr(self.world, part).faults.away = "away" if away else None

    @precondition(lambda self: self.status.get("champion"))
    @rule(mark=st.sampled_from(["a", "b", "c"]), version=st.sampled_from([None, "v1", "v2"]))
    def an_alert_fires(self, mark: str, version: str | None) -> None:
        self.world.fire(mark=mark, version=version)

    @rule()
    def alerts_resolve(self) -> None:
        self.world.resolve()

    @rule(version=st.sampled_from(["v1", "v2", "v3"]), dead=st.booleans())
    def a_version_dies_or_comes_back(self, version: str, dead: bool) -> None:
        name = VersionName(version)
        self.world.serving.crash(name) if dead else self.world.serving.recover(name)

    @rule(
        verb=st.sampled_from([Verb.PAUSE, Verb.RESUME, Verb.ABORT, Verb.RETRAIN, Verb.APPROVE, Verb.ROLLBACK])
    )
    def a_person_asks(self, verb: Verb) -> None:
        with contextlib.suppress(NotAllowedError):
            commands.issue(self.world.store, SYSTEM, verb, at=START)

    @rule(weight=st.integers(10, 60))
    def the_file_is_edited(self, weight: int) -> None:
        self.world.edit_file(
            lambda spec: spec["rollout"]["steps"][2]["canary"].update(weight=max(26, weight))
        )

    @precondition(lambda self: len(self.world.registry._versions) > 1)
    @rule(weight=st.integers(1, 99))
    def somebody_edits_the_weights(self, weight: int) -> None:
        arms = (Arm(VersionName("v1"), Weight(100 - weight)), Arm(VersionName("v2"), Weight(weight)))
        self.world.traffic.edit_by_hand(TrafficSplit(arms))

    # -- what is always true

    @property
    def status(self) -> Any:
        record = self.world.store.get(Kind.SYSTEM, SYSTEM)
        return record.status.get("state", {}) if record else {}

    @invariant()
    def at_most_one_run_and_one_rollout_are_active(self) -> None:
        if not hasattr(self, "world"):
            return
        for kind, finals in (
            (Kind.RUN, {"Succeeded", "Failed", "Cancelled"}),
            (Kind.ROLLOUT, {RolloutPhase.PROMOTED, RolloutPhase.ROLLED_BACK}),
        ):
            states = [record.status.get("state", {}).get("phase") for record in self.world.store.list(kind)]
            assert sum(phase not in finals for phase in states) <= 1
        assert not (self.status.get("run") and self.status.get("rollout"))

    @invariant()
    def each_fact_is_told_once(self) -> None:
        if not hasattr(self, "world"):
            return
        ends = [
            (event.name, event.reason)
            for _, event in self.world.store.events()
            if event.reason
            in ("Promoted", "RolledBack", "FirstDeployed", "TrainingSucceeded", "TrainingStarted")
        ]
        assert len(ends) == len(set(ends))

    @invariant()
    def nothing_is_promoted_but_through_all_steps(self) -> None:
        if not hasattr(self, "world"):
            return
        for record in self.world.store.list(Kind.ROLLOUT):
            state = record.status.get("state", {})
            if record.spec["cause"] != "Challenger" or state.get("phase") not in ("Promoting", "Promoted"):
                continue
            told = [e for _, e in self.world.store.events() if e.name == record.name]
            restarts = [i for i, e in enumerate(told) if e.reason == "RolloutRestarted"]
            since = told[restarts[-1] :] if restarts else told
            passed = {e.details["step"] for e in since if e.reason == "StepPassed"}
            assert passed == {0, 1, 2}, f"{record.name} was promoted after {passed}"
            model = self.world.model(record.spec["challenger"]["name"])
            assert model is not None

    def teardown(self) -> None:
        """When everything answers again, the records, the aliases and the traffic agree."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for part in PARTS:
            getattr(world, part).faults.away = None
        for version in ("v1", "v2", "v3"):
            world.serving.recover(VersionName(version))
        world.settle(400)
        state, split, aliases = self.status, world.traffic.read_back(), world.registry.aliases()
        if not state.get("champion"):
            return
        assert aliases["champion"] == state["champion"]["name"]
        if state.get("rollout") is None:
            assert split == champion_only(state["champion"]["name"])
            assert "challenger" not in aliases
        else:
            assert split.champion == state["champion"]["name"]
            assert aliases["challenger"] == state["rollout"]["challenger"]["name"]


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
