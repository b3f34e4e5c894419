"""Whatever order of looks, crashes and repeats: no arm is promoted on evidence that is missing, broken or frozen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from simulation.any_step import AnyStep
from simulation.scripts import experimenting
from simulation.world import DAY, Model, World

from capstan.domain.assignment import stretches
from capstan.domain.rollout import RolloutPhase
from capstan.domain.steps.questions import Arms
from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.verdicts.sample_ratio import judge_sample_ratio
from capstan.domain.versions import VersionName
from capstan.ports.store import Kind

LEAST = 1000
"""Units without which the experiment of `experimenting` decides nothing."""


class AnyExperiment(AnyStep):
    @initialize(
        decide=st.sampled_from(["Better", "UnlessWorse"]),
        several=st.booleans(),
        guarded=st.booleans(),
        abort=st.booleans(),
    )
    def begin(self, decide: str, several: bool, guarded: bool, abort: bool) -> None:
        self.world = World()
        self.broken: dict[str, Any] = {}
        self.asked: list[tuple[Arms, ArmsEvidence]] = []
        self.weights: dict[str, int] = {}
        self.owners: dict[tuple[str, str], list[VersionName]] = {}
        self.counted: dict[tuple[str, str, str], tuple[VersionName, ...]] = {}
        self.passed = 0
        self.frozen = False
        told = self.world.evidence.by_arm

        def by_arm(asked: Arms, since: datetime, as_of: datetime) -> ArmsEvidence:
            found = replace(told(asked, since, as_of), **self.broken)
            self.asked.append((asked, found))
            split = self.world.traffic.read_back()
            assert split is not None
            self.weights = {str(arm.version): int(arm.weight) for arm in split.arms}
            before = self.counted.setdefault((split.salt, since.isoformat(), asked.metric), asked.versions)
            # An arm that left is asked for no more; nobody comes back and nobody is asked for anew.
            assert asked.versions == tuple(version for version in before if version in asked.versions)
            self.counted[split.salt, since.isoformat(), asked.metric] = asked.versions
            return found

        self.world.evidence.by_arm = by_arm
        experimenting(
            self.world,
            decide=decide,
            weight=30,
            guardrails=[{"metric": "complaints", "margin": 0.02}] if guarded else [],
        )
        if abort:
            self.world.edit_file(lambda spec: spec["rollout"]["limits"].update(onInconclusive="Abort"))
        self.world.start()
        if several:
            self.world.training = None
            self.begin_rollout("v2")
            self.world.clock.advance(30 * DAY)
            self.world.settle()
            arms = [{"version": name, "weight": 20} for name in ("v1", "v2")]
            self.world.edit_file(lambda spec: spec["rollout"]["steps"][0]["experiment"].update(arms=arms))
            self.world.clock.advance(30 * DAY)
        self.passed = self.count("StepPassed")
        self.asked = []
        self.begin_rollout("v3" if several else "v2")

    def begin_rollout(self, version: str) -> None:
        self.world.models[version] = Model(gain=-0.1)
        self.world.clock.advance(15 * DAY)
        self.world.fire(mark=version)
        self.world.settle()
        self.world.resolve()

    @rule(passes=st.integers(1, 6))
    def look(self, passes: int) -> None:
        for _ in range(passes):
            self.once()

    @rule(
        version=st.sampled_from(["v1", "v2", "v3"]),
        gain=st.sampled_from([-0.4, -0.1, 0.0, 0.1, 0.3]),
        labels=st.booleans(),
        complaints=st.sampled_from([0.0, 0.0, 0.2]),
        nonfinite=st.sampled_from([0, 0, 0, 4]),
    )
    def a_model_is(self, version: str, gain: float, labels: bool, complaints: float, nonfinite: int) -> None:
        self.world.models[version] = Model(gain, labels=labels, complaints=complaints, nonfinite=nonfinite)

    @rule(share=st.sampled_from([None, None, 0.0, 0.2, 0.45]))
    def the_gateway_gives(self, share: float | None) -> None:
        split = self.world.traffic._split
        versions = [str(arm.version) for arm in split.arms] if split else []
        if share is None or len(versions) < 2:
            self.world.obeyed = None
        else:
            first = 1 - share * (len(versions) - 1) if share < 0.3 else 1 - share
            rest = (1 - first) / (len(versions) - 1)
            self.world.obeyed = {name: first if name == versions[0] else rest for name in versions}

    @rule(version=st.sampled_from(["v2", "v3"]), dies=st.booleans())
    def a_version_dies_or_comes_back(self, version: str, dies: bool) -> None:
        if dies:
            self.world.serving.crash(VersionName(version))
        else:
            self.world.serving.recover(VersionName(version))

    @invariant()
    def an_experiment_is_passed_on_whole_evidence_alone(self) -> None:
        if not hasattr(self, "world") or self.count("StepPassed") == self.passed:
            return
        events = [event for _, event in self.world.store.events() if event.reason == "StepPassed"]
        fresh, self.passed = events[self.passed :], len(events)
        for event in fresh:
            if event.details["step"] != 0:
                continue
            asked, found = next((a, e) for a, e in reversed(self.asked) if a.metric == "logLoss")
            units = {version: found.total(version) for version in asked.versions}
            champion, *rivals = asked.versions
            assert found.lost_share <= 0.01
            assert not any(found.nonfinite_answers.values())
            assert all(units[champion].units + units[rival].units >= LEAST for rival in rivals)
            assert sum(one.units for one in units.values()) >= 0.8 * sum(one.closed for one in units.values())
            weights = {str(version): self.weights[version] for version in asked.versions}
            counts = {str(version): one.assigned for version, one in units.items()}
            assert judge_sample_ratio(counts, weights).verdict is not Verdict.FAILED
            metrics = {one.metric for one, _ in self.asked}
            guarded = "complaints" in metrics
            assert not guarded or any(one.metric == "complaints" for one, _ in self.asked[-2:])

    @invariant()
    def no_unit_moves_between_arms_while_evidence_is_gathered(self) -> None:
        """Also when an arm leaves: each part of the hash has one arm from the first counted unit to the last."""
        if not hasattr(self, "world"):
            return
        split = self.world.traffic._split
        for record in self.world.store.list(Kind.ROLLOUT):
            state = record.status.get("state", {})
            is_counting = state.get("phase") == RolloutPhase.PROGRESSING and state.get("step", 0) == 0
            if not is_counting or not state.get("step_since") or split is None or split.salt != record.name:
                continue
            owners = [arm.version for arm in stretches(split) for _ in range(arm.weight)]
            assert self.owners.setdefault((record.name, state["step_since"]), owners) == owners

    @invariant()
    def who_is_promoted_has_passed_both_steps(self) -> None:
        if not hasattr(self, "world"):
            return
        for record in self.world.store.list(Kind.ROLLOUT):
            state = record.status.get("state", {})
            if record.spec["cause"] != "Challenger" or state.get("phase") != RolloutPhase.PROMOTED:
                continue
            told = [event for _, event in self.world.store.events() if event.name == record.name]
            steps = {event.details["step"] for event in told if event.reason == "StepPassed"}
            assert steps == {0, 1}
            winner = state.get("winner") or record.spec["challenger"]["name"]
            assert any(f"{winner} becomes champion" in event.message for event in told)

    def teardown(self) -> None:
        """When everything answers again, traffic and aliases follow the records, and no arm is left running."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for part in ("evidence", "operation", "registry", "traffic"):
            getattr(world, part).faults.away = None
        for version in ("v2", "v3"):
            world.serving.recover(VersionName(version))
        world.settle(400)
        split, aliases = world.traffic.read_back(), world.registry.aliases()
        assert split is not None
        assert aliases["champion"] == world.state["champion"]["name"] == split.champion
        assert split.versions <= world.serving.readiness().keys()


TestAnyExperiment = AnyExperiment.TestCase
TestAnyExperiment.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
