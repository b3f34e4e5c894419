"""Which columns of a log mean what, and how its rows become units."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Crossed(StrEnum):
    """What becomes of a unit that was seen in two arms."""

    EXCLUDE = "Exclude"
    """It is counted, told and left out."""
    FIRST = "First"
    """It belongs to the arm in which it was seen first; left out where that is not to be told."""
    REFUSE = "Refuse"
    """The log is refused."""


class Aggregate(StrEnum):
    """How the outcomes of several rows of a unit become one."""

    ONE = "One"
    """A unit has one outcome; different ones are refused."""
    SUM = "Sum"
    MEAN = "Mean"
    MAX = "Max"


class Missing(StrEnum):
    """What an assigned unit without an outcome means."""

    OMIT = "Omit"
    """It counts in the sample ratio and in no comparison."""
    ZERO = "Zero"
    """Nothing happened: its outcome is 0."""


class Block(StrEnum):
    """What is taken as independent."""

    UNIT = "Unit"
    HOUR = "Hour"
    DAY = "Day"


@dataclass(frozen=True)
class LogColumns:
    """The columns of a log, by name, and how its rows are read."""

    path: Path
    unit: str
    arm: str
    metrics: tuple[str, ...]
    time: str | None = None
    """When the row happened; None: the log says nothing of time."""
    covariate: str | None = None
    """Known before the unit was assigned; None: no CUPED."""
    slices: tuple[str, ...] = ()
    event: str | None = None
    """Tells rows of a unit apart that look alike; None: rows that look alike are one."""
    crossed: Crossed = Crossed.EXCLUDE
    aggregate: Aggregate = Aggregate.ONE
    missing: Missing = Missing.OMIT
    zone: str = "UTC"
    """Of days, and of times without offset."""

    @property
    def options(self) -> dict[str, str]:
        """Column -> the option that named it first."""
        named = [("--unit", self.unit), ("--arm", self.arm)]
        named += [("--metric", name) for name in self.metrics]
        named += [
            (option, name)
            for option, name in (
                ("--time", self.time),
                ("--covariate", self.covariate),
                ("--event", self.event),
            )
            if name is not None
        ]
        named += [("--slice", name) for name in self.slices]
        found: dict[str, str] = {}
        for option, name in named:
            found.setdefault(name, option)
        return found
