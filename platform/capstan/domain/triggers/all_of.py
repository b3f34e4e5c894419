"""A training starts when several reasons hold at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.triggers.trigger import Trigger, TriggerKind, TriggerRule, TriggerSight

if TYPE_CHECKING:
    from datetime import datetime

    from capstan.domain.retraining import RetrainingState


@dataclass(frozen=True)
class AllTrigger(TriggerRule):
    """Due while each of its rules is."""

    name: ClassVar[str] = "all"
    of: tuple[TriggerRule, ...]
    """Two or more."""

    @property
    def title(self) -> str:
        return f"{' and '.join(rule.title for rule in self.of)} together"

    @property
    def counts_labels(self) -> bool:
        return any(rule.counts_labels for rule in self.of)

    @property
    def senders(self) -> frozenset[str]:
        return frozenset().union(*(rule.senders for rule in self.of))

    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        due = [trigger for rule in self.of if (trigger := rule.due(seen, state, now)) is not None]
        if len(due) < len(self.of):
            return None
        return Trigger(
            TriggerKind.COMBINED,
            max(trigger.as_of for trigger in due),
            " and ".join(trigger.reason for trigger in due),
            tuple(sorted({alert for trigger in due for alert in trigger.alerts})),
            tuple(sorted({webhook for trigger in due for webhook in trigger.webhooks})),
        )

    def outlook(self, seen: TriggerSight, now: datetime) -> str:
        told = [outlook for rule in self.of if (outlook := rule.outlook(seen, now))]
        return f"{self.title}: {'; '.join(told)}" if told else ""
