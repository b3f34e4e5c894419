"""The folder of one local pipeline run: who may run in it, what it says, and whether anybody still works on it.

A run holds a lock for as long as it lives, so that the system itself tells the living from the dead, also after a
SIGKILL or a reboot, and a second process of the same run finds out and leaves.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capstan.adapters.processes import table as process_table
from capstan.domain.training import RunPhase, RunStatus
from capstan.files import write_whole
from capstan.ports.codec import from_json, to_json

FINAL = (RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.CANCELLED)


class RunFolder:
    """Paths and small files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    @property
    def progress(self) -> Path:
        return self.path / "progress"

    @property
    def _status(self) -> Path:
        return self.path / "status.json"

    @property
    def _process(self) -> Path:
        return self.path / "process.json"

    def read_status(self) -> RunStatus | None:
        """What was last written; None if nothing was."""
        try:
            return from_json(RunStatus, json.loads(self._status.read_bytes()))
        except FileNotFoundError:
            return None

    def write_status(self, status: RunStatus) -> None:
        write_whole(self._status, json.dumps(to_json(status)).encode())

    def note_process(self, pid: int) -> None:
        """Remember who works on it."""
        record = {"pid": pid, "born": process_table.born(pid)}
        write_whole(self._process, json.dumps(record).encode())

    def process(self) -> tuple[int, str] | None:
        """(pid, start time) of who last worked on it; None if nobody ever did."""
        try:
            record = json.loads(self._process.read_bytes())
        except FileNotFoundError:
            return None
        return int(record["pid"]), str(record["born"])

    def is_alive(self) -> bool:
        """Whether its process still runs; another process of the same pid does not count."""
        found = self.process()
        return found is not None and process_table.lives(*found)

    def forget(self) -> None:
        """Forget all work on it, as if nobody had begun; its request and log stay."""
        self._status.unlink(missing_ok=True)
        self._process.unlink(missing_ok=True)
        shutil.rmtree(self.progress, ignore_errors=True)

    @contextmanager
    def exclusively(self) -> Iterator[bool]:
        """Hold the run's lock; gives False if another process holds it."""
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(handle)
