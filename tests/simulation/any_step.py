"""What every machine of a rollout's step does to its world: looks, crashes, hours, lost payloads, parts away."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from simulation.world import DAY, SYSTEM, Crash, World


class AnyStep(RuleBasedStateMachine):
    """`world` and `broken`, what its evidence says in place of the truth, are set by the machine's own beginning."""

    world: World
    broken: dict[str, Any]

    def count(self, reason: str) -> int:
        return self.world.reasons().count(reason)

    def once(self) -> None:
        try:
            self.world.engine().reconcile(SYSTEM)
        except Crash:
            self.world.restart()

    @rule(calls=st.integers(1, 40), when=st.sampled_from(["before", "after"]))
    def die(self, calls: int, when: str) -> None:
        self.world.crash_at = (len(self.world.calls) + calls, when)
        self.once()
        self.world.crash_at = None

    @rule(hours=st.integers(1, 72), looks=st.integers(1, 4))
    def time_passes(self, hours: int, looks: int) -> None:
        for _ in range(looks):
            self.world.clock.advance(DAY / 24 * hours / looks)
            self.once()

    @rule(lost=st.sampled_from([0.0, 0.0, 0.05, 1.0]))
    def payloads_are_lost(self, lost: float) -> None:
        self.broken = {"lost_share": lost}

    @rule(part=st.sampled_from(["evidence", "operation", "registry", "traffic"]), away=st.booleans())
    def a_part_goes_or_comes(self, part: str, away: bool) -> None:
        getattr(self.world, part).faults.away = "away" if away else None
