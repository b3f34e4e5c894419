"""What the documentation says about where things live is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "platform/docs").rglob("*.md"))]
BASES = ("", "platform", "platform/capstan", "tests", "tests/unit", "operators/capstan_operator", "pipelines")
PATH = re.compile(r"`([\w.-]+/(?:[\w.-]+/)*[\w.-]+\.py|(?:[\w.-]+/){2,})(?:::\w+)?`")
"""A Python file below a folder, or a folder in another: both in backquotes."""
NOT_OURS = re.compile(
    r"[A-Z]{4}|^\.|^/|^capstan/(data|run|reports|logs)|^platform/__init__|^(data|bentos?|secrets|run|runs|systems)/"
)
"""Placeholders, what must not be there, and folders of a running system or of a user."""


def paths(text: str) -> set[str]:
    return {path for path in PATH.findall(text) if not NOT_OURS.search(path)}


@pytest.mark.parametrize("file", DOCS, ids=lambda file: str(file.relative_to(ROOT)))
def test_paths_in_the_documentation_exist(file: Path) -> None:
    lost = [
        path for path in paths(file.read_text()) if not any((ROOT / base / path).exists() for base in BASES)
    ]
    assert lost == []


def test_a_path_that_was_moved_is_noticed() -> None:
    text = "`adapters/memory.py`, `adapters/memory/`, see `a/test_x.py::test_y`; `steps/` and `adapters/NAME/x.py`"
    assert paths(text) == {"adapters/memory.py", "adapters/memory/", "a/test_x.py"}
