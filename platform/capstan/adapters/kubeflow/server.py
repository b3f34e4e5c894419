"""Pipelines port on a Kubeflow Pipelines server: each run is a KFP run of its display name, each step a pod.

The server is the memory of what was started: a run is looked for by its name before one is made, so a crash between two
calls doubles nothing. What a run has made is read from the registry and the artifact store, not from KFP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from capstan.adapters.kubeflow.api import Json, KfpApi
from capstan.adapters.kubeflow.compile import CompiledPipeline, StepSettings
from capstan.adapters.kubernetes.pods import why_waiting
from capstan.adapters.kubernetes.run_results import given, recorded
from capstan.domain.training import RunPhase, RunStatus, StepProgress, TrainingRequest
from capstan.domain.versions import RunName
from capstan.errors import CapstanError
from capstan.outages import short_reason
from capstan.ports.kube import Kube, Object
from capstan.ports.registry import Registry
from capstan.spec import MLSystem
from capstan.training.job import Places

RUN_ID_LABEL = "pipeline/runid"
"""Label by which KFP marks the pods of a run."""
_STEPS = ("extract", "check", "split", "fit", "choose", "evaluate", "refit", "package", "register")
_PHASES = {
    "": RunPhase.RUNNING,
    "RUNTIME_STATE_UNSPECIFIED": RunPhase.RUNNING,
    "PENDING": RunPhase.RUNNING,
    "RUNNING": RunPhase.RUNNING,
    "PAUSED": RunPhase.RUNNING,
    "CANCELING": RunPhase.RUNNING,
    "SUCCEEDED": RunPhase.SUCCEEDED,
    "SKIPPED": RunPhase.FAILED,
    "FAILED": RunPhase.FAILED,
    "CANCELED": RunPhase.CANCELLED,
}
_ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")


class Store(Protocol):
    """The part of the system's artifact store that is needed here."""

    def write(self, path: str, content: bytes) -> None: ...

    def read(self, path: str) -> bytes | None: ...


