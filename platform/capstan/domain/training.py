"""What a training run is asked for and what it answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from capstan.domain.triggers import Trigger
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName


@dataclass(frozen=True)
class TrainingRequest:
    """Everything a pipeline run needs besides the file itself."""

    run: RunName
    system: SystemName
    trigger: Trigger
    champion: VersionName | None
    """The version to beat; None for the first run."""
    seed: int = 0


class RunPhase(StrEnum):
    ABSENT = "Absent"
    """The pipeline runner knows no such run: it was never started."""
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


@dataclass(frozen=True)
class GateOutcome:
    """One promotion gate of the file, judged on the test window."""

    metric: str
    passed: bool | None
    """None: not enough evidence; never counts as passed."""
    message: str
    """`rocAuc 0.731 against v1's 0.702: difference +0.029 [+0.012, +0.046], needs > -0.005`."""


@dataclass(frozen=True)
class StepProgress:
    """One step of the pipeline, for the page and the terminal."""

    name: str
    phase: RunPhase
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""
    waits_for: str = ""
    """The part that is away and without which it can't go on; empty while it works."""


@dataclass(frozen=True)
class RunnerUp:
    """The next best candidate of a run, trained and judged as its choice was."""

    candidate: str
    version: ModelVersion
    """Has no name before it is registered."""
    gates: tuple[GateOutcome, ...] = ()

    @property
    def missed(self) -> str:
        """The gates that it did not pass, in words; empty: it passed all."""
        return "; ".join(gate.message or gate.metric for gate in self.gates if gate.passed is not True)


@dataclass(frozen=True)
class RunStatus:
    """Where a pipeline run stands."""

    phase: RunPhase
    message: str = ""
    steps: tuple[StepProgress, ...] = ()
    version: ModelVersion | None = None
    """Set when SUCCEEDED."""
    gates: tuple[GateOutcome, ...] = ()
    candidates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Candidate name -> metric name -> value on the validation window. Of several models: `model/candidate`."""
    chosen: tuple[str, ...] = ()
    """The candidates that were taken, one for each model; empty while none is."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Candidate that could not be fitted or measured -> why, in one line."""
    warnings: tuple[str, ...] = ()
    """What did not stop the run and may make its model worse than it looks, one line each."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the task tells of the test window beside the metrics, as JSON."""
    runners_up: tuple[RunnerUp, ...] = ()
    """Of the candidates that were not taken as many as the file's steps ask for, the best first."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Candidate that was to be a runner-up and could not be judged, learnt or packaged -> why, in one line."""
    runner_id: str = ""
    """Id under which the runner keeps the run and shows it, as Kubeflow Pipelines does; empty: it has no page."""

    @property
    def made(self) -> tuple[ModelVersion, ...]:
        """All versions that it made, its choice first."""
        choice = () if self.version is None else (self.version,)
        return (*choice, *(one.version for one in self.runners_up))

    @property
    def runners_up_in_words(self) -> str:
        """`runner-up v3 (trees)`, or `runners-up v3 (trees), v4 (linear)`; empty: there are none."""
        named = ", ".join(f"{one.version.name} ({one.candidate})" for one in self.runners_up)
        return f"{'runners-up' if len(self.runners_up) > 1 else 'runner-up'} {named}" if named else ""

    @property
    def chosen_in_words(self) -> str:
        """`trees`, or of several models `departure/trees, arrival/logistic`; empty while none is."""
        return ", ".join(self.chosen)


def training_run_name(system: SystemName, champion: VersionName | None, attempt: int) -> RunName:
    """The same champion and attempt always give the same name, so asking twice starts one run."""
    digest = hashlib.sha256(f"{system}\n{champion or ''}\n{attempt}".encode()).hexdigest()
    return RunName(f"{system}-{digest[:10]}")
