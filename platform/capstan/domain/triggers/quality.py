"""A training starts when the quality of labelled predictions fell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from capstan.domain.triggers.alerts import AlertTrigger


@dataclass(frozen=True)
class QualityTrigger(AlertTrigger):
    """Alerts whose question says `quality`."""

    name: ClassVar[str] = "quality"
