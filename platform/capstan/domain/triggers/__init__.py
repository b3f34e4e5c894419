"""What asks for a retraining: one module for each kind of trigger in the file, listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.domain.triggers.drift import DriftTrigger
from capstan.domain.triggers.estimated_quality import EstimatedQualityTrigger
from capstan.domain.triggers.new_data import NewDataTrigger
from capstan.domain.triggers.quality import QualityTrigger
from capstan.domain.triggers.schedule import ScheduleTrigger
from capstan.domain.triggers.trigger import (
    Alert,
    NewLabels,
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
    "EstimatedQualityTrigger",
    "NewDataTrigger",
    "NewLabels",
    "OperationAlert",
    "QualityTrigger",
    "ScheduleTrigger",
    "Trigger",
    "TriggerKind",
    "TriggerRule",
    "TriggerSight",
]

_MEMBERS: tuple[type[TriggerRule], ...] = (
    DriftTrigger,
    QualityTrigger,
    EstimatedQualityTrigger,
    ScheduleTrigger,
    NewDataTrigger,
)

TRIGGERS: Mapping[str, type[TriggerRule]] = {rule.name: rule for rule in _MEMBERS}
"""By the trigger's key in the file."""
