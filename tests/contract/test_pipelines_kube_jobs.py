"""The Pipelines contract, on Jobs whose pods are processes here; tests/cluster runs them in real pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from contract.job_cluster import JobCluster
from contract.training_system import write_system

from capstan.adapters.kubernetes.jobs import JobPipelines
from capstan.adapters.kubernetes.run_report import read_last_words
from capstan.adapters.memory.loop import MemoryRegistry
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.artifacts.store import ArtifactStore
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.training import run_objects
from capstan.cluster.settings import ClusterSettings
from capstan.domain.training import GateOutcome, RunnerUp, RunPhase, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.errors import NotFoundError, UnavailableError
from capstan.spec import MLSystem
from capstan.testing.ports.pipelines import PipelinesContract, WaitUntil, ended
from capstan.testing.ports.waiting import eventually
from capstan.training.job import Places
from capstan.training.result import result_document, result_path

SYSTEM = SystemName("deliveries")
NAMES = SystemNames("shop", SYSTEM)
AS_OF = datetime(2013, 2, 20, tzinfo=UTC)
RUN = RunName("run-a")


def request(run: str, *, champion: str | None = None, as_of: datetime = AS_OF) -> TrainingRequest:
    kind = TriggerKind.ALERT if champion else TriggerKind.INITIAL
    return TrainingRequest(
        RunName(run), SYSTEM, Trigger(kind, as_of, "a test"), VersionName(champion) if champion else None
    )


def render(system: MLSystem, run: RunName, files: Any) -> Any:
    return run_objects(system, NAMES, ClusterSettings(), Owner("deliveries", "uid-1"), run, files)


def places(root: Path) -> Places:
    return Places(
        base_dir=str(root / "data"),
        secrets=str(root / "secrets"),
        tracking_uri=f"sqlite:///{root / 'mlflow.db'}",
        artifact_root=str(root / "mlflow"),
        bentos=str(root / "bentos"),
        artifacts=f"file://{root / 'artifacts'}",
        registry_model=NAMES.registry_model,
    )


def make_registry(root: Path) -> MlflowRegistry:
    return MlflowRegistry(
        SYSTEM,
        tracking_uri=places(root).tracking_uri,
        artifact_root=root / "mlflow",
        model=NAMES.registry_model,
    )


def make_pipelines(root: Path, cluster: JobCluster, registry: Any = None, **more: Any) -> JobPipelines:
    return JobPipelines(
        write_system(root / "data"),
        cluster,
        registry or make_registry(root),
        namespace="shop",
        places=places(root),
        render=render,
        store=ArtifactStore(places(root).artifacts),
        **more,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def cluster(root: Path) -> Iterator[JobCluster]:
    cluster = JobCluster(root / "pods")
    yield cluster
    cluster.stop()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(600)
class TestJobPipelines(PipelinesContract):
    """The suite's tests share one cluster, so that their run `run-a` really runs once."""

    @pytest.fixture
    def pipelines(self, root: Path, cluster: JobCluster) -> JobPipelines:
        return make_pipelines(root, cluster)

    @pytest.fixture
    def request_for(self) -> Callable[[str], TrainingRequest]:
        return request

    @pytest.fixture
    def wait_until(self) -> WaitUntil:
        return lambda condition: eventually(condition, 600)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(600)
