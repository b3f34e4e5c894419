"""Every training, why it ran and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from capstan.domain.planners.training import gates_passed
from capstan.domain.system import TrainingState
from capstan.domain.training import RunStatus, TrainingRequest
from capstan.engine.records import training_request, training_state
from capstan.engine.story import lineage as lineage_of
from capstan.errors import NotFoundError
from capstan.evaluation.data_report import DATA_REPORT
from capstan.ports.codec import from_json, to_json
from capstan.ports.store import Event, Kind, Record, Store

if TYPE_CHECKING:
    from capstan.monitoring.causes.told import Why

LAST = "last"
"""Stands for the newest run, whose name ends in a digest and is never this."""

COLUMNS = (
    "run",
    "trigger",
    "reason",
    "as_of",
    "against",
    "phase",
    "started_at",
    "finished_at",
    "seconds",
    "chosen",
    "failed_candidates",
    "warnings",
    "gates_passed",
    "version",
    "runners_up",
    "left_out",
)
"""What a list of runs says of each, in this order."""


class Run:
    """One training, as its record and its folder tell it."""

    def __init__(self, store: Store, record: Record, folder: Path | None) -> None:
        """`folder`: what the run left; None: in a cluster it is gone with its pod, the record holds what it came to."""
        self._store = store
        self._folder = folder
        self.request: TrainingRequest = training_request(record)
        self.state: TrainingState = training_state(record)
        self.status: RunStatus | None = self._said() or self.state.result

    def _said(self) -> RunStatus | None:
        """What the run itself wrote: the store keeps no metrics."""
        if self._folder is None:
            return None
        try:
            document = orjson.loads((self._folder / "status.json").read_bytes())
        except (OSError, ValueError):
            return None
        return from_json(RunStatus, document)

    def began(self) -> tuple[datetime, datetime]:
        """What runs are ordered by: the start, on the system's clock, then the data; one that waits comes last."""
        return (self.state.started_at or datetime.max.replace(tzinfo=UTC), self.request.trigger.as_of)

    @property
    def times(self) -> tuple[datetime | None, datetime | None]:
        """Wall time, from the steps; the record's are on the system's clock, which stands still in a replay."""
        steps = self.status.steps if self.status else ()
        begins = [step.started_at for step in steps if step.started_at]
        ends = [step.finished_at for step in steps if step.finished_at]
        return (min(begins, default=None), max(ends, default=None))

    @property
    def version(self) -> str | None:
        return self.status.version.name if self.status and self.status.version else None

    @property
    def data_report(self) -> Path | None:
        """The file that tells of its data; None: it left none on this machine."""
        file = None if self._folder is None else self._folder / DATA_REPORT
        return file if file is not None and file.is_file() else None

    def row(self) -> dict[str, Any]:
        """What a list of runs says of it: a value for each of `COLUMNS`."""
        began, ended = self.times
        return {
            "run": self.request.run,
            "trigger": self.request.trigger.kind.value,
            "reason": self.request.trigger.reason,
            "as_of": self.request.trigger.as_of,
            "against": self.request.champion,
            "phase": self.state.phase.value,
            "started_at": self.state.started_at,
            "finished_at": self.state.finished_at,
            "seconds": (ended - began).total_seconds() if began and ended else None,
            "chosen": (self.status.chosen_in_words or None) if self.status else None,
            "failed_candidates": dict(self.status.failed) if self.status else {},
            "warnings": list(self.status.warnings) if self.status else [],
            "gates_passed": gates_passed(self.status) if self.status and self.status.gates else None,
            "version": self.version,
            "runners_up": [
                {
                    "version": one.version.name,
                    "candidate": one.candidate,
                    "gates_passed": not one.missed,
                    "missed": one.missed,
                }
                for one in (self.status.runners_up if self.status else ())
            ],
            "left_out": dict(self.status.left_out) if self.status else {},
        }

    def document(self) -> dict[str, Any]:
        """All that is known, as plain data."""
        return {
            **self.row(),
            "data_report": str(self.data_report) if self.data_report is not None else None,
            "status": to_json(self.status) if self.status else None,
            "lineage": [
                {"at": event.at, "kind": event.kind.value, "reason": event.reason, "message": event.message}
                for event in self.lineage()
            ],
        }

    def reasons(self, windows: Sequence[Mapping[str, Any]]) -> list[Why]:
        """What moved when the alerts fired that asked for it, out of the windows that the monitor has told."""
        # The questions bring scipy, which a list of runs need not wait for.
        from capstan.monitoring.causes.told import why_of

        trigger, champion = self.request.trigger, self.request.champion
        asked = [event.reason for event in self.lineage() if event.details.get("alert") in trigger.alerts]
        found = (
            why_of(windows, name, version=champion, until=trigger.as_of) for name in dict.fromkeys(asked)
        )
        return [one for one in found if one is not None]

    def lineage(self) -> list[Event]:
        """What it came from and led to, in order of time."""
        events = [event for _, event in self._store.events(self.request.system)]
        return lineage_of(events, "run", self.request.run)


def runs_of(store: Store, system: str | None, folder: Callable[[Record], Path | None]) -> list[Run]:
    """The trainings of a system, the newest last; None: of all systems. Those of `train` count, though nothing serves.

    `folder`: where a run's steps left what they said; None: nowhere.
    """
    records = [record for record in store.list(Kind.RUN) if system in (None, record.system)]
    return sorted((Run(store, record, folder(record)) for record in records), key=Run.began)


def chosen(found: list[Run], name: str) -> Run:
    """The run of that name, of that beginning of a name, or the `last` of `found`; raises NotFoundError."""
    if name == LAST and found:
        return found[-1]
    matching = [one for one in found if one.request.run == name] or [
        one for one in found if one.request.run.startswith(name)
    ]
    if len(matching) != 1:
        there = ", ".join(one.request.run for one in (matching or found)) or "none yet"
        raise NotFoundError(
            f"run {name!r}: {'more than one begins so' if matching else 'not there'}; runs: {there}"
        )
    return matching[0]
