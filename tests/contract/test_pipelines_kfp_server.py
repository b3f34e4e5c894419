"""The Pipelines contract, on a stand-in that follows KFP's published API and really runs the uploaded steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
from contract.kfp_stand_in import KfpStandIn
from contract.training_system import write_system

from capstan.adapters.kubeflow.api import KfpApi
from capstan.adapters.kubeflow.compile import StepSettings, compile_pipeline
from capstan.adapters.kubeflow.server import KfpServerPipelines
from capstan.adapters.memory.loop import MemoryRegistry
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.artifacts.store import ArtifactStore
from capstan.domain.training import RunPhase, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName, VersionName
from capstan.errors import UnavailableError
from capstan.testing.ports.pipelines import PipelinesContract, WaitUntil, ended
from capstan.testing.ports.waiting import eventually
from capstan.training.job import Places, training_environment

SYSTEM = SystemName("deliveries")
NAME = "shop.deliveries"
AS_OF = datetime(2013, 2, 20, tzinfo=UTC)
RUN = RunName("run-a")
CACHE = Path()
SETTINGS = StepSettings(
    image="capstan-python:test",
    labels={"capstan.dev/system": "deliveries"},
    data_claim="deliveries-data",
    secrets={"planes-db": ["url"]},
    artifact_keys="deliveries-artifact-keys",
    requests={"cpu": "100m", "memory": "512Mi"},
    node_selector={"kubernetes.io/arch": "amd64"},
    variables=training_environment(1),
)


def request(run: str, *, champion: str | None = None, as_of: datetime = AS_OF) -> TrainingRequest:
    kind = TriggerKind.ALERT if champion else TriggerKind.INITIAL
    return TrainingRequest(
        RunName(run), SYSTEM, Trigger(kind, as_of, "a test"), VersionName(champion) if champion else None
    )


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiling takes seconds; all tests share what was compiled."""
    global CACHE
    CACHE = tmp_path_factory.mktemp("compiled")