class KfpServerPipelines:
    """Starts, watches and cancels runs of one system's training pipeline on a KFP server."""

    def __init__(
        self,
        system: MLSystem,
        api: KfpApi,
        registry: Registry,
        store: Store,
        *,
        name: str,
        namespace: str,
        places: Places,
        address: str,
        settings: Callable[[MLSystem], StepSettings],
        compiled: Callable[[StepSettings], CompiledPipeline],
        kube: Kube | None = None,
    ) -> None:
        """`name` is that of the system's pipeline and experiment; `address` is where `store` lies, as KFP names it.

        `kube` tells why pods wait; None: KFP's own words are all.
        """
        self._system = system
        self._api = api
        self._registry = registry
        self._store = store
        self._name = name
        self._namespace = namespace
        self._places = places
        self._address = address.rstrip("/")
        self._settings = settings
        self._compiled = compiled
        self._kube = kube

    def start(self, request: TrainingRequest) -> None:
        """Start the run unless one of this name exists, running or finished, be it deleted from KFP long ago.

        Raises UnavailableError, and NotFoundError for a champion that the registry does not know.
        """
        experiment = self._api.experiment(self._name, self._namespace)
        if self._api.find_run(request.run, experiment) is not None:
            return
        if recorded(request.run, self._registry, self._store) is not None:
            return
        folder = self._write_job(request)
        compiled = self._compiled(self._settings(self._system))
        reference = self._api.pipeline(self._name, self._namespace, compiled.definition, compiled.version)
        candidates = [name for model in self._system.spec.planned_models for name in model.fit_names]
        self._api.create_run(
            {
                "display_name": str(request.run),
                "description": request.trigger.reason[:255],
                "experiment_id": experiment,
                "pipeline_version_reference": reference,
                "runtime_config": {"parameters": {"job": folder, "candidates": candidates}},
            },
            self._namespace,
        )

    def status(self, run: RunName) -> RunStatus:
        """Where the run stands; the message says why a pod waits."""
        found = self._find(run)
        if found is None:
            return recorded(run, self._registry, self._store) or RunStatus(RunPhase.ABSENT)
        return replace(self._status(run, found), runner_id=str(found["run_id"]))

    def cancel(self, run: RunName) -> None:
        """End the run; no error if it is not there or has ended."""
        found = self._find(run)
        if found is None or found.get("state") in (*_ENDED, "CANCELING"):
            return
        self._api.terminate(found["run_id"])

    # -- one run

    def _find(self, run: RunName) -> Json | None:
        experiment = self._api.find_experiment(self._name, self._namespace)
        return self._api.find_run(run, experiment) if experiment is not None else None

    def _status(self, run: RunName, found: Json) -> RunStatus:
        phase, steps = _phase(found), _steps(found)
        if phase is RunPhase.SUCCEEDED:
            ended = recorded(run, self._registry, self._store) or RunStatus(
                RunPhase.FAILED, "Kubeflow Pipelines calls it succeeded, but nothing of it is registered"
            )
            return replace(ended, steps=steps)
        if phase is RunPhase.FAILED:
            return RunStatus(phase, self._why_failed(found, steps), steps)
        if phase is RunPhase.CANCELLED:
            return RunStatus(phase, "cancelled", steps)
        return RunStatus(phase, self._doing(found, steps), steps)

    def _write_job(self, request: TrainingRequest) -> str:
        """Put the run's folder where the pipeline imports it from; returns its address."""
        folder = f"runs/{request.run}/job"
        files = given(request, self._system, self._places, self._registry)
        for name, content in files.items():
            self._store.write(f"{folder}/{name}", content)
        return f"{self._address}/{folder}"

    def _doing(self, run: Json, steps: Sequence[StepProgress]) -> str:
        if run.get("state") == "CANCELING":
            return "ending its pods"
        reasons = list(filter(None, map(why_waiting, self._pods(run))))
        running = [step.name for step in steps if step.phase is RunPhase.RUNNING]
        return "; ".join([*running, *reasons[:1]]) or "starting"

    def _why_failed(self, run: Json, steps: Sequence[StepProgress]) -> str:
        said = [f"{step.name}: {step.message}" for step in steps if step.phase is RunPhase.FAILED]
        said += self._last_lines(run)
        own = short_reason(str((run.get("error") or {}).get("message") or ""))
        return "\n".join(filter(None, [*said, own])) or "failed; Kubeflow Pipelines gives no reason"

    def _last_lines(self, run: Json) -> list[str]:
        """What failed steps said themselves: KFP only tells that their pods ended with code 1."""
        lines = []
        for pod in self._pods(run):
            if self._kube is None or pod.get("status", {}).get("phase") != "Failed":
                continue
            try:
                log = self._kube.pod_log(pod["metadata"]["name"], self._namespace, container="main", tail=50)
            except CapstanError:
                continue
            told = [line for line in log.splitlines() if line.partition(":")[0].split(" ")[0] in _STEPS]
            lines += told[-1:]
        return lines

    def _pods(self, run: Json) -> Sequence[Object]:
        if self._kube is None:
            return ()
        return self._kube.list("Pod", self._namespace, labels={RUN_ID_LABEL: run["run_id"]})


def _phase(entry: Json) -> RunPhase:
    return _PHASES.get(str(entry.get("state") or ""), RunPhase.RUNNING)


def _steps(run: Json) -> tuple[StepProgress, ...]:
    """KFP's tasks that are steps of ours, in the order in which they began; drivers and loops are left out."""
    tasks = (run.get("run_details") or {}).get("task_details") or []
    ours = [task for task in tasks if task.get("display_name") in _STEPS]
    ours.sort(key=lambda task: str(task.get("start_time") or task.get("create_time") or ""))
    repeated = Counter(str(task["display_name"]) for task in ours)
    seen: Counter[str] = Counter()
    steps = []
    for task in ours:
        name = str(task["display_name"])
        seen[name] += 1
        steps.append(
            StepProgress(
                f"{name} {seen[name]}" if repeated[name] > 1 else name,
                _phase(task),
                _moment(task.get("start_time")),
                _moment(task.get("end_time")),
                short_reason(str((task.get("error") or {}).get("message") or "")),
            )
        )
    return tuple(steps)


def _moment(text: object) -> datetime | None:
    """Moment that KFP tells; None: not yet, which KFP may write as the epoch."""
    moment = datetime.fromisoformat(str(text)) if text else None
    return moment.astimezone(UTC) if moment is not None and moment.timestamp() > 0 else None
