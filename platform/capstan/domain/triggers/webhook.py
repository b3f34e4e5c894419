"""A training starts when another system asks for it by a signed webhook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.triggers.trigger import Trigger, TriggerKind, TriggerRule, TriggerSight

if TYPE_CHECKING:
    from datetime import datetime

    from capstan.domain.retraining import RetrainingState


@dataclass(frozen=True)
class WebhookTrigger(TriggerRule):
    """The newest call of a sender, until a training has begun since."""

    name: ClassVar[str] = "webhook"
    sender: str

    @property
    def title(self) -> str:
        return f"webhook of {self.sender}"

    @property
    def senders(self) -> frozenset[str]:
        return frozenset((self.sender,))

    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        call, since = seen.calls.get(self.sender), state.begun or seen.champion_since
        if call is None or (since is not None and call.at <= since):
            return None
        why = f": {call.reason}" if call.reason else ""
        reason = f"{self.sender} asked for it by webhook {call.id}{why}"
        return Trigger(TriggerKind.WEBHOOK, call.at, reason, webhooks=(call.id,))
