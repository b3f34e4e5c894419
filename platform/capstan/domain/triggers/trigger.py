"""What asks for a retraining."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """Empty: it speaks of no version."""
    since: datetime
    """Wall time."""
    summary: str
    slo: str = ""
    """Name of the promise to users that it speaks of; empty: of none."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Tells it from all others that fire at the same time."""
        return self.name, self.version, self.slo


class TriggerKind(StrEnum):
    INITIAL = "Initial"
    ALERT = "Alert"
    SCHEDULE = "Schedule"
    NEW_DATA = "NewData"
    WEBHOOK = "Webhook"
    COMBINED = "Combined"
    """Several at once, as the file asks by `all`."""
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
    """Fingerprints of the alerts behind it; empty where none is."""
    webhooks: tuple[str, ...] = ()
    """Ids of the webhook calls behind it; empty where none is."""


@dataclass(frozen=True)
class NewLabels:
    """Cases whose label became known in (since, until]."""

    count: int
    since: datetime
    until: datetime


@dataclass(frozen=True)
class WebhookCall:
    """A signed call of another system, as the collector took it."""

    number: int
    """Rises with each call, of whichever sender."""
    sender: str
    id: str
    """Its webhook-id; a sender that tries again uses the same one, and it counts once."""
    reason: str
    """What the sender says, in one line; empty: nothing."""


@dataclass(frozen=True)
class Webhooks:
    """What is known of all webhooks of a system."""

    calls: tuple[WebhookCall, ...] = ()
    """The newest, in the order of their numbers."""
    closed: Mapping[str, str] = field(default_factory=dict)
    """Senders that nobody can let in, with the field of the file, what is wrong, and the way out."""


@dataclass(frozen=True)
class HeardCall:
    """A call as the loop remembers it."""

    id: str
    reason: str
    at: datetime
    """When the loop heard of it, on the system's clock."""


@dataclass(frozen=True)
class TriggerSight:
    """What rules of triggering look at."""

    champion: VersionName
    alerts: tuple[Alert, ...] = ()
    """All that fire, about whichever version; none where Alertmanager does not answer."""
    champion_since: datetime | None = None
    new_labels: NewLabels | None = None
    """Those that the last training could not know; None: nobody counts them, or the collector does not answer."""
    calls: Mapping[str, HeardCall] = field(default_factory=dict)
    """The newest of each sender."""


class TriggerRule(ABC):
    """What the file says may start a training.

    A rule is a frozen dataclass whose fields are named like those of the file's grammar; a new kind of trigger is one
    module and one line in `TRIGGERS`. `capstan.testing.check_trigger` holds a member to this.
    """

    name: ClassVar[str]
    """Its key in the file in snake_case, such as `new_data`."""

    @property
    def title(self) -> str:
        """What it is called where several are told."""
        return self.name

    @property
    def counts_labels(self) -> bool:
        """Whether it looks at `TriggerSight.new_labels`, which are counted only for a rule that does."""
        return False

    @property
    def senders(self) -> frozenset[str]:
        """Systems whose webhooks it heeds, at `TriggerSight.calls`."""
        return frozenset()

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
