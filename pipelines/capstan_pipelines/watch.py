"""What the steps of a run say, gathered into one status."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from capstan.adapters.kubeflow.run_folder import RunFolder
from capstan.domain.training import RunPhase, RunStatus, StepProgress
from capstan.ports.codec import from_json

LOOK_SECONDS = 0.1


def told_steps(folder: Path) -> tuple[StepProgress, ...]:
    """What the steps of a run have left in its folder of progress, in the order in which they began."""
    found = [from_json(StepProgress, json.loads(file.read_bytes())) for file in folder.glob("[!.]*.json")]
    return tuple(sorted(found, key=lambda step: (str(step.started_at), step.name)))


class ProgressCollector:
    """Gathers what the steps say into one status file."""

    def __init__(self, folder: RunFolder, tell: Callable[[RunStatus], None] | None = None) -> None:
        """`tell` hears every new status, the final one last; None: the folder's status file is enough."""
        self._folder = folder
        self._tell = tell or (lambda _: None)
        self._stop = threading.Event()
        # Again by the same thread: SIGTERM may come while it ends.
        self._lock = threading.RLock()
        self._ended = False
        self._last = RunStatus(RunPhase.RUNNING, "starting")
        folder.progress.mkdir(parents=True, exist_ok=True)
        folder.write_status(self._last)
        self._tell(self._last)
        self._thread = threading.Thread(target=self._look_again, name="progress", daemon=True)
        self._thread.start()

    def steps(self) -> tuple[StepProgress, ...]:
        """All steps that began, in the order in which they did."""
        return told_steps(self._folder.progress)

    def end(self, status: RunStatus) -> RunStatus:
        """Write the final status once and return it; what comes later is ignored."""
        self._stop.set()
        with self._lock:
            if self._ended:
                return self._last
            self._ended = True
            unfinished = replace if status.phase is not RunPhase.SUCCEEDED else None
            steps = tuple(
                unfinished(step, phase=status.phase, message=step.message or "ended without a result")
                if unfinished and step.phase is RunPhase.RUNNING
                else step
                for step in self.steps()
            )
            self._last = replace(status, steps=steps)
            self._folder.write_status(self._last)
            self._tell(self._last)
            return self._last

    def _look_again(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            steps = self.steps()
            running = [step for step in steps if step.phase is RunPhase.RUNNING]
            latest = running[-1] if running else steps[-1] if steps else None
            message = f"{latest.name}: {latest.message}".rstrip(": ") if latest else "starting"
            status = RunStatus(RunPhase.RUNNING, message, steps)
            with self._lock:
                if status != self._last and not self._ended:
                    self._last = status
                    self._folder.write_status(status)
                    self._tell(status)