class TestARun:
    """One run after the other in one cluster."""

    def test_tells_its_steps_gates_and_candidates_in_its_last_words(
        self, root: Path, cluster: JobCluster
    ) -> None:
        pipelines = make_pipelines(root, cluster)
        pipelines.start(request(RUN))
        status = ended(pipelines, RUN)
        assert status.phase is RunPhase.SUCCEEDED, status.message
        assert {"extract", "fit broken", "register"} <= {step.name for step in status.steps}
        assert [gate.passed for gate in status.gates] == [True, True]
        assert list(status.candidates) == ["baseline", "broken", "own", "trees"]

    def test_is_remembered_after_its_job_was_removed(self, root: Path, cluster: JobCluster) -> None:
        pipelines = make_pipelines(root, cluster)
        pipelines.start(request(RUN))
        finished = ended(pipelines, RUN)
        cluster.delete("Job", RUN)
        made = len(cluster.created)
        pipelines.start(request(RUN))
        assert len(cluster.created) == made, "one run per trigger"
        later = pipelines.status(RUN)
        assert (later.phase, later.version, later.gates) == (
            RunPhase.SUCCEEDED,
            finished.version,
            finished.gates,
        )

    def test_whose_pod_was_lost_after_registering_gives_the_same_version(
        self, root: Path, tmp_path: Path, cluster: JobCluster
    ) -> None:
        first = ended(make_pipelines(root, cluster), RUN)
        again = JobCluster(tmp_path / "pods")
        for kind in ("ConfigMap", "Job"):
            made = render(write_system(root / "data"), RUN, cluster.objects["ConfigMap", RUN]["data"])
            document = next(one for one in made if one["kind"] == kind)
            again.apply(document) if kind == "ConfigMap" else again.create(document)
        again._processes[RUN].wait(120)
        words = read_last_words((tmp_path / "pods" / RUN / "last-words").read_text())
        assert words is not None
        assert words.version == first.version is not None
        assert len(make_registry(root).versions()) == 1
        assert "extract" not in again.pod_log(RUN, "shop"), "it did not train once more"

    def test_is_gated_against_a_champion_that_another_machine_made(
        self, root: Path, cluster: JobCluster
    ) -> None:
        first = ended(make_pipelines(root, cluster), RUN)
        assert first.version is not None
        for folder in (root / "bentos").glob("bentos/*/*"):
            folder.rename(root / f"gone-{folder.name}")
        pipelines = make_pipelines(root, cluster)
        pipelines.start(request("run-b", champion=first.version.name, as_of=datetime(2013, 3, 2, tzinfo=UTC)))
        status = ended(pipelines, "run-b")
        assert status.phase is RunPhase.SUCCEEDED, status.message
        assert "against v1's" in status.gates[0].message

    def test_can_be_cancelled_for_good(self, root: Path, cluster: JobCluster) -> None:
        pipelines = make_pipelines(root, cluster)
        pipelines.start(request("run-c", as_of=datetime(2013, 2, 21, tzinfo=UTC)))
        eventually(lambda: bool(pipelines.status(RunName("run-c")).steps), 60)
        pipelines.cancel(RunName("run-c"))
        status = pipelines.status(RunName("run-c"))
        assert status.phase is RunPhase.CANCELLED
        assert status.steps, "the steps it had made are still told"
        made = len(cluster.created)
        pipelines.start(request("run-c"))
        assert len(cluster.created) == made

    def test_that_fails_says_why_and_fails_its_job_at_once(self, tmp_path: Path) -> None:
        own = JobCluster(tmp_path / "pods")
        (tmp_path / "data").mkdir()
        system = write_system(
            tmp_path / "data", candidates=[{"name": "x", "custom": {"factory": "nowhere:make"}}]
        )
        pipelines = make_pipelines(tmp_path, own)
        pipelines.use(system)
        pipelines.start(request(RUN))
        status = ended(pipelines, RUN)
        assert status.phase is RunPhase.FAILED
        assert "there is no nowhere.py" in status.message
        assert own._processes[RUN].returncode == 1, "the exit code that is not tried again"


# -- what a pod that does not run looks like


def unscheduled() -> dict[str, Any]:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    return pod("Pending", {}, conditions=[condition])


def pod(phase: str, state: dict[str, Any], name: str = "run-a-x", **status: Any) -> dict[str, Any]:
    statuses = [{"name": "training", "state": state}] if state else []
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return pod("Pending", {"waiting": {"reason": reason, "message": message}})


