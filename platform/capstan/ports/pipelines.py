"""Runs the training pipeline."""

from __future__ import annotations

from typing import Protocol

from capstan.domain.training import RunStatus, TrainingRequest
from capstan.domain.versions import RunName


class Pipelines(Protocol):
    """Starts, watches and cancels pipeline runs; all by name, all idempotent."""

    def start(self, request: TrainingRequest) -> None:
        """Start the run unless one of this name exists, running or finished."""
        ...

    def status(self, run: RunName) -> RunStatus: ...

    def cancel(self, run: RunName) -> None: ...
