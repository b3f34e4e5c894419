"""The seals of a story: each event's rests on the one before, so that a change of the past shows.

A seal is the SHA-256 of the seal before and of the event's content. Whoever changes, adds or removes an event must
write all later seals anew, and then the last one differs from the one that somebody has noted elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC

from capstan.domain.versions import SystemName
from capstan.ports.store import Event


def first_seal(system: SystemName) -> str:
    """What the first event of a system rests on."""
    return hashlib.sha256(system.encode()).hexdigest()


def seal_of(before: str, event: Event) -> str:
    """The seal of an event that follows the one with the seal `before`; 64 hex digits."""
    at = event.at.astimezone(UTC).isoformat()
    content = [before, at, event.kind.value, event.name, event.reason, event.message, event.details]
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(system: SystemName, event: Event, last: str) -> Event:
    """The event as the next one of the system's story; `last` is the seal of the one before, empty for the first."""
    before = last or first_seal(system)
    return replace(event, seal=seal_of(before, event), rests_on=before)


@dataclass(frozen=True)
class Chain:
    """What the seals of one system's story say."""

    events: int
    broken_at: int | None = None
    """Number of the first event whose seal does not follow from the one before; None: all do."""
    begins_late: bool = False
    """The first event that is there is not the system's first one: earlier ones were removed."""
    last_seal: str = ""
    """Empty without an event."""


def check_seals(system: SystemName, told: Sequence[tuple[int, Event]]) -> Chain:
    """Whether each event follows from the one before; `told` is the whole story, in order."""
    before, begins_late = first_seal(system), False
    for index, (number, event) in enumerate(told):
        begins_late |= index == 0 and event.rests_on != before
        follows = event.rests_on == before or index == 0
        if not follows or event.seal != seal_of(event.rests_on, event):
            return Chain(len(told), broken_at=number, begins_late=begins_late, last_seal=told[-1][1].seal)
        before = event.seal
    return Chain(len(told), begins_late=begins_late, last_seal=told[-1][1].seal if told else "")
