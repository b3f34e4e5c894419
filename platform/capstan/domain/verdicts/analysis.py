"""What one look at the evidence says, and why.

Missing, lost or broken evidence is Inconclusive and never promotes; evidence that could not be read at all is Error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What one look at the evidence says."""

    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    """The evidence does not decide; never promotes."""
    ERROR = "Error"
    """The evidence could not be read; says nothing about the challenger."""


@dataclass(frozen=True)
class Latch:
    """The first crossing of a bound; it stands whatever comes later."""

    verdict: Verdict
    block: int
    """Number of closed blocks (or randomised units) at the crossing."""
    arm: str = ""
    """The version of several that won; empty where there is one challenger, or none won."""
    reason: str = ""
    """Of a crossing that withholds a verdict for good; empty: the verdict says all."""


@dataclass(frozen=True)
class AnalysisResult:
    """A verdict with its reason in one word, in a sentence and in numbers."""

    verdict: Verdict
    reason: str
    """CamelCase, stable: `ShownBetter`, `NotShownWorse`, `TooFewBlocks`, ..."""
    message: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Finite values only; what is unbounded or unknown is left out."""
    premature: bool = False
    """True for a look before the minimum of evidence: it counts towards no limit."""
    latch: Latch | None = None
    """To be stored and passed to the next look."""
    arm: str = ""
    """The version of several that a Successful verdict speaks of; empty: the challenger."""
    given_up: tuple[str, ...] = ()
    """Versions of several that are shown worse while others are not decided."""

    @property
    def closed_blocks(self) -> int | None:
        """How many blocks, or measurements of a query, the verdict is on; None where it is on neither."""
        blocks = self.numbers.get("blocks", self.numbers.get("measurements"))
        return None if blocks is None else int(blocks)
