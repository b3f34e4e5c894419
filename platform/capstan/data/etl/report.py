"""What a job read, dropped and why, and wrote."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Dropped:
    """Rows that did not go on."""

    because: str
    rows: int


@dataclass(frozen=True)
class EtlStep:
    """One part of a job that is finished."""

    part: Literal["extract", "transform", "load"]
    name: str
    made: int
    """Rows that were read, or that the step gave."""
    dropped: tuple[Dropped, ...] = ()
    into: str | None = None
    """Where a load went."""
    resumed: bool = False
    """Whether an earlier run, which was stopped, had made it."""

    @property
    def kept(self) -> int:
        """Rows that went on."""
        return self.made - sum(one.rows for one in self.dropped)

    def document(self) -> dict[str, Any]:
        """As JSON tells it."""
        return {**asdict(self), "kept": self.kept}


@dataclass(frozen=True)
class EtlReport:
    """A job that is finished."""

    name: str
    engine: str
    steps: tuple[EtlStep, ...]

    def document(self) -> dict[str, Any]:
        """As JSON tells it."""
        return {
            "name": self.name,
            "engine": self.engine,
            "steps": [step.document() for step in self.steps],
        }
