"""Step: all others in their order, for a run without KFP whose models nobody serves, as a backtest has many of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from capstan.domain.training import RunPhase, RunStatus
from capstan.training.job import Job
from capstan.training.result import read_result
from capstan_pipelines.one_run import ARTIFACTS, failed_candidates, why_failed
from capstan_pipelines.step_process import run_step
from capstan_pipelines.steps import progress, register
from capstan_pipelines.watch import told_steps
from capstan_pipelines.wiring import run_folder_of


class _StepFailedError(Exception):
    """The step has already told why."""


def run(job_folder: str) -> None:
    """Leave the run's status in its folder, whether it succeeded or failed; the version in it has no name."""
    folder = run_folder_of(Path(job_folder))
    os.environ[progress.FOLDER] = str(folder.progress)
    try:
        status = _run(folder.path)
    except Exception as error:
        steps = told_steps(folder.progress)
        status = RunStatus(RunPhase.FAILED, why_failed(steps, error), failed=failed_candidates(steps))
    folder.write_status(status)
    shutil.rmtree(folder.path / ARTIFACTS, ignore_errors=True)


def _run(path: Path) -> RunStatus:
    job, files = str(path), path / ARTIFACTS
    files.mkdir(parents=True, exist_ok=True)

    def file(name: str) -> str:
        return str(files / name)

    def take(step: str, *arguments: object) -> None:
        if not run_step(step, (job, *arguments)):
            raise _StepFailedError(f"{step} failed")

    take("extract", file("table"))
    take("check", file("table"), file("report"))
    take("split", file("table"), file("cases"))
    names = [name for model in Job(path).system.spec.planned_models for name in model.fit_names]
    fitted = [file(f"fitted-{number}") for number in range(len(names))]
    for name, result in zip(names, fitted, strict=True):
        take("fit", name, file("cases"), result)
    take("choose", fitted, file("choice"))
    take("evaluate", file("cases"), file("choice"), file("evaluation"))
    made = (file("model"), file("runners-up"))
    take("refit", file("cases"), file("choice"), file("evaluation"), *made)
    take("package", *made, file("packaged"))
    documents = (file("report"), file("choice"), file("evaluation"), file("packaged"))
    register.unregistered(job, made[1], *documents, file("result"))
    return read_result((files / "result").read_bytes())
