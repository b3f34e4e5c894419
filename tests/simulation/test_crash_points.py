"""FAULTS 1 and 25: the loop dies before and after every call of every story, and the end is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from simulation.branching import SAME, live_all_branches
from simulation.scripts import SCRIPTS
from simulation.world import World

# A new process gives a starting challenger its whole deadline, so this one ends alike, but later.
LATER = "challenger_that_is_never_ready_is_rolled_back"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_kill_before_or_after_any_call_changes_neither_the_end_nor_what_was_done(name: str) -> None:
    """FAULTS 1, 4, 13, 25."""
    whole = World()
    SCRIPTS[name](whole)
    outcome = end_but_when if name == LATER else World.end
    lived = live_all_branches(SCRIPTS[name], same_as(outcome(whole), outcome))
    assert (lived.calls, lived.end()) == (whole.calls, whole.end())
    assert sum(branch.points for branch in lived.branches) == 2 * len(whole.calls) > 400
    assert len(lived.branches) > 50
    wrong = [f"killed {b.first}: {b.verdict}" for b in lived.branches if b.verdict != SAME]
    assert not wrong, "\n".join(wrong[:5])


def same_as(expected: Any, outcome: Callable[[World], Any]) -> Callable[[World], str]:
    def judge(world: World) -> str:
        if world.crashes != 1:
            return f"it was killed {world.crashes} times"
        found = outcome(world)
        if found == expected:
            return SAME
        parts = (part for part in expected if found[part] != expected[part])
        return "; ".join(f"{part}: {found[part]} instead of {expected[part]}" for part in parts)

    return judge


def end_but_when(world: World) -> dict[str, Any]:
    """What was done and decided, whenever it was."""
    end = world.end()
    return {
        "reasons": Counter(world.reasons()),
        **{part: end[part] for part in ("splits", "aliases", "moves", "runs", "deployed", "serving")},
    }
