"""A training starts when inputs, missing values or predictions moved away from the training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from capstan.domain.triggers.alerts import AlertTrigger


@dataclass(frozen=True)
class DriftTrigger(AlertTrigger):
    """Alerts whose question says `drift`."""

    name: ClassVar[str] = "drift"
