"""What asks for a retraining."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from capstan.domain.versions import VersionName


@dataclass(frozen=True)
class Alert:
    """One firing alert as Alertmanager lists it."""

    name: str
    """`DriftDetected`, `QualityDropped`, `MissingValues`, ..."""
    version: VersionName
    """The version the alert speaks about: the champion of the moment in which it was raised."""
    fingerprint: str
    as_of: datetime
    """End (event time) of the window that raised it."""
    summary: str
    """Why, in words: `ks(dep_hour) 0.21 > 0.12 in 2 windows of 7 days`."""


@dataclass(frozen=True)
class OperationAlert:
    """A firing alert about how parts run: for a person to see, never a reason to train."""

    name: str
    """`PayloadsLost`, `VersionDown`, `ChallengerErrors`, `RetrainingCircuitOpen`, ..."""
    version: VersionName
    since: datetime
    """Wall time."""
    summary: str


class TriggerKind(StrEnum):
    INITIAL = "Initial"
    ALERT = "Alert"
    SCHEDULE = "Schedule"
    NEW_DATA = "NewData"
    MANUAL = "Manual"


@dataclass(frozen=True)
class Trigger:
    """One reason to train, with the moment up to which data may be read."""

    kind: TriggerKind
    as_of: datetime
    reason: str
    alerts: tuple[str, ...] = ()
    """Fingerprints of the alerts behind it; empty for other kinds."""
