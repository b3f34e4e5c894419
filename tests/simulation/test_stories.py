"""Whole rollouts and retrainings as golden text that somebody can read in review.

`REWRITE_STORIES=1 pytest tests/simulation/test_stories.py` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from simulation.scripts import SCRIPTS
from simulation.world import World

STORIES = Path(__file__).parent / "stories"


@pytest.mark.parametrize("name", SCRIPTS)
def test_story_is_told_as_before(name: str) -> None:
    world = World()
    SCRIPTS[name](world)
    told = f"{name.replace('_', ' ').capitalize()}\n\n{world.story()}"
    golden = STORIES / f"{name}.txt"
    if os.environ.get("REWRITE_STORIES"):
        golden.write_text(told)
    assert told == golden.read_text()


@pytest.mark.parametrize(
    "name",
    [
        "bandit_learns_through_a_restart_and_promotes",
        "bandit_with_a_router_learns_through_a_restart_and_promotes",
    ],
)
def test_a_bandit_that_is_replayed_without_its_restart_is_the_same_bit_for_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records, shares with what they followed from, and what a router was told: as they are stored."""
    restarted = World()
    SCRIPTS[name](restarted)
    monkeypatch.setattr(World, "restart", lambda _world: None)
    replayed = World()
    SCRIPTS[name](replayed)
    assert replayed.story() == restarted.story()
    assert repr(replayed.end()) == repr(restarted.end())
    assert "'moves': [{" in repr(restarted.end())


def test_every_golden_story_has_a_script() -> None:
    assert {path.stem for path in STORIES.glob("*.txt")} == set(SCRIPTS)
