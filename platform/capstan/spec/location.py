"""Where a part of a document stands: its keys and indices, its path as text and its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from capstan.errors import Mistake

Location = tuple[str | int, ...]
"""Keys and indices from the top of the file to a part of it."""


@dataclass
class Document:
    """Plain data with the lines of its parts and the mistakes of its notation."""

    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    mistakes: list[tuple[Location, Mistake]] = field(default_factory=list)
    """Mistakes of notation with the part they lie in."""
    is_readable: bool = True
    """False: there is no data to check further."""

    def line_of(self, location: Location) -> int | None:
        """Line of the part, or of the nearest part around it."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return None


def path_text(location: Location) -> str:
    """`("spec", "rollout", "steps", 2)` as `rollout.steps[2]`; the top is `file`."""
    parts = location[1:] if len(location) > 1 and location[0] == "spec" else location
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "file"
