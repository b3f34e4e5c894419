"""A training starts when the quality of predictions probably fell, before their labels have come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from capstan.domain.triggers.alerts import AlertTrigger


@dataclass(frozen=True)
class EstimatedQualityTrigger(AlertTrigger):
    """Alerts whose question says `estimated_quality`."""

    name: ClassVar[str] = "estimated_quality"
