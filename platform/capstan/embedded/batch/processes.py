"""Batches port on one machine: each try is a process of its own, which ends with the loop that started it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from capstan.adapters.processes.children import ProcessSupervisor
from capstan.adapters.processes.spec import ProcessPhase, ProcessSpec
from capstan.domain.batch_calendar import BatchOrder, BatchStatus
from capstan.domain.training import RunPhase
from capstan.domain.versions import SystemName
from capstan.embedded.batch.folder import folder_name
from capstan.embedded.layout import StateDir
from capstan.errors import CapstanError, DiskFullError, UnavailableError
from capstan.files import write_whole
from capstan.ports.codec import from_json, to_json
from capstan.spec import MLSystem
from capstan.training.job import training_environment

NAME = "batch"
"""Of the process."""
_ORDER, _RESULT = "order.json", "result.json"


@dataclass
class ProcessBatches:
    """Those of one system."""

    processes: ProcessSupervisor
    state: StateDir
    system: MLSystem
    document: dict[str, Any]
    """The file as plain data."""
    collector: str
    """Address of the collector, which is shown the rows."""
    _begun: BatchOrder | None = None
    _ended: BatchStatus | None = field(default=None)
    """Of the one that was begun; None: it is at work."""

    def start(self, order: BatchOrder) -> None:
        """Begin the try unless it was begun by this loop; what keeps its process from starting is told by `status`.

        Raises UnavailableError where its order cannot be written.
        """
        if order == self._begun:
            return
        self.end()
        self._folder.mkdir(parents=True, exist_ok=True)
        file, result = self._folder / _ORDER, self._folder / _RESULT
        self._begun, self._ended = order, None
        try:
            result.unlink(missing_ok=True)
            write_whole(file, orjson.dumps(self._document(order, result), option=orjson.OPT_INDENT_2))
            self.processes.ensure(
                ProcessSpec(
                    NAME,
                    (sys.executable, "-m", "capstan.embedded.batch.process", str(file)),
                    env=training_environment(1),
                    nice=10,
                    restart=None,
                )
            )
        except DiskFullError as error:
            self._begun = None
            raise UnavailableError("batches", str(error)) from error
        except (OSError, CapstanError) as error:
            # The loop serves on; the batch is tried again.
            self._ended = BatchStatus(RunPhase.FAILED, f"its process cannot be started: {error}")

    def status(self, order: BatchOrder) -> BatchStatus:
        """Absent for what an earlier loop began: its process has ended with it."""
        if order != self._begun:
            return BatchStatus(RunPhase.ABSENT)
        if self._ended is None:
            # Its own death is seen here and not told in the story as that of a part that serves.
            self.processes.tick_one(NAME)
            seen = self.processes.status().get(NAME)
            if seen is not None and seen.phase is not ProcessPhase.EXITED:
                return BatchStatus(RunPhase.RUNNING)
            self._ended = self._result()
            self.processes.stop(NAME)
        return self._ended

    def stop(self, order: BatchOrder) -> None:
        if order == self._begun:
            self.end()

    def end(self) -> None:
        """End what runs; the next loop goes on with it."""
        self._begun = self._ended = None
        self.processes.stop(NAME)

    @property
    def _folder(self) -> Path:
        return self.state.batches(SystemName(self.system.metadata.name))

    def _result(self) -> BatchStatus:
        try:
            return from_json(BatchStatus, orjson.loads((self._folder / _RESULT).read_bytes()))
        except (OSError, ValueError):
            log = self.state.logs / f"{NAME}.log"
            return BatchStatus(RunPhase.FAILED, f"its process ended without a result; {log} says more")

    def _document(self, order: BatchOrder, result: Path) -> dict[str, Any]:
        assert self.system.spec.batch is not None
        base, stretch = self.system.base_dir.resolve(), order.stretch
        return {
            "order": to_json(order),
            "spec": self.document,
            "base_dir": str(base),
            "state": str(self.state.root),
            "collector": self.collector,
            "token_file": str(self.state.token_file("internal")),
            "output": str(base / self.system.spec.batch.output / folder_name(stretch.start, stretch.end)),
            "result": str(result),
            "parent": os.getpid(),
        }
