"""Batches of predictions by the calendar: what became of the last ones, and which one is at work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capstan.domain.batch_calendar import BatchTold
from capstan.domain.versions import SystemName
from capstan.engine.records import system_state
from capstan.ports.store import Kind, Store


@dataclass(frozen=True)
class Batch:
    """One batch of a system."""

    system: SystemName
    told: BatchTold

    def row(self) -> dict[str, Any]:
        """What a list of batches says of it."""
        told = self.told
        return {
            "system": self.system,
            "from": told.stretch.start,
            "to": told.stretch.end,
            "version": told.version,
            "attempt": told.attempt,
            "phase": told.phase.value,
            "ended_at": told.ended_at,
            "seconds": told.seconds,
            "read": told.read,
            "written": told.written,
            "refused": told.refused,
            "output": told.output,
            "message": told.message,
        }


def batches_of(store: Store, system: str | None) -> list[Batch]:
    """The newest batches of a system, one that is at work last; None: of all systems."""
    records = [record for record in store.list(Kind.SYSTEM) if system in (None, record.system)]
    return [Batch(record.system, told) for record in records for told in system_state(record).batch.listed]
