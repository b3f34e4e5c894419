"""Where specs, statuses and events live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from capstan.domain.versions import SystemName


class Kind(StrEnum):
    SYSTEM = "MLSystem"
    RUN = "TrainingRun"
    ROLLOUT = "ModelRollout"


@dataclass(frozen=True)
class Record:
    """One stored object; the same shape as a custom resource."""

    kind: Kind
    name: str
    system: SystemName
    spec: Mapping[str, Any]
    """JSON values only."""
    status: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 1
    """Rises when `spec` changes; never by a change of `status`."""
    resource_version: int = 0
    """0: not stored yet."""
    deleted_at: datetime | None = None
    """Set when deletion was asked for and the finalizer has not finished."""


@dataclass(frozen=True)
class Event:
    """One line of the story of an object."""

    at: datetime
    """On the system's clock (event time in a replay)."""
    kind: Kind
    name: str
    reason: str
    """`DriftDetected`, `ChallengerReady`, `CanaryStepped`, `Promoted`, ... CamelCase, one per fact."""
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """Ids of both ends of the arrow: trigger, alerts, run, version, rollout, ..."""
    seal: str = field(default="", compare=False)
    """Set by the store, over this event and the one before it in the system's story (`capstan.ports.seals`)."""
    rests_on: str = field(default="", compare=False)
    """The seal of the event before. Without it the first event of those that are kept could not be checked."""

    @property
    def system(self) -> str:
        """The system it belongs to: `details.system`, or its own name where it speaks about a system."""
        return str(self.details.get("system", self.name if self.kind is Kind.SYSTEM else ""))


class Store(Protocol):
    """Durable records with optimistic locking and an append-only story."""

    def get(self, kind: Kind, name: str) -> Record | None: ...

    def list(self, kind: Kind, system: SystemName | None = None) -> Sequence[Record]: ...

    def put(self, record: Record) -> Record:
        """Store it; raises ConflictError if `resource_version` is not the stored one. Returns the stored record."""
        ...

    def delete(self, kind: Kind, name: str) -> None:
        """Remove it for good; no error if it is not there."""
        ...

    def record_event(self, event: Event, *, once: str = "") -> None:
        """Append to the story; a second event with the same `once` is ignored, so a repeat after a crash tells once."""
        ...

    def events(self, system: SystemName | None = None, *, after: int = 0) -> Sequence[tuple[int, Event]]:
        """Events with their rising numbers, in order, those above `after`."""
        ...