@pytest.fixture
def idle(tmp_path: Path) -> JobCluster:
    """Jobs are kept, nothing runs."""
    cluster = JobCluster(tmp_path / "pods")
    cluster.runs = False
    return cluster


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param(unscheduled(), "Unschedulable: 0/1 nodes", id="no-room"),
        pytest.param(
            waiting("ImagePullBackOff", "Back-off pulling"), "ImagePullBackOff: Back-off", id="image"
        ),
        pytest.param(waiting("CreateContainerConfigError", "secret x"), "secret x", id="config"),
        pytest.param(waiting("ContainerCreating"), "starting", id="nothing-wrong"),
    ],
)
def test_the_status_says_what_a_pod_waits_for(
    idle: JobCluster, tmp_path: Path, found: dict[str, Any], said: str
) -> None:
    """FAULTS 26."""
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry())
    pipelines.start(request(RUN))
    idle.pods[RUN] = [found]
    status = pipelines.status(RUN)
    assert status.phase is RunPhase.RUNNING
    assert said in status.message
    pipelines.start(request(RUN))
    assert idle.created == [RUN], "still one run per trigger"


def test_a_volume_that_cannot_be_mounted_is_told_from_the_events(idle: JobCluster, tmp_path: Path) -> None:
    later = lambda: datetime.now(UTC) + timedelta(minutes=1)  # noqa: E731
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry(), now=later)
    pipelines.start(request(RUN))
    idle.pods[RUN] = [waiting("ContainerCreating")]
    idle.events = [
        event("FailedMount", 'secret "planes-db" not found', "run-a-x", "2026-01-01T00:00:09Z"),
        event("FailedMount", "an older one", "run-a-x", "2026-01-01T00:00:02Z"),
        event("FailedMount", "of another pod", "other", "2026-01-01T00:00:10Z"),
    ]
    assert pipelines.status(RUN).message == 'FailedMount: secret "planes-db" not found'


def test_a_job_that_may_make_no_pod_says_so(idle: JobCluster, tmp_path: Path) -> None:
    later = lambda: datetime.now(UTC) + timedelta(minutes=1)  # noqa: E731
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry(), now=later)
    pipelines.start(request(RUN))
    idle.events = [event("FailedCreate", "exceeded quota: small", RUN, "2026-01-01T00:00:09Z")]
    assert pipelines.status(RUN).message == "FailedCreate: exceeded quota: small"


def event(reason: str, message: str, name: str, at: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.1"},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"name": name},
        "lastTimestamp": at,
    }


def test_a_lost_pod_is_told_while_the_next_one_runs(idle: JobCluster, tmp_path: Path) -> None:
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry())
    pipelines.start(request(RUN))
    evicted = pod("Failed", {}, reason="Evicted", message="The node was low on resource: memory.")
    idle.pods[RUN] = [evicted, waiting("ContainerCreating")]
    assert pipelines.status(RUN).message == (
        "starting; started again after Evicted: The node was low on resource: memory."
    )