def make_pipelines(
    root: Path, kfp: KfpStandIn, registry: Any = None, token: Path | None = None, **more: Any
) -> KfpServerPipelines:
    places = Places(
        base_dir=str(root / "data"),
        secrets=str(root / "secrets"),
        tracking_uri=f"sqlite:///{root / 'mlflow.db'}",
        artifact_root=str(root / "mlflow"),
        bentos=str(root / "bentos"),
        artifacts=f"file://{root / 'artifacts'}",
        registry_model=NAME,
    )
    return KfpServerPipelines(
        write_system(root / "data"),
        KfpApi(kfp.url, token=token),
        registry
        or MlflowRegistry(
            SYSTEM, tracking_uri=places.tracking_uri, artifact_root=root / "mlflow", model=NAME
        ),
        ArtifactStore(places.artifacts),
        name=NAME,
        namespace="shop",
        places=places,
        # kfp.local imports by path where a server imports by URI.
        address=str(root / "artifacts"),
        settings=lambda _: SETTINGS,
        compiled=lambda settings: compile_pipeline(settings, CACHE),
        **more,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kfp")


@pytest.fixture(scope="module")
def kfp(root: Path) -> Iterator[KfpStandIn]:
    (root / "kfp").mkdir()
    with KfpStandIn(root / "kfp") as kfp:
        yield kfp


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(600)
class TestKfpServerPipelines(PipelinesContract):
    """The suite's tests share one server, so that their run `run-a` really runs once."""

    @pytest.fixture
    def pipelines(self, root: Path, kfp: KfpStandIn) -> KfpServerPipelines:
        return make_pipelines(root, kfp)

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
    """One run after the other on one server."""

    def test_tells_its_steps_and_what_it_made(self, root: Path, kfp: KfpStandIn) -> None:
        pipelines = make_pipelines(root, kfp)
        pipelines.start(request(RUN))
        status = ended(pipelines, RUN)
        assert status.phase is RunPhase.SUCCEEDED, status.message
        names = [step.name for step in status.steps]
        assert [name for name in names if not name.startswith("fit")] == [
            "extract",
            "check",
            "split",
            "choose",
            "evaluate",
            "refit",
            "package",
            "register",
        ]
        assert {"fit 1", "fit 4"} <= set(names)
        assert [gate.passed for gate in status.gates] == [True, True]
        assert list(status.candidates) == ["baseline", "broken", "own", "trees"]
        assert kfp.runs[status.runner_id]["display_name"] == RUN

    def test_uses_the_uploaded_version_of_the_pipeline_again(self, root: Path, kfp: KfpStandIn) -> None:
        pipelines = make_pipelines(root, kfp)
        pipelines.start(request(RUN))
        first = ended(pipelines, RUN)
        assert first.version is not None
        uploads = kfp.uploads
        pipelines.start(request("run-b", champion=first.version.name, as_of=datetime(2013, 3, 2, tzinfo=UTC)))
        status = ended(pipelines, "run-b")
        assert status.phase is RunPhase.SUCCEEDED, status.message
        assert "against v1's" in status.gates[0].message
        assert kfp.uploads == uploads

    def test_is_remembered_when_somebody_deleted_it_from_kfp(self, root: Path, kfp: KfpStandIn) -> None:
        pipelines = make_pipelines(root, kfp)
        pipelines.start(request(RUN))
        finished = ended(pipelines, RUN)
        for run_id in [one for one, run in kfp.runs.items() if run["display_name"] == RUN]:
            del kfp.runs[run_id]
        before = len(kfp.runs)
        pipelines.start(request(RUN))
        assert len(kfp.runs) == before, "one run per trigger"
        assert pipelines.status(RUN).version == finished.version

    def test_can_be_terminated(self, root: Path, kfp: KfpStandIn) -> None:
        pipelines = make_pipelines(root, kfp)
        pipelines.start(request("run-c", as_of=datetime(2013, 2, 21, tzinfo=UTC)))
        pipelines.cancel(RunName("run-c"))
        pipelines.cancel(RunName("run-c"))
        assert ended(pipelines, "run-c").phase is RunPhase.CANCELLED

    def test_can_be_read_by_kfps_own_client(self, root: Path, kfp: KfpStandIn) -> None:
        """What the stand-in answers is what KFP's generated client understands."""
        make_pipelines(root, kfp).start(request(RUN))
        client = kfp_server_api.ApiClient(kfp_server_api.Configuration(host=kfp.url))
        listed = kfp_server_api.RunServiceApi(client).run_service_list_runs(
            experiment_id=next(iter(kfp.experiments))
        )
        run = kfp_server_api.RunServiceApi(client).run_service_get_run(listed.runs[0].run_id)
        assert run.state in {"SUCCEEDED", "CANCELED", "RUNNING", "PENDING"}
        names = [task.display_name for task in run.run_details.task_details]
        assert names[:3] == ["importer", "extract-driver", "extract"]


# -- what goes wrong


@pytest.fixture
def own(tmp_path: Path) -> Iterator[KfpStandIn]:
    (tmp_path / "kfp").mkdir()
    with KfpStandIn(tmp_path / "kfp") as kfp:
        yield kfp


def never_run(kfp: KfpStandIn) -> None:
    """Runs are kept, nothing runs."""

    class Idle:
        def poll(self) -> None:
            return None

    def start(run: dict[str, Any], *_: object) -> None:
        (kfp.folder / run["run_id"]).mkdir()
        (kfp.folder / run["run_id"] / "log").write_text("")
        kfp._processes[run["run_id"]] = Idle()  # type: ignore[assignment]

    kfp._start = start  # type: ignore[method-assign]


@pytest.fixture
def idle(own: KfpStandIn) -> Iterator[KfpStandIn]:
    never_run(own)
    yield own
    own._processes.clear()


def test_an_answer_that_was_lost_doubles_nothing(idle: KfpStandIn, tmp_path: Path) -> None:
    """FAULTS 26."""
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry())
    idle.forget_next_answer = True
    with pytest.raises(UnavailableError, match="Kubeflow Pipelines is unavailable"):
        pipelines.start(request(RUN))
    pipelines.start(request(RUN))
    assert [run["display_name"] for run in idle.runs.values()] == [RUN]
    assert pipelines.status(RUN).phase is RunPhase.RUNNING


