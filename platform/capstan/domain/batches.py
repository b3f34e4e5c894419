"""What a batch of predictions is made of, when a finished part of it still holds, and what became of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_EXAMPLES = 20
"""Refused rows that a partition names one by one."""
MOST_REASONS = 50
"""Reasons that a partition, and a batch, counts by themselves."""
OTHER = "other reasons"


@dataclass(frozen=True)
class PartitionInputs:
    """All that the predictions of a partition follow from: equal inputs, equal predictions."""

    version: str
    model: str
    """Digest of the version's Bento."""
    made_by: str
    """Digest of what is installed."""
    rows: str
    """Digest of the rows that were read."""


def why_anew(found: PartitionInputs, wanted: PartitionInputs) -> str:
    """Why a finished partition is made again; empty: it holds."""
    if (found.version, found.model) != (wanted.version, wanted.model):
        same = found.version == wanted.version
        return (
            f"the model of {wanted.version} is another one"
            if same
            else f"{found.version} made it, now {wanted.version} predicts"
        )
    if found.rows != wanted.rows:
        return "the rows of the source have changed"
    if found.made_by != wanted.made_by:
        return "the installed packages have changed"
    return ""


@dataclass
class Reconciled:
    """What became of the rows that were read: each was written or refused, once."""

    read: int = 0
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Rows by the first rule that they broke, `field: rule`."""
    examples: list[Mapping[str, object]] = field(default_factory=list)
    """The first refused rows: id and problems."""

    @property
    def refused_rows(self) -> int:
        return self.refused.total()

    @property
    def adds_up(self) -> bool:
        return self.read == self.written + self.refused_rows

    def refuse(self, identity: object, reason: str, problems: object) -> None:
        """One row, and why."""
        self._count(reason, 1)
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append({"id": identity, "problems": problems})

    def add(self, other: Reconciled) -> None:
        """Those of another partition."""
        self.read += other.read
        self.written += other.written
        for reason, rows in other.refused.items():
            self._count(reason, rows)
        self.examples += other.examples[: MOST_EXAMPLES - len(self.examples)]

    def _count(self, reason: str, rows: int) -> None:
        known = reason in self.refused or len(self.refused) < MOST_REASONS
        self.refused[reason if known else OTHER] += rows
