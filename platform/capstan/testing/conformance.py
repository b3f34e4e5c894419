"""What every suite has in common: a member's broken rules, told all at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NotConformingError(AssertionError):
    """A member breaks rules of its suite; the message has a line for each."""


class Suite:
    """Collects the rules that a member breaks."""

    def __init__(self, member: str) -> None:
        self._member = member
        self._broken: list[str] = []

    @contextmanager
    def rule(self, says: str) -> Iterator[None]:
        """Whatever is raised inside breaks the rule; what comes after it in the block is not tried."""
        try:
            yield
        except AssertionError as error:
            self._broken.append(f"{says}: {error}")
        except Exception as error:
            self._broken.append(f"{says}: {type(error).__name__}: {error}")

    def require(self) -> None:
        """Raises NotConformingError if a rule was broken."""
        if self._broken:
            listed = "".join(f"\n  {broken}" for broken in self._broken)
            raise NotConformingError(f"{self._member} does not conform:{listed}")
