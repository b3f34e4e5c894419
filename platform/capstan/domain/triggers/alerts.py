"""What alerts of the monitor start: one trigger for all that fire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from capstan.domain.triggers.trigger import Alert, Trigger, TriggerKind, TriggerRule, TriggerSight

if TYPE_CHECKING:
    from capstan.domain.retraining import RetrainingState


class AlertTrigger(TriggerRule):
    """A rule that heeds those alerts about the champion that name it as their trigger."""

    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        return trigger_of(
            [alert for alert in seen.alerts if alert.version == seen.champion and alert.trigger == self.name]
        )


def trigger_of(alerts: Sequence[Alert]) -> Trigger | None:
    """One trigger for all of the alerts; their order and repeats do not matter. None without any."""
    newest = {alert.fingerprint: alert for alert in sorted(alerts, key=_age)}
    if not newest:
        return None
    ordered = sorted(newest.values(), key=_age, reverse=True)
    reasons = list(dict.fromkeys(f"{alert.name}: {alert.summary}" for alert in ordered))
    return Trigger(
        kind=TriggerKind.ALERT,
        as_of=ordered[0].as_of,
        reason="; ".join(reasons[:5]) + (f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""),
        alerts=tuple(sorted(newest)),
    )


def _age(alert: Alert) -> tuple[datetime, str, str]:
    return (alert.as_of, alert.name, alert.fingerprint)
