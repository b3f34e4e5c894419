"""A training starts when enough labels have come that the last one did not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.triggers.trigger import Trigger, TriggerKind, TriggerRule, TriggerSight

if TYPE_CHECKING:
    from datetime import datetime

    from capstan.domain.retraining import RetrainingState


@dataclass(frozen=True)
class NewDataTrigger(TriggerRule):
    """Cases whose label became known after the moment up to which the last training read."""

    name: ClassVar[str] = "new_data"
    rows: int

    @property
    def counts_labels(self) -> bool:
        return True

    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        labels = seen.new_labels
        if labels is None or labels.count < self.rows:
            return None
        reason = (
            f"{labels.count:,} labels are new since {labels.since:%Y-%m-%d %H:%M} UTC (rows {self.rows:,})"
        )
        return Trigger(TriggerKind.NEW_DATA, labels.until, reason)

    def outlook(self, seen: TriggerSight, now: datetime) -> str:
        labels = seen.new_labels
        if labels is None:
            return ""
        # By tenths, so that what is told is not another word each minute.
        share = min(10 * labels.count // self.rows, 10) * 10
        return f"newData: {share} % of {self.rows:,} labels since {labels.since:%Y-%m-%d %H:%M} UTC"
