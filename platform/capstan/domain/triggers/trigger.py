"""What asks for a retraining."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.retraining import RetrainingState


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
    trigger: str
    """The rule in the file that heeds it: `drift` or `quality`; empty: it is only shown."""


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

    @property
    def is_automatic(self) -> bool:
        """True where neither a person nor the lack of any model asks."""
        return self not in (TriggerKind.INITIAL, TriggerKind.MANUAL)


@dataclass(frozen=True)
class Trigger:
    """One reason to train, with the moment up to which data may be read."""

    kind: TriggerKind
    as_of: datetime
    reason: str
    alerts: tuple[str, ...] = ()
    """Fingerprints of the alerts behind it; empty for other kinds."""


@dataclass(frozen=True)
class NewLabels:
    """Cases whose label became known in (since, until]."""

    count: int
    since: datetime
    until: datetime


@dataclass(frozen=True)
class TriggerSight:
    """What rules of triggering look at."""

    champion: VersionName
    alerts: tuple[Alert, ...] = ()
    """All that fire, about whichever version; none where Alertmanager does not answer."""
    champion_since: datetime | None = None
    new_labels: NewLabels | None = None
    """Those that the last training could not know; None: nobody counts them, or the collector does not answer."""


class TriggerRule(ABC):
    """What the file says may start a training.

    A rule is a frozen dataclass whose fields are named like those of the file's grammar; a new kind of trigger is one
    module and one line in `TRIGGERS`. `capstan.testing.check_trigger` holds a member to this.
    """

    name: ClassVar[str]
    """Its key in the file in snake_case, such as `new_data`."""
    counts_labels: ClassVar[bool] = False
    """Whether it looks at `TriggerSight.new_labels`, which are counted only for a rule that does."""

    @abstractmethod
    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        """The reason to train that there is now; None: there is none.

        `now` is on the system's clock. The same arguments give the same answer. Cooldown, budget and approval are not
        its business. `as_of` of the trigger is not after `now`.
        """

    def outlook(self, seen: TriggerSight, now: datetime) -> str:
        """When it will be due, or how far it is from that, in words; empty: nobody can tell."""
        del seen, now
        return ""
