"""What asks for a retraining: one module for each kind of trigger in the file, listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.domain.triggers.drift import DriftTrigger
from capstan.domain.triggers.quality import QualityTrigger
from capstan.domain.triggers.trigger import (
    Alert,
    OperationAlert,
    Trigger,
    TriggerKind,
    TriggerRule,
    TriggerSight,
)

__all__ = [
    "TRIGGERS",
    "Alert",
    "DriftTrigger",
    "OperationAlert",
    "QualityTrigger",
    "Trigger",
    "TriggerKind",
    "TriggerRule",
    "TriggerSight",
]

_MEMBERS: tuple[type[TriggerRule], ...] = (DriftTrigger, QualityTrigger)

TRIGGERS: Mapping[str, type[TriggerRule]] = {rule.name: rule for rule in _MEMBERS}
"""By the trigger's key in the file."""
