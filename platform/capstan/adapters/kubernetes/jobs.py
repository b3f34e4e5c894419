"""Pipelines port on a cluster without Kubeflow Pipelines: each run is one Job, whose pod runs the whole pipeline.

The Job is the memory of the run: it says that the run was started, how it ended, and, suspended, that it was cancelled.
A pod that was lost with its node is replaced by Kubernetes; a training that failed is not tried again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from capstan.adapters.kubernetes.conditions import holds
from capstan.adapters.kubernetes.job_news import (
    CANCEL,
    CANCELLED,
    create_with_files,
    failed_as,
    held_up,
    lost_to,
    working_pod,
)
from capstan.adapters.kubernetes.pods import last_message, newest, why_ended
from capstan.adapters.kubernetes.run_report import read_last_words, read_progress
from capstan.adapters.kubernetes.run_results import Readable, given, recorded
from capstan.domain.training import RunPhase, RunStatus, StepProgress, TrainingRequest
from capstan.domain.versions import RunName
from capstan.errors import CapstanError, NotFoundError, UnavailableError
from capstan.ports.kube import Kube, Object
from capstan.ports.registry import Registry
from capstan.spec import MLSystem
from capstan.training.job import Places

Render = Callable[[MLSystem, RunName, Mapping[str, str]], tuple[Object, Object]]
"""Function that gives the ConfigMap with these files and the Job that mounts it; both are named like the run."""
_LINES = 300


class JobPipelines:
    """Starts, watches and cancels runs of one system's training pipeline as Jobs."""

    def __init__(
        self,
        system: MLSystem,
        kube: Kube,
        registry: Registry,
        *,
        namespace: str,
        places: Places,
        render: Render,
        store: Readable | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`store` is the system's artifact store; None where this process can't read it, as it can't a volume."""
        self._system = system
        self._kube = kube
        self._registry = registry
        self._namespace = namespace
        self._places = places
        self._render = render
        self._store = store
        self._now = now

    def use(self, system: MLSystem) -> None:
        """Runs that start from now on follow this file; those that run keep theirs."""
        self._system = system

    def start(self, request: TrainingRequest) -> None:
        """Start the run unless one of this name exists, running or finished, be its Job removed long ago.

        Raises UnavailableError, and NotFoundError for a champion that the registry does not know.
        """
        if (
            self._job(request.run) is not None
            or recorded(request.run, self._registry, self._store) is not None
        ):
            return
        files = given(request, self._system, self._places, self._registry)
        text = {name: content.decode() for name, content in files.items()}
        config, job = self._render(self._system, request.run, text)
        create_with_files(self._kube, self._namespace, config, job)

    def status(self, run: RunName) -> RunStatus:
        """Where the run stands; the message says why a pod waits, or why one was lost."""
        job = self._job(run)
        if job is None:
            return recorded(run, self._registry, self._store) or RunStatus(RunPhase.ABSENT)
        pods = self._kube.list("Pod", self._namespace, labels={"job-name": str(run)})
        said = _said(pods)
        if holds(job, "Complete"):
            if said is not None and said.phase is RunPhase.SUCCEEDED:
                return said
            return recorded(run, self._registry, self._store) or RunStatus(
                RunPhase.FAILED, "its Job is complete, but nothing of it is registered", _steps(said)
            )
        if holds(job, "Failed"):
            return self._failed(run, job, pods, said)
        if CANCELLED in job["metadata"].get("annotations", {}):
            return RunStatus(RunPhase.CANCELLED, "cancelled", _steps(said))
        return self._running(job, pods)

    def cancel(self, run: RunName) -> None:
        """End the run; no error if it is not there or has ended."""
        job = self._job(run)
        if job is None or holds(job, "Complete") or holds(job, "Failed"):
            return
        with contextlib.suppress(NotFoundError):
            self._kube.patch("Job", str(run), self._namespace, CANCEL)

    # -- watching

    def _job(self, run: RunName) -> Object | None:
        return self._kube.get("Job", str(run), self._namespace)

    def _running(self, job: Object, pods: Sequence[Object]) -> RunStatus:
        again, pod = lost_to(pods), working_pod(pods)
        heard = self._heard(pod) if pod is not None else None
        if heard is not None:
            return replace(heard, message=f"{heard.message}{again}")
        return RunStatus(
            RunPhase.RUNNING,
            f"{held_up(self._kube, self._namespace, job, pod, self._now()) or 'starting'}{again}",
        )

    def _heard(self, pod: Object) -> RunStatus | None:
        if pod["status"].get("phase") != "Running":
            return None
        try:
            log = self._kube.pod_log(pod["metadata"]["name"], self._namespace, tail=_LINES)
        except CapstanError:
            # Its container is just starting or ending. The next look tells.
            return None
        heard = read_progress(log)
        return heard if heard is not None and heard.phase is RunPhase.RUNNING else None

    def _failed(self, run: RunName, job: Object, pods: Sequence[Object], said: RunStatus | None) -> RunStatus:
        if said is not None and said.phase is RunPhase.FAILED:
            return said
        # The pod may have been lost just after its work was done.
        with contextlib.suppress(UnavailableError):
            finished = recorded(run, self._registry, self._store)
            if finished is not None and finished.phase is RunPhase.SUCCEEDED:
                return finished
        reasons = [failed_as(job)]
        last = newest(pods)
        if last is not None:
            reasons += [why_ended(last), "" if read_last_words(last_message(last)) else last_message(last)]
        return RunStatus(RunPhase.FAILED, "\n".join(filter(None, reasons)), _steps(said))


def _said(pods: Sequence[Object]) -> RunStatus | None:
    """Last words that decide: those of a pod that ended by itself come before those of one that was ended."""
    heard = [words for pod in pods if (words := read_last_words(last_message(pod))) is not None]
    for phase in (RunPhase.SUCCEEDED, RunPhase.FAILED):
        for words in heard:
            if words.phase is phase:
                return words
    return heard[-1] if heard else None


def _steps(said: RunStatus | None) -> tuple[StepProgress, ...]:
    return said.steps if said is not None else ()
