"""Whatever order of looks, crashes and outages: no bandit is passed on broken evidence, and no move is rewritten."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from simulation.any_step import AnyStep
from simulation.scripts import learning, routed
from simulation.world import DAY, Model, World

from capstan.domain.rollout import RolloutPhase
from capstan.domain.steps.questions import Arms
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.versions import VersionName
from capstan.ports.store import Kind

LEAST = 1000
"""Units without which the bandit of `learning` decides nothing."""
FLOOR = 10
"""Percent that each of its arms keeps."""


class AnyBandit(AnyStep):
    @initialize(per=st.sampled_from(["Batch", "Request"]), decide=st.sampled_from(["Better", "UnlessWorse"]))
    def begin(self, per: str, decide: str) -> None:
        self.world = World()
        self.broken: dict[str, Any] = {}
        self.asked: list[ArmsEvidence] = []
        self.moves: dict[tuple[str, str], list[Any]] = {}
        self.passed = 0
        told = self.world.evidence.by_arm

        def by_arm(asked: Arms, since: datetime, as_of: datetime) -> ArmsEvidence:
            self.asked.append(replace(told(asked, since, as_of), **self.broken))
            return self.asked[-1]

        self.world.evidence.by_arm = by_arm
        learning(self.world, per=per, decide=decide)
        if per == "Request":
            self.world.edit_file(routed)
        self.world.start()
        self.world.models["v2"] = Model(gain=0.01)
        self.world.clock.advance(15 * DAY)
        self.world.fire()
        self.world.settle()
        self.world.resolve()

    @rule(days=st.integers(1, 4))
    def days_pass(self, days: int) -> None:
        for _ in range(2 * days):
            self.world.clock.advance(DAY / 2)
            self.once()

    @rule(gain=st.sampled_from([-0.02, 0.0, 0.01, 0.2]), labels=st.booleans())
    def a_model_is(self, gain: float, labels: bool) -> None:
        self.world.models["v2"] = Model(gain, labels=labels)

    @rule(dies=st.booleans())
    def the_challenger_dies_or_comes_back(self, dies: bool) -> None:
        (self.world.serving.crash if dies else self.world.serving.recover)(VersionName("v2"))

    @invariant()
    def a_bandit_is_passed_on_whole_evidence_alone(self) -> None:
        if not hasattr(self, "world") or self.count("StepPassed") == self.passed:
            return
        events = [event for _, event in self.world.store.events() if event.reason == "StepPassed"]
        fresh, self.passed = events[self.passed :], len(events)
        for _ in (event for event in fresh if event.details["step"] == 0):
            found = self.asked[-1]
            assert found.lost_share <= 0.01
            assert sum(found.total(VersionName(name)).units for name in ("v1", "v2")) >= LEAST

    @invariant()
    def shares_keep_the_floor_and_what_moved_once_is_never_rewritten(self) -> None:
        """The last move may still learn when it was obeyed and when it ended; those before it are history."""
        if not hasattr(self, "world"):
            return
        for record in self.world.store.list(Kind.ROLLOUT):
            state = record.status.get("state", {})
            moves = state.get("moves") or []
            for move in moves:
                assert sum(move["weights"].values()) == 100
                assert min(move["weights"].values()) >= FLOOR
            kept = self.moves.setdefault((record.name, str(state.get("step_since"))), [])
            history = moves[:-1]
            assert history[: len(kept)] == kept or state.get("step", 0) > 0
            if state.get("step", 0) == 0:
                kept[:] = history

    @invariant()
    def who_is_promoted_has_passed_both_steps(self) -> None:
        if not hasattr(self, "world"):
            return
        for record in self.world.store.list(Kind.ROLLOUT):
            if record.spec["cause"] != "Challenger":
                continue
            if record.status.get("state", {}).get("phase") == RolloutPhase.PROMOTED:
                told = [event for _, event in self.world.store.events() if event.name == record.name]
                assert {event.details["step"] for event in told if event.reason == "StepPassed"} == {0, 1}


TestAnyBandit = AnyBandit.TestCase
TestAnyBandit.settings = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
