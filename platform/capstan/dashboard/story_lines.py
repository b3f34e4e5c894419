"""The story's lines as the page lists them: tone, group of the filter, and the marks that tie them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from capstan.dashboard.page import AlertShown, EventShown
from capstan.domain.reasons import Reason, facts_of
from capstan.domain.triggers import Alert, OperationAlert
from capstan.engine.story import marks_of
from capstan.ports.store import Event


def is_alert(event: Event) -> bool:
    """Whether the line tells that an alert began."""
    return "alert" in event.details and event.reason != Reason.ALERT_RESOLVED


def shown(number: int, event: Event) -> EventShown:
    """One line, ready for the page."""
    facts = facts_of(event.reason, event.details)
    return EventShown(
        number=number,
        at=event.at,
        kind=event.kind.value,
        name=event.name,
        reason=event.reason,
        message=event.message,
        tone=facts.tone,
        group=facts.group.value,
        marks=sorted(f"{kind}:{name}" for kind, name in marks_of(event)),
    )


def alerts_shown(
    events: Iterable[Event], active: Sequence[Alert] | None, operation: Sequence[OperationAlert] = ()
) -> list[AlertShown]:
    """Every firing of every alert, the newest first; those that fire now also if the loop has not yet told them.

    Alerts of operation are shown while they fire: the story is in event time, they are not.
    """
    open_now: dict[str, AlertShown] = {}
    closed: list[AlertShown] = []
    for event in events:
        if "alert" not in event.details:
            continue
        mark = str(event.details["alert"])
        begun = open_now.pop(mark, None)
        if event.reason != Reason.ALERT_RESOLVED:
            version = str(event.details.get("champion", ""))
            open_now[mark] = _alert(event.reason, mark, version, event.at, event.message)
        elif begun is not None:
            closed.append(_resolved(begun, event.at))
    for alert in active or ():
        if alert.fingerprint not in open_now:
            open_now[alert.fingerprint] = _alert(
                alert.name, alert.fingerprint, alert.version, alert.as_of, alert.summary
            )
    for parts in operation:
        mark = "/".join([parts.name, parts.version, *([parts.slo] if parts.slo else [])])
        open_now[mark] = _alert(parts.name, mark, parts.version, parts.since, parts.summary)
    return sorted([*open_now.values(), *closed], key=lambda a: (a.is_firing, a.fired_at), reverse=True)


def _alert(name: str, mark: str, version: str, at: datetime, summary: str) -> AlertShown:
    return AlertShown(name, f"alert:{mark}", version, at, None, summary, is_firing=True)


def _resolved(alert: AlertShown, at: datetime) -> AlertShown:
    return AlertShown(
        alert.name, alert.mark, alert.version, alert.fired_at, at, alert.summary, is_firing=False
    )
