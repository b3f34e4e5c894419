"""Runs the pipeline in one pod: `python -m capstan_pipelines.run_job --job /job --work /work`.

The run's files come from a mounted ConfigMap, its result goes into the container's termination message and into the
artifact store. Exit codes: 0 succeeded, 1 failed and not to be tried again, 143 ended by SIGTERM; with any other the
process was lost, and Kubernetes starts it again.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from capstan.adapters.kubernetes.run_report import last_words, progress_line
from capstan.adapters.kubernetes.run_results import recorded
from capstan.domain.training import RunPhase, RunStatus
from capstan.errors import CapstanError, UnavailableError
from capstan.files import write_whole
from capstan.training.factories import carry_factories
from capstan.training.job import CHAMPION, FACTORIES, PLACES, REQUEST, SPEC, Job
from capstan_pipelines.one_run import CANCELLED, carry_out
from capstan_pipelines.wiring import registry_of, run_folder_of

LAST_WORDS = Path("/dev/termination-log")
_SECONDS_BETWEEN_LINES = 1.0


class Reporter:
    """Tells the log what happens, at most once a second, and Kubernetes how it ended."""

    def __init__(self, words: Path) -> None:
        self._words = words
        self._told_at = float("-inf")

    def tell(self, status: RunStatus) -> None:
        if status.phase is RunPhase.RUNNING and time.monotonic() - self._told_at < _SECONDS_BETWEEN_LINES:
            return
        self._told_at = time.monotonic()
        print(progress_line(status), flush=True)  # noqa: T201
        if status.phase is not RunPhase.RUNNING:
            self._words.write_bytes(last_words(status))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m capstan_pipelines.run_job", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="folder with the run's files, as mounted")
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; it may be empty")
    parser.add_argument("--last-words", type=Path, default=LAST_WORDS, help="file for the result")
    arguments = parser.parse_args()
    # The first process of a container has no default reaction to SIGTERM.
    signal.signal(signal.SIGTERM, _leave)
    reporter = Reporter(arguments.last_words)
    folder = run_folder_of(arguments.work.resolve() / "run")
    try:
        job = _take_over(arguments.job, folder.path)
        status = _finished_before(job)
        if status is None:
            carry_factories(job.system, folder.path / FACTORIES)
    except CapstanError as error:
        status = RunStatus(RunPhase.FAILED, str(error))
    if status is None:
        status = carry_out(folder, reporter.tell)
    else:
        reporter.tell(status)
    return 0 if status.phase is RunPhase.SUCCEEDED else 1


def _take_over(mounted: Path, folder: Path) -> Job:
    """The run's files in a folder of its own, for a ConfigMap can't be written to."""
    for name in (CHAMPION, SPEC, PLACES, REQUEST):
        if (mounted / name).exists():
            write_whole(folder / name, (mounted / name).read_bytes())
    return Job(folder)


def _finished_before(job: Job) -> RunStatus | None:
    """What an earlier pod of this run has registered, so that one that was lost after its work adds nothing."""
    from capstan.artifacts.store import ArtifactStore

    store = ArtifactStore(job.places.artifacts) if job.places.artifacts else None
    try:
        status = recorded(job.request.run, registry_of(job), store)
    except UnavailableError as error:
        # Training needs neither; whoever registers later finds the version by the run's name.
        print(f"run: {error}; training in any case", flush=True)  # noqa: T201
        return None
    return status if status is not None and status.phase is RunPhase.SUCCEEDED else None


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(CANCELLED)


if __name__ == "__main__":
    sys.exit(main())
