"""One run of the pipeline in this process's children, whoever asked for it: a local process or a pod."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from capstan.adapters.kubeflow.run_folder import RunFolder
from capstan.domain.training import RunPhase, RunStatus, StepProgress
from capstan.training.job import Job
from capstan.training.result import read_result
from capstan_pipelines.steps import progress
from capstan_pipelines.warm import warm_process
from capstan_pipelines.watch import ProgressCollector

CANCELLED = 143
"""Exit code of a run that SIGTERM ended."""
ARTIFACTS = "artifacts"
_FIT = "fit "
"""Begins the names of steps that fit one candidate each."""
_KEPT = ("choice", "evaluation", "report", "result", "packaged")
"""Artifacts that stay when a run has succeeded; tables and the model, which the Bento holds, go."""


def carry_out(folder: RunFolder, tell: Callable[[RunStatus], None] | None = None) -> RunStatus:
    """Run the pipeline of the folder to its end; `tell` hears every new status, also that of a cancelled run.

    Only one process at a time may work on a folder. Never returns when SIGTERM comes: the exit code is then CANCELLED.
    """
    folder.note_process(os.getpid())
    # Before the warm process starts, whose forks do most of the telling.
    os.environ[progress.FOLDER] = str(folder.progress)
    watch = ProgressCollector(folder, tell)
    with _cancellable(watch), warm_process(folder.path):
        try:
            status = _run(folder.path)
        except Exception as error:
            steps = watch.steps()
            status = RunStatus(RunPhase.FAILED, why_failed(steps, error), failed=failed_candidates(steps))
        status = watch.end(status)
    print(f"run: {status.phase.value}, {_cpu_seconds():.1f} s of processors", flush=True)  # noqa: T201
    if status.phase is RunPhase.SUCCEEDED:
        _tidy(folder.path / ARTIFACTS)
    return status


def _run(path: Path) -> RunStatus:
    job = Job(path)
    names = [name for model in job.system.spec.planned_models for name in model.fit_names]
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
    return read_result(Path(finished.output.path).read_bytes())


def why_failed(steps: Sequence[StepProgress], error: Exception) -> str:
    """What the failed step of a run said; the error only names the step."""
    failed = [step for step in steps if step.phase is RunPhase.FAILED]
    # A candidate that failed did not end the run; whoever could choose none has said why.
    ending = [step for step in failed if not step.name.startswith(_FIT)] or failed
    if ending:
        return "\n".join(f"{step.name}: {step.message}" for step in ending)
    killed = [step.name for step in steps if step.phase is RunPhase.RUNNING]
    if killed:
        return f"{', '.join(killed)}: ended without a result; was it killed, or out of memory? See the log"
    return f"{type(error).__name__}: {error}"


def failed_candidates(steps: Sequence[StepProgress]) -> dict[str, str]:
    """Candidate that could not be fitted or measured -> why, in one line."""
    return {
        step.name.removeprefix(_FIT): " ".join(step.message.split())
        for step in steps
        if step.phase is RunPhase.FAILED and step.name.startswith(_FIT)
    }


@contextlib.contextmanager
def _cancellable(watch: ProgressCollector) -> Iterator[None]:
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