def test_a_pod_that_ran_out_of_memory_again_and_again_has_failed_for_that_reason(
    idle: JobCluster, tmp_path: Path
) -> None:
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry())
    pipelines.start(request(RUN))
    idle.pods[RUN] = [pod("Failed", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}})]
    idle.finish(RUN, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    status = pipelines.status(RUN)
    assert status.phase is RunPhase.FAILED
    assert "BackoffLimitExceeded" in status.message
    assert "OOMKilled (exit code 137)" in status.message


VERSION = ModelVersion(VersionName(""), Digest("sha256:" + "ab" * 32), RUN, "deliveries:abc", AS_OF, {})
GATES = [GateOutcome("rocAuc", False, "0.5 against v1's 0.7")]


def test_gates_of_a_version_whose_pod_is_gone_come_from_the_store(idle: JobCluster, tmp_path: Path) -> None:
    registry = MemoryRegistry()
    pipelines = make_pipelines(tmp_path, idle, registry)
    pipelines.start(request(RUN))
    kept = registry.register(VERSION, tags={}, metrics={})
    document = result_document(
        VERSION,
        GATES,
        {},
        "best",
        chosen=["trees"],
        failed={"own": "gave NaN"},
        warnings=["few rows"],
        details={"tables": []},
    )
    result = json.dumps(document)
    ArtifactStore(places(tmp_path).artifacts).write(result_path(RUN), result.encode())
    idle.finish(RUN, "Complete")
    status = pipelines.status(RUN)
    assert (status.phase, status.version, list(status.gates)) == (RunPhase.SUCCEEDED, kept, GATES)
    assert (status.chosen, status.failed, status.warnings) == (("trees",), {"own": "gave NaN"}, ("few rows",))
    assert status.details == {"tables": []}


def test_a_runner_up_that_was_not_registered_before_the_pod_was_gone_takes_no_part(
    idle: JobCluster, tmp_path: Path
) -> None:
    registry = MemoryRegistry()
    pipelines = make_pipelines(tmp_path, idle, registry)
    pipelines.start(request(RUN))
    made = [replace(VERSION, digest=Digest(f"sha256:{rank}"), rank=rank) for rank in (1, 2)]
    runners_up = [
        RunnerUp(name, version, tuple(GATES)) for name, version in zip(("own", "linear"), made, strict=True)
    ]
    told = {"chosen": ["trees"], "failed": {}, "warnings": [], "details": {}}
    document = result_document(VERSION, GATES, {}, "best", runners_up=runners_up, **told)
    ArtifactStore(places(tmp_path).artifacts).write(result_path(RUN), json.dumps(document).encode())
    choice, first = (registry.register(one, tags={}, metrics={}) for one in (VERSION, made[0]))
    idle.finish(RUN, "Complete")
    status = pipelines.status(RUN)
    assert status.version == choice
    assert status.runners_up == (replace(runners_up[0], version=first),)
    assert status.runners_up[0].missed == GATES[0].message


def test_a_registered_runner_up_of_other_bytes_than_the_judged_ones_takes_no_part(
    idle: JobCluster, tmp_path: Path
) -> None:
    registry = MemoryRegistry()
    pipelines = make_pipelines(tmp_path, idle, registry)
    pipelines.start(request(RUN))
    judged = replace(VERSION, digest=Digest("sha256:1"), rank=1)
    told = {"chosen": ["trees"], "failed": {}, "warnings": [], "details": {}}
    passed = (replace(GATES[0], passed=True),)
    document = result_document(
        VERSION, GATES, {}, "best", runners_up=[RunnerUp("own", judged, passed)], **told
    )
    ArtifactStore(places(tmp_path).artifacts).write(result_path(RUN), json.dumps(document).encode())
    choice = registry.register(VERSION, tags={}, metrics={})
    registry.register(replace(judged, digest=Digest("sha256:2")), tags={}, metrics={})
    idle.finish(RUN, "Complete")
    status = pipelines.status(RUN)
    assert (status.version, status.runners_up) == (choice, ())


def test_a_version_whose_gates_are_lost_is_no_success(idle: JobCluster, tmp_path: Path) -> None:
    registry = MemoryRegistry()
    pipelines = make_pipelines(tmp_path, idle, registry)
    pipelines.start(request(RUN))
    registry.register(VERSION, tags={}, metrics={})
    idle.finish(RUN, "Complete")
    status = pipelines.status(RUN)
    assert status.phase is RunPhase.FAILED
    assert "what its gates said is lost" in status.message


def test_a_crash_between_the_files_and_the_job_is_repaired_by_the_next_start(
    idle: JobCluster, tmp_path: Path
) -> None:
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry())
    config, _ = render(write_system(tmp_path / "data"), RUN, {"request.json": "{}"})
    idle.apply(config)
    pipelines.start(request(RUN))
    assert idle.created == [RUN]
    assert idle.objects["ConfigMap", RUN]["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": RUN, "uid": "uid-run-a"}
    ]


def test_nobody_trains_against_an_unknown_champion(idle: JobCluster, tmp_path: Path) -> None:
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry())
    with pytest.raises(NotFoundError, match="v9"):
        pipelines.start(request(RUN, champion="v9"))
    assert idle.created == []


class AwayRegistry(MemoryRegistry):
    def version_of(self, run: RunName, rank: int = 0) -> ModelVersion | None:
        raise UnavailableError("MLflow", "connection refused")


def test_while_the_registry_is_away_nothing_is_started_twice_by_mistake(
    idle: JobCluster, tmp_path: Path
) -> None:
    pipelines = make_pipelines(tmp_path, idle, AwayRegistry())
    with pytest.raises(UnavailableError):
        pipelines.start(request(RUN))
    assert idle.created == []
