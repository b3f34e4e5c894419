"""Every example is a valid file, and says how it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from capstan.spec import load

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/system.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_is_valid_and_its_readme_says_how_it_is_run(file: Path) -> None:
    system = load(file)
    assert system.metadata.name == file.parent.name
    assert system.spec.replay is not None, "make example NAME=... replays it"
    readme = (file.parent / "README.md").read_text()
    assert "make demo" in readme or f"make example NAME={file.parent.name}" in readme
