"""FAULTS 1 and 25: the loop dies before and after every single call it makes, and the end is the same."""

from __future__ import annotations

import pytest
from simulation.scripts import SCRIPTS
from simulation.world import World

EVERY_POINT = ("promotion_is_undone_by_a_person", "deleted_in_the_canary")


def run(name: str, crash_at: tuple[int, str] | None = None) -> World:
    world = World()
    world.crash_at = crash_at
    SCRIPTS[name](world)
    return world


@pytest.mark.parametrize("name", EVERY_POINT)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_any_call_changes_neither_the_end_nor_the_story(name: str, when: str) -> None:
    """FAULTS 1, 25."""
    whole = run(name)
    expected = whole.end()
    calls = range(1, len(whole.calls) + 1)
    # A kill at a call that only reads leaves the same world as one just before the next write.
    chosen = [n for n in calls if is_write(whole.calls[n - 1])]
    assert len(chosen) > 60
    for number in chosen:
        world = run(name, (number, when))
        assert world.crashes == 1
        assert world.end() == expected, f"killed {when} call {number} ({whole.calls[number - 1]})"


# A new process gives a starting challenger its whole deadline, so this one ends alike, but later.
LATER = "challenger_that_is_never_ready_is_rolled_back"


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != LATER])
def test_a_kill_at_some_calls_of_every_story_ends_alike(name: str) -> None:
    """FAULTS 1, 4."""
    whole = run(name)
    expected = whole.end()
    writes = [n for n in range(1, len(whole.calls) + 1) if is_write(whole.calls[n - 1])]
    for number in writes[:: max(1, len(writes) // 6)]:
        for when in ("before", "after"):
            world = run(name, (number, when))
            assert world.end() == expected, f"killed {when} call {number} ({whole.calls[number - 1]})"


def test_a_kill_while_waiting_for_readiness_only_prolongs_the_wait() -> None:
    """FAULTS 1, 13."""
    whole = run(LATER)
    for number in range(len(whole.calls) * 2 // 3, len(whole.calls)):
        world = run(LATER, (number, "before"))
        assert sorted(world.reasons()) == sorted(whole.reasons())
        assert world.traffic.applied == whole.traffic.applied


def is_write(call: str) -> bool:
    return call.split(".")[1] in {
        "put",
        "delete",
        "record_event",
        "start",
        "cancel",
        "set_alias",
        "deploy",
        "retire",
        "apply",
        "watch",
    }
