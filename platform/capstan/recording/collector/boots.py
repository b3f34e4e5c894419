"""One life of one producer of payloads, as the collector knows it: what it has told of, and what has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from capstan.recording.collector.intervals import Intervals


@dataclass
class Boot:
    """One life of one producer."""

    system: str | None = None
    version: str | None = None
    """None until it has said so."""
    produced: int = 0
    lost: int = 0
    stored: int = 0
    refused: int = 0
    lost_copies: int = 0
    """Of the lost: payloads that stand for no answer to a user, of mirrored requests and of rows beside the first."""
    seen: Intervals = field(default_factory=Intervals)
    latest: datetime | None = None
    """Latest event time seen; losses are booked on its day."""
    ended: bool = False
    """It has said its last word: nothing more will come."""
    silent: bool = False
    """It fell silent without a last word; true until it is heard again."""
    missing: dict[str, int] = field(default_factory=dict)
    """Day -> payloads that it had numbered when it fell silent and that have not come since."""

    @property
    def accounted(self) -> int:
        """Payloads that are stored, lost, refused or missing; oldest first, as producers hand them in."""
        return self.stored + self.lost + self.refused + sum(self.missing.values())

    @property
    def gap(self) -> int:
        """Payloads that it has numbered and that are neither stored nor lost nor missing."""
        return max(0, self.produced - self.accounted)

    def statistics(self) -> dict[str, Any]:
        """The boot as `GET /stats` tells it."""
        return {
            "system": self.system,
            "version": self.version,
            "produced": self.produced,
            "lost": self.lost + self.refused,
            "stored": self.stored,
            "missing": sum(self.missing.values()),
            "state": "ended" if self.ended else "silent" if self.silent else "heard",
        }

    def dump(self) -> dict[str, Any]:
        """Everything as JSON-able data, for `restore_boot`."""
        return {
            "system": self.system,
            "version": self.version,
            "produced": self.produced,
            "lost": self.lost,
            "stored": self.stored,
            "refused": self.refused,
            "lost_copies": self.lost_copies,
            "seen": self.seen.bounds(),
            "latest": self.latest.isoformat() if self.latest else None,
            "ended": self.ended,
            "silent": self.silent,
            "missing": dict(self.missing),
        }


def restore_boot(data: dict[str, Any]) -> Boot:
    """The boot that `dump` wrote."""
    return Boot(
        **{
            **data,
            "seen": Intervals((start, end) for start, end in data["seen"]),
            "latest": datetime.fromisoformat(data["latest"]) if data["latest"] else None,
        }
    )


class Heading(NamedTuple):
    """What a producer says about itself with each batch."""

    boot: str
    version: str | None
    produced: int
    lost: int
    ended: bool = False
    """Whether this is its last word."""
    lost_copies: int = 0
    """Of the lost: payloads that stand for no answer to a user, of mirrored requests and of rows beside the first."""
    system: str | None = None
    """None: known from the first payload that is taken."""
