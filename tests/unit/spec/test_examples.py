"""Every example is a valid file that can be replayed, or asked live where its rows have no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from capstan.spec import load

ROOT = Path(__file__).parents[3] / "examples"
EXAMPLES = sorted([*ROOT.glob("*/system.yaml"), *ROOT.glob("*/*/system.yaml")])


def _named(file: Path) -> str:
    return "-".join(file.parent.relative_to(ROOT).parts)


def test_the_examples_of_experiments_are_among_them() -> None:
    told = {_named(file) for file in EXAMPLES}
    kinds = ("ab", "abn", "bad-arm", "bandit", "interleaving")
    assert {f"experiments-{kind}" for kind in kinds} <= told


@pytest.mark.parametrize("file", EXAMPLES, ids=_named)
def test_an_example_is_valid_and_has_something_to_replay_where_its_rows_have_times(file: Path) -> None:
    system = load(file)
    assert system.metadata.name == _named(file)
    has_replay, has_times = system.spec.replay is not None, system.spec.data.keys.time is not None
    assert has_replay == has_times, "make example NAME=... replays it"
    readmes = [file.parent / "README.md", file.parents[1] / "README.md"]
    assert any(readme.exists() for readme in readmes)
