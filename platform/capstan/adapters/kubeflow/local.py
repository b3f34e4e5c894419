"""Pipelines port on this machine: each run is `kfp.local` in a child process with a session and a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capstan.adapters.kubeflow.run_folder import FINAL, RunFolder
from capstan.adapters.processes import table as process_table
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.versions import ModelVersion, RunName, VersionName
from capstan.errors import CapstanError, NotFoundError, UnavailableError
from capstan.files import write_error
from capstan.ports.registry import Registry
from capstan.spec import MLSystem
from capstan.training.factories import carry_factories
from capstan.training.job import REQUEST, Places, training_environment, write_job

GRACE_SECONDS = 5.0
STARTING_SECONDS = 60.0
"""Seconds that a child may take from its start to its first word."""


@dataclass(frozen=True)
class LocalPlaces:
    """Where local runs find and leave things."""

    runs: Path
    secrets: Path
    bentos: Path
    """Value of BENTOML_HOME."""
    tracking_uri: str
    artifact_root: Path | None = None
    """Folder of MLflow's artifacts; None: the tracking server knows."""


class KfpLocalPipelines:
    """Starts, watches and cancels runs of one system's training pipeline."""

    def __init__(self, system: MLSystem, places: LocalPlaces, registry: Registry, *, nice: int = 10) -> None:
        self._system = system
        self._places = places
        self._registry = registry
        self._nice = nice
        self._children: dict[RunName, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def use(self, system: MLSystem) -> None:
        """Runs that start from now on follow this file; those that run keep theirs."""
        self._system = system

    def start(self, request: TrainingRequest) -> None:
        """Start the run unless one of this name exists, running or finished.

        Raises InvalidSpecError, DiskFullError, or UnavailableError if nobody can say what the champion is.
        """
        with self._lock:
            folder = self._folder(request.run)
            if folder.process() is not None or folder.read_status() is not None:
                return
            self._write(folder, request)
            self._spawn(folder, request.run)

    def status(self, run: RunName) -> RunStatus:
        """Where the run stands; one that died without a result has failed, and stays so."""
        folder = self._folder(run)
        if not (folder.path / REQUEST).exists() or folder.process() is None:
            return RunStatus(RunPhase.ABSENT)
        written = folder.read_status()
        if written is not None and written.phase in FINAL:
            self._forget(run)
            return written
        if self._is_alive(folder, run):
            return written or RunStatus(RunPhase.RUNNING, "starting")
        # It may have ended between the two looks.
        written = folder.read_status()
        if written is not None and written.phase in FINAL:
            return written
        return self._give_up(folder, written)

    def cancel(self, run: RunName) -> None:
        """End the run with all its processes; no error if it is not there or has ended."""
        folder = self._folder(run)
        if not _end(folder):
            return
        self._reap(run)
        written = folder.read_status()
        if written is None or written.phase not in FINAL:
            steps = written.steps if written is not None else ()
            folder.write_status(RunStatus(RunPhase.CANCELLED, "cancelled", steps))

    def cancel_all(self) -> None:
        """End what runs now, also what an earlier supervisor started; it begins again when it is next started."""
        interrupt_runs(self._places.runs)

    def log(self, run: RunName) -> Path:
        """The run's log, which need not exist yet."""
        return self._folder(run).log

    def _folder(self, run: RunName) -> RunFolder:
        if not run or "/" in run or run.startswith("."):
            raise NotFoundError(f"{run!r} is not the name of a run")
        return RunFolder(self._places.runs.resolve() / run)

    def _write(self, folder: RunFolder, request: TrainingRequest) -> None:
        champion = self._champion(request.champion) if request.champion is not None else None
        try:
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            carry_factories(self._system, folder.path / "factories")
        except OSError as error:
            raise write_error(folder.path, error) from error
        write_job(
            folder.path,
            request=request,
            spec=_document(self._system),
            places=Places(
                base_dir=str(self._system.base_dir.resolve()),
                secrets=str(self._places.secrets.resolve()),
                tracking_uri=self._places.tracking_uri,
                artifact_root=str(self._places.artifact_root.resolve()) if self._places.artifact_root else "",
                bentos=str(self._places.bentos.resolve()),
            ),
            champion=champion,
        )

    def _champion(self, name: VersionName) -> ModelVersion:
        """The champion from the registry or, while that is away, from the run that made it."""
        try:
            found = self._registry.version(name)
        except UnavailableError:
            found = self._made_here(name)
            if found is None:
                raise
        if found is None:
            raise NotFoundError(f"the registry knows no version {name!r}, the champion to compare with")
        return found

    def _made_here(self, name: VersionName) -> ModelVersion | None:
        for path in sorted(self._places.runs.iterdir()) if self._places.runs.is_dir() else ():
            status = RunFolder(path).read_status()
            found = next((made for made in status.made if made.name == name), None) if status else None
            if found is not None:
                return found
        return None

    def _spawn(self, folder: RunFolder, run: RunName) -> None:
        environment = {**os.environ, **training_environment(self._system.spec.training.threads)}
        command = [sys.executable, "-m", "capstan_pipelines.run_local", "--run-dir", str(folder.path)]
        nice = ["nice", "-n", str(self._nice)] if self._nice else []
        try:
            with folder.log.open("ab") as log:
                child = subprocess.Popen(
                    [*nice, *command],
                    env=environment,
                    cwd=folder.path,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise write_error(folder.log, error) from error
        process_table.yield_processor(child.pid, self._nice)
        self._children[run] = child
        folder.note_process(child.pid)

    def _is_alive(self, folder: RunFolder, run: RunName) -> bool:
        self._reap(run)
        return folder.is_alive()

    def _reap(self, run: RunName) -> None:
        child = self._children.get(run)
        if child is not None and child.poll() is not None:
            self._forget(run)

    def _forget(self, run: RunName) -> None:
        child = self._children.get(run)
        if child is not None and child.poll() is not None:
            self._children.pop(run, None)

    def _give_up(self, folder: RunFolder, written: RunStatus | None) -> RunStatus:
        steps = tuple(
            replace(step, phase=RunPhase.FAILED, message="ended without a result")
            if step.phase is RunPhase.RUNNING
            else step
            for step in (written.steps if written is not None else ())
        )
        found = folder.process()
        if found is not None:
            # The leader is dead, but steps of its process group may still run.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if not process_table.born(found[0]):
                    os.killpg(found[0], signal.SIGKILL)
        message = f"the process ended without a result; the end of its log:\n{process_table.tail(folder.log)}"
        failed = RunStatus(RunPhase.FAILED, message, steps)
        with contextlib.suppress(CapstanError):
            folder.write_status(failed)
        return failed


def interrupt_runs(runs: Path) -> list[RunName]:
    """End every run of the folder that is alive and forget how far it came; returns their names."""
    ended = []
    for path in sorted(runs.iterdir()) if runs.is_dir() else ():
        folder = RunFolder(path)
        if _end(folder):
            # A run that was stopped from outside has not failed: the next supervisor starts it anew.
            folder.forget()
            ended.append(RunName(path.name))
    return ended


def _end(folder: RunFolder) -> bool:
    """SIGTERM to the run, SIGKILL to its group after the grace; whether it was alive."""
    found = folder.process()
    if found is None or not process_table.lives(*found):
        return False
    pid, born = found
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and process_table.lives(pid, born):
            time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)
    return True


def _document(system: MLSystem) -> dict[str, Any]:
    document: dict[str, Any] = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return document
