"""Every example is a valid file that a replay can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from capstan.spec import load

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/system.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_is_valid_and_has_something_to_replay(file: Path) -> None:
    system = load(file)
    assert system.metadata.name == file.parent.name
    assert system.spec.replay is not None, "make example NAME=... replays it"
    assert (file.parent / "README.md").exists()
