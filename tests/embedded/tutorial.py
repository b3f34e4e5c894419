"""The commands of a page of the docs, read out of its console blocks, and what the page says that they print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EVENT = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\dZ (\w+) (.*)$")
_VERSION = re.compile(r"\bv\d+\b")


@dataclass(frozen=True)
class Told:
    """A line of the story: what must be told, of which version."""

    reason: str
    version: str
    """Of the first one that the line names; empty: it names none."""

    @classmethod
    def of(cls, line: str) -> Told | None:
        found = _EVENT.match(line)
        if found is None:
            return None
        version = _VERSION.search(found[2])
        return cls(found[1], version[0] if version is not None else "")

    def is_kept_by(self, told: Told) -> bool:
        """Whether the line that was really told is this one; a page may leave out which version it was."""
        return self.reason == told.reason and self.version in ("", told.version)


@dataclass(frozen=True)
class Command:
    """One command of the page."""

    words: str
    prints: tuple[str, ...]
    """Lines that the page shows below it, up to the next command or the end of the block."""

    @property
    def tells(self) -> tuple[Told, ...]:
        """Lines of the story among them."""
        return tuple(told for line in self.prints if (told := Told.of(line)) is not None)


def commands_of(page: Path) -> list[Command]:
    """In the order of the page."""
    found: list[Command] = []
    for block in _BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line.removeprefix("$ "), ()))
            elif line.strip():
                found[-1] = Command(found[-1].words, (*found[-1].prints, line))
    return found
