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


def test_every_golden_story_has_a_script() -> None:
    assert {path.stem for path in STORIES.glob("*.txt")} == set(SCRIPTS)
