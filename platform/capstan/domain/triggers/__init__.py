"""What asks for a retraining: one module for each kind of trigger in the file, listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.domain.triggers.all_of import AllTrigger
from capstan.domain.triggers.drift import DriftTrigger
from capstan.domain.triggers.estimated_quality import EstimatedQualityTrigger
from capstan.domain.triggers.new_data import NewDataTrigger
from capstan.domain.triggers.quality import QualityTrigger
from capstan.domain.triggers.schedule import ScheduleTrigger
from capstan.domain.triggers.trigger import (
    Alert,
    HeardCall,
    NewLabels,
    OperationAlert,
    Trigger,
    TriggerKind,
    TriggerRule,
    TriggerSight,
    WebhookCall,
    Webhooks,
)
from capstan.domain.triggers.webhook import WebhookTrigger

__all__ = [
    "TRIGGERS",
    "Alert",
    "AllTrigger",
    "DriftTrigger",
    "EstimatedQualityTrigger",
    "HeardCall",
    "NewDataTrigger",
    "NewLabels",
    "OperationAlert",
    "QualityTrigger",
    "ScheduleTrigger",
    "Trigger",
    "TriggerKind",
    "TriggerRule",
    "TriggerSight",
    "WebhookCall",
    "WebhookTrigger",
    "Webhooks",
]

_MEMBERS: tuple[type[TriggerRule], ...] = (
    DriftTrigger,
    QualityTrigger,
    EstimatedQualityTrigger,
    ScheduleTrigger,
    NewDataTrigger,
    WebhookTrigger,
    AllTrigger,
)

TRIGGERS: Mapping[str, type[TriggerRule]] = {rule.name: rule for rule in _MEMBERS}
"""By the trigger's key in the file."""