def test_while_kfp_is_away_nothing_is_known_and_nothing_is_lost(idle: KfpStandIn, tmp_path: Path) -> None:
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry())
    pipelines.start(request(RUN))
    idle.away = True
    with pytest.raises(UnavailableError, match="no healthy upstream"):
        pipelines.status(RUN)
    idle.away = False
    assert pipelines.status(RUN).phase is RunPhase.RUNNING


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("PENDING", RunPhase.RUNNING),
        ("RUNNING", RunPhase.RUNNING),
        ("PAUSED", RunPhase.RUNNING),
        ("CANCELING", RunPhase.RUNNING),
        ("CANCELED", RunPhase.CANCELLED),
        ("FAILED", RunPhase.FAILED),
        ("SKIPPED", RunPhase.FAILED),
        # Succeeded, but nothing is registered.
        ("SUCCEEDED", RunPhase.FAILED),
        ("RUNTIME_STATE_UNSPECIFIED", RunPhase.RUNNING),
    ],
)
def test_every_state_of_kfp_has_one_meaning(
    idle: KfpStandIn, tmp_path: Path, state: str, phase: RunPhase
) -> None:
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry())
    pipelines.start(request(RUN))
    next(iter(idle.runs.values()))["state"] = state
    assert pipelines.status(RUN).phase is phase


def test_a_token_is_read_anew_for_every_call(tmp_path: Path) -> None:
    (tmp_path / "kfp").mkdir()
    token = tmp_path / "token"
    token.write_text("first\n")
    with KfpStandIn(tmp_path / "kfp", token="first") as kfp:
        never_run(kfp)
        pipelines = make_pipelines(tmp_path, kfp, MemoryRegistry(), token=token)
        pipelines.start(request(RUN))
        assert next(iter(kfp.experiments.values()))["namespace"] == "shop"
        kfp.token = "second"
        with pytest.raises(UnavailableError, match=r"audience pipelines\.kubeflow\.org"):
            pipelines.status(RUN)
        token.write_text("second\n")
        assert pipelines.status(RUN).phase is RunPhase.RUNNING
        kfp.may = False
        with pytest.raises(UnavailableError, match="kubeflow-pipelines-edit"):
            pipelines.status(RUN)
        kfp._processes.clear()


def test_a_missing_token_is_no_reason_to_go_on_without_one(idle: KfpStandIn, tmp_path: Path) -> None:
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry(), token=tmp_path / "missing")
    with pytest.raises(UnavailableError, match="projected ServiceAccount token"):
        pipelines.start(request(RUN))
    assert not idle.calls


class Pods:
    """A Kube that knows one pod."""

    def __init__(self, pod: dict[str, Any]) -> None:
        self.pod = pod

    def list(self, kind: str, namespace: str, *, labels: dict[str, str]) -> list[dict[str, Any]]:
        assert set(labels) == {"pipeline/runid"}
        return [self.pod]

    def pod_log(self, name: str, namespace: str, *, container: str, tail: int) -> str:
        return "launcher noise\ncheck: rain: 3 rows are below 0\nexit status 1"


def test_a_pod_without_a_node_is_told(idle: KfpStandIn, tmp_path: Path) -> None:
    waiting = {
        "metadata": {"name": "x"},
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
            ],
        },
    }
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry(), kube=Pods(waiting))
    pipelines.start(request(RUN))
    assert pipelines.status(RUN).message == "Unschedulable: 0/1 nodes"


def test_a_failed_step_says_why_in_its_own_words(idle: KfpStandIn, tmp_path: Path) -> None:
    failed = {"metadata": {"name": "x"}, "status": {"phase": "Failed"}}
    pipelines = make_pipelines(tmp_path, idle, MemoryRegistry(), kube=Pods(failed))
    pipelines.start(request(RUN))
    next(iter(idle.runs.values()))["state"] = "FAILED"
    assert "check: rain: 3 rows are below 0" in pipelines.status(RUN).message


def test_the_same_settings_compile_to_the_same_version_and_others_to_another(tmp_path: Path) -> None:
    first = compile_pipeline(SETTINGS, CACHE)
    assert compile_pipeline(SETTINGS, tmp_path) == first
    other = compile_pipeline(replace(SETTINGS, data_claim="other"), tmp_path)
    assert other.version != first.version
    for part in (b"deliveries-data", b"planes-db", b"deliveries-artifact-keys", b"kubernetes.io/arch"):
        assert part in first.definition
