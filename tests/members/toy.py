"""A toy member, added to a copy of the tree as a person would add one: which files that touches is what is counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("platform", "pipelines", "operators")


@dataclass(frozen=True)
class Edit:
    """Lines put after, or before, a line that is there once."""

    file: str
    anchor: str
    text: str
    before: bool = False


@dataclass(frozen=True)
class Toy:
    """One member of a kind."""

    kind: str
    """As the table of the decision names it."""
    edits: tuple[Edit, ...]
    new: Mapping[str, str]
    """New files of the product; tests and generated documents do not count."""
    check: str
    """Python that runs the member's suite and fails if it is not kept."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Files beside the product that the check reads."""

    @property
    def files(self) -> tuple[str, ...]:
        """Those that are touched, in the order in which they are written."""
        return tuple(dict.fromkeys([*(edit.file for edit in self.edits), *self.new]))


def added(toy: Toy, tree: Path) -> None:
    """Copy the product into `tree` and add the member; raises AssertionError where an anchor is not there once."""
    for room in ROOMS:
        # Bytecode too, which Python compares with its source: only what is edited below is compiled anew.
        shutil.copytree(ROOT / room, tree / room)
    for edit in toy.edits:
        path = tree / edit.file
        text = path.read_text()
        assert text.count(edit.anchor) == 1, (
            f"{edit.file}: {edit.anchor!r} stands {text.count(edit.anchor)} times"
        )
        both = (edit.text, edit.anchor) if edit.before else (edit.anchor, edit.text)
        path.write_text(text.replace(edit.anchor, "".join(both)))
    for name, text in {**toy.new, **toy.also}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)


def checked(toy: Toy, tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the member's suite in the copy, and nothing of the tree that it was copied from."""
    guard = f"import capstan; assert {str(tree)!r} in str(capstan.__path__), capstan.__path__\n"
    paths = os.pathsep.join(str(tree / room) for room in ROOMS)
    return subprocess.run(
        [sys.executable, "-c", guard + toy.check],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
