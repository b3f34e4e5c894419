"""Runs the pipeline in this process's children: `python -m capstan_pipelines.run_local --run-dir DIR`.

Exit codes: 0 succeeded, 1 failed, 3 another process already works on this run, 143 cancelled by SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

from capstan.adapters.run_folder import RunFolder
from capstan.domain.training import GateOutcome, RunPhase, RunStatus, StepProgress
from capstan.domain.versions import ModelVersion
from capstan.ports.codec import from_json
from capstan.training.job import Job
from capstan_pipelines.steps import progress
from capstan_pipelines.warm import warm_process

LOOK_SECONDS = 0.1
CANCELLED, BUSY = 143, 3
ARTIFACTS = "artifacts"
_KEPT = ("choice", "evaluation", "report", "result", "packaged")
"""Artifacts that stay when a run has succeeded; tables and the model, which the Bento holds, go."""


class Watch:
    """Gathers what the steps say into one status file."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._ended = False
        self._last = RunStatus(RunPhase.RUNNING, "starting")
        folder.progress.mkdir(parents=True, exist_ok=True)
        folder.write_status(self._last)
        self._thread = threading.Thread(target=self._look_again, name="progress", daemon=True)
        self._thread.start()

    def steps(self) -> tuple[StepProgress, ...]:
        """All steps that began, in the order in which they did."""
        found = [
            from_json(StepProgress, json.loads(file.read_bytes()))
            for file in self._folder.progress.glob("[!.]*.json")
        ]
        return tuple(sorted(found, key=lambda step: (str(step.started_at), step.name)))

    def end(self, status: RunStatus) -> None:
        """Write the final status once; what comes later is ignored."""
        self._stop.set()
        with self._lock:
            if self._ended:
                return
            self._ended = True
            unfinished = replace if status.phase is not RunPhase.SUCCEEDED else None
            steps = tuple(
                unfinished(step, phase=status.phase, message=step.message or "ended without a result")
                if unfinished and step.phase is RunPhase.RUNNING
                else step
                for step in self.steps()
            )
            self._folder.write_status(replace(status, steps=steps))

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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m capstan_pipelines.run_local", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="folder that was written for this run")
    path: Path = parser.parse_args().run_dir.resolve()
    folder = RunFolder(path)
    with folder.exclusively() as mine:
        if not mine:
            return BUSY
        before = folder.read_status()
        if before is not None and before.phase is RunPhase.SUCCEEDED:
            return 0
        folder.note_process(os.getpid())
        # Before the warm process starts, whose forks do most of the telling.
        os.environ[progress.FOLDER] = str(folder.progress)
        watch = Watch(folder)
        with _cancellable(watch), warm_process():
            try:
                status = _run(path)
            except Exception as error:
                status = RunStatus(RunPhase.FAILED, _why(watch, error))
            watch.end(status)
        print(f"run: {status.phase.value}, {_cpu_seconds():.1f} s of processors", flush=True)  # noqa: T201
        if status.phase is RunPhase.SUCCEEDED:
            _tidy(path / ARTIFACTS)
    return 0 if status.phase is RunPhase.SUCCEEDED else 1


def _run(path: Path) -> RunStatus:
    job = Job(path)
    names = [candidate.name for candidate in job.system.spec.training.candidates]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kfp import local

        from capstan_pipelines.pipelines import train

        logging.getLogger().setLevel(logging.INFO)
        artifacts = path / ARTIFACTS
        shutil.rmtree(artifacts, ignore_errors=True)
        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=str(artifacts),
            # KFP deletes this folder when it is done, whatever is in it.
            workspace_root=str(path / "workspace"),
            raise_on_error=True,
        )
        finished = train(job=str(path), candidates=names)
    result = json.loads(Path(finished.output.path).read_text())
    return RunStatus(
        RunPhase.SUCCEEDED,
        result["message"],
        version=from_json(ModelVersion, result["version"]),
        gates=tuple(from_json(GateOutcome, gate) for gate in result["gates"]),
        candidates=result["candidates"],
    )


def _why(watch: Watch, error: Exception) -> str:
    """What the failed step said; KFP's error only names the step."""
    said = [f"{step.name}: {step.message}" for step in watch.steps() if step.phase is RunPhase.FAILED]
    if said:
        return "\n".join(said)
    killed = [step.name for step in watch.steps() if step.phase is RunPhase.RUNNING]
    if killed:
        return f"{', '.join(killed)}: ended without a result; was it killed, or out of memory? See the log"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _cancellable(watch: Watch) -> Iterator[None]:
    """SIGTERM ends all steps, whatever they do, then this process."""

    def cancel(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(Exception):
            watch.end(RunStatus(RunPhase.CANCELLED, "cancelled"))
        if os.getpgid(0) == os.getpid():
            # Only the leader of a group may end it; else the group is somebody's terminal.
            os.killpg(0, signal.SIGTERM)
            time.sleep(0.2)
        os._exit(CANCELLED)

    before = signal.signal(signal.SIGTERM, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _tidy(artifacts: Path) -> None:
    """Tables of a finished run would fill the disk, one run after the other."""
    for file in artifacts.glob("*/**/*"):
        if file.is_file() and file.name not in _KEPT and file.suffix != ".json":
            file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
