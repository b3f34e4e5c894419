"""Trainings of backtests: each is run once for all policies that ask for it, by whichever comes first."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol

from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.versions import ModelVersion, VersionName
from capstan.embedded.backtest.inputs import training_digest
from capstan.files import write_whole
from capstan.ports.codec import from_json
from capstan.spec import MLSystem
from capstan.training.factories import carry_factories
from capstan.training.job import FACTORIES, Places, write_job


class Trainer(Protocol):
    """Runs all steps of a run's folder."""

    def train(self, folder: Path) -> None:
        """The run's status is in `status.json` on return; raises CapstanError if nobody ran the steps."""
        ...


class SharedTrainings:
    """Results by the digest of their inputs, in a folder that outlives the process and that several share."""

    def __init__(
        self,
        system: MLSystem,
        folder: Path,
        *,
        data: str,
        document: dict[str, Any],
        places: Places,
        trainer: Trainer,
        champion: Callable[[VersionName], ModelVersion | None],
    ) -> None:
        """`data` is the digest of the sources; `champion` finds a version to beat."""
        self._system = system
        self._folder = folder
        self._data = data
        self._document = document
        self._places = places
        self._trainer = trainer
        self._champion = champion
        self.asked = 0
        self.run = 0
        """How many were really run here; the others were there already."""
        self.failed = 0
        """How many came to nothing, perhaps for a reason that passes."""

    def result(self, request: TrainingRequest) -> RunStatus:
        """What the run comes to; its versions have no names. Raises CapstanError, DiskFullError."""
        self.asked += 1
        champion = self._champion(request.champion) if request.champion is not None else None
        folder = self._folder / training_digest(self._system, self._data, request, champion)
        kept = folder / "result.json"
        with _locked(folder):
            if not kept.exists():
                run = self._train(folder, request, champion)
                written = (run / "status.json").read_bytes()
                status = from_json(RunStatus, json.loads(written))
                if status.phase is RunPhase.SUCCEEDED:
                    # What has failed is tried again by the next one that asks: its code may have been mended.
                    write_whole(kept, written)
                self.failed += status.phase is RunPhase.FAILED
                return _of_run(status, request)
        return _of_run(from_json(RunStatus, json.loads(kept.read_bytes())), request)

    def _train(self, folder: Path, request: TrainingRequest, champion: ModelVersion | None) -> Path:
        self.run += 1
        for old in folder.glob("run-*"):
            shutil.rmtree(old, ignore_errors=True)
        # Of this try alone: the steps of one that was killed may still be writing to theirs.
        run = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        carry_factories(self._system, run / FACTORIES)
        write_job(run, request=request, spec=self._document, places=self._places, champion=champion)
        self._trainer.train(run)
        return run


def _locked(folder: Path) -> IO[str]:
    """The folder's lock, held until it is closed; its time tells when the training was last used.

    While it is waited for, a pruning may remove the folder with it: then it is made again.
    """
    path = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), ExitStack() as closing:
            lock = closing.enter_context(path.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                os.utime(path)
                closing.pop_all()
                return lock


def _of_run(status: RunStatus, request: TrainingRequest) -> RunStatus:
    """As the run that asks: the first that had these inputs may have been called otherwise."""

    def named(version: ModelVersion) -> ModelVersion:
        return replace(version, run=request.run)

    return replace(
        status,
        version=None if status.version is None else named(status.version),
        runners_up=tuple(replace(one, version=named(one.version)) for one in status.runners_up),
        steps=(),
    )
