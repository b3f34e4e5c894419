"""The story of a system as its events tell it: what was decided, how often, and what led to what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from capstan.domain.reasons import Reason, facts_of
from capstan.domain.triggers import TriggerKind
from capstan.domain.versions import SystemName
from capstan.ports.store import Event, Kind, Store

_AUTOMATIC = frozenset(kind.value for kind in TriggerKind if kind.is_automatic)


@dataclass(frozen=True)
class Counts:
    """What the report counts, each word as DESIGN defines it."""

    alerts: int
    """Number of firings; repeated notifications are not counted."""
    retrainings: int
    """Number of finished runs that an alert, a schedule or new data started."""
    promotions: int
    """Number of champions that a rollout changed. The first deployment and undoing a promotion do not count."""
    rollbacks: int
    """Number of challengers taken back and of promotions undone."""


def count(events: Iterable[Event]) -> Counts:
    """Counts over the whole story."""
    alerts = retrainings = promotions = rollbacks = 0
    for event in events:
        alerts += "alert" in event.details and event.reason != Reason.ALERT_RESOLVED
        retrainings += (
            event.reason == Reason.TRAINING_SUCCEEDED and event.details.get("trigger") in _AUTOMATIC
        )
        promotions += event.reason == Reason.PROMOTED
        rollbacks += event.reason == Reason.ROLLED_BACK
    return Counts(alerts, retrainings, promotions, rollbacks)


@dataclass(frozen=True)
class StoryEntry:
    """One decision, ready to be shown."""

    number: int
    at: datetime
    kind: str
    name: str
    reason: str
    message: str
    details: dict[str, Any]


def decisions(store: Store, system: str, *, after: int = 0) -> list[StoryEntry]:
    """All decisions of the system in order, those with numbers above `after`."""
    return [
        StoryEntry(
            number, event.at, event.kind.value, event.name, event.reason, event.message, dict(event.details)
        )
        for number, event in store.events(SystemName(system), after=after)
        if facts_of(event.reason, event.details).is_decision
    ]


def lineage(events: Sequence[Event], kind: str, name: str) -> list[Event]:
    """All events that the thing led to or came from; kind is `alert`, `run`, `rollout` or `version`.

    The champion is not followed: it takes part in everything while it reigns.
    """
    known = {(kind, name)}
    while True:
        grown = known | {mark for event in events if (marks := marks_of(event)) & known for mark in marks}
        if grown == known:
            return [event for event in events if marks_of(event) & known]
        known = grown


def marks_of(event: Event) -> set[tuple[str, str]]:
    """(kind, name) of everything the event speaks about; two events of one lineage share one."""
    details = event.details
    marks = {(key, str(details[key])) for key in ("alert", "run", "rollout", "version") if details.get(key)}
    if details.get("challenger"):
        marks.add(("version", str(details["challenger"])))
    marks |= {("alert", str(mark)) for mark in details.get("alerts", ())}
    if event.kind is Kind.RUN:
        marks.add(("run", event.name))
    if event.kind is Kind.ROLLOUT:
        marks.add(("rollout", event.name))
    return marks
