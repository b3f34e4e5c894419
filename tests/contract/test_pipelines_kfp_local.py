"""The Pipelines contract, on kfp.local in real child processes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from contract.training_system import write_system

from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.kubeflow.local import KfpLocalPipelines, LocalPlaces
from capstan.adapters.kubeflow.run_folder import RunFolder
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName, VersionName
from capstan.embedded.layout import StateDir
from capstan.errors import InvalidSpecError, UnavailableError
from capstan.monitoring.drift.reference import load_reference
from capstan.testing.ports.pipelines import PipelinesContract, WaitUntil, ended
from capstan.testing.ports.waiting import eventually

SYSTEM = SystemName("deliveries")
AS_OF = datetime(2013, 2, 20, tzinfo=UTC)
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = ["extract", "check", "split", "choose", "evaluate", "refit", "package", "register"]


def make_pipelines(root: Path, system=None) -> KfpLocalPipelines:
    uri = f"sqlite:///{root / 'mlflow.db'}"
    places = LocalPlaces(root / "runs", root / "secrets", root / "bentos", uri, root / "artifacts")
    registry = MlflowRegistry(SYSTEM, tracking_uri=uri, artifact_root=root / "artifacts")
    return KfpLocalPipelines(system or write_system(root / "data"), places, registry, nice=0)


def request(run: str, *, champion: str | None = None, as_of: datetime = AS_OF) -> TrainingRequest:
    kind = TriggerKind.ALERT if champion else TriggerKind.INITIAL
    return TrainingRequest(
        RunName(run), SYSTEM, Trigger(kind, as_of, "a test"), VersionName(champion) if champion else None
    )


def group(leader: int) -> list[int]:
    """Living processes of the leader's session."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return members


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipelines")


class TestKfpLocalPipelines(PipelinesContract):
    """The suite's tests share one folder, so that their run `run-a` really runs once."""

    @pytest.fixture
    def pipelines(self, root: Path) -> KfpLocalPipelines:
        return make_pipelines(root)

    @pytest.fixture
    def request_for(self) -> Callable[[str], TrainingRequest]:
        return request

    @pytest.fixture
    def wait_until(self) -> WaitUntil:
        return lambda condition: eventually(condition, 600)


def first_run(root: Path) -> tuple[KfpLocalPipelines, RunStatus]:
    pipelines = make_pipelines(root)
    pipelines.start(request("run-a"))
    return pipelines, ended(pipelines, "run-a")


def test_a_run_tells_its_steps_its_candidates_and_its_gates(root: Path) -> None:
    _, status = first_run(root)
    assert status.phase is RunPhase.SUCCEEDED, status.message
    names = [step.name for step in status.steps]
    assert [name for name in names if not name.startswith("fit ")] == STEPS
    assert {"fit baseline", "fit broken", "fit own", "fit trees"} <= set(names)
    assert all(step.finished_at is not None for step in status.steps)
    assert [step.name for step in status.steps if step.phase is not RunPhase.SUCCEEDED] == ["fit broken"]
    assert [gate.passed for gate in status.gates] == [True, True], "a first version and a small model pass"
    assert list(status.candidates) == ["baseline", "broken", "own", "trees"]


def test_a_candidate_that_raises_does_not_end_the_run(root: Path) -> None:
    _, status = first_run(root)
    assert status.candidates["broken"] == {}
    assert status.candidates["trees"]["rocAuc"] > 0.7
    broken = next(step for step in status.steps if step.name == "fit broken")
    assert broken.phase is RunPhase.FAILED
    assert "no licence for this solver" in broken.message
    assert status.chosen in (("own",), ("trees",))
    assert status.failed == {"broken": "own:broken with {}: RuntimeError: no licence for this solver"}


def test_the_model_is_what_the_contract_says_and_serves(root: Path) -> None:
    _, status = first_run(root)
    assert status.version is not None
    folder = (
        BentoPackager(root / "bentos").verify(status.version.bento_tag, status.version.digest) / MODEL_FOLDER
    )
    wanted = {"pipeline.joblib", "manifest.json", "spec.json", "sample.parquet", "detectors", "factories"}
    assert wanted <= {path.name for path in folder.iterdir()}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [column["name"] for column in manifest["columns"]] == ["rain", "depot"]
    assert manifest["run"] == "run-a"
    assert manifest["keys"] == {"id": "order_id", "time": "ordered_at"}

    from capstan.serving.model import load

    model = load(folder)
    assert model.fallback == "", "the own feature too has a path for single rows"
    watched = load_reference(folder / "detectors").features
    assert [feature.name for feature in watched] == ["rain", "depot", "soaked"]
    rainy, dry = (
        model.predict_row({"rain": 4.0, "depot": "north"}),
        model.predict_row({"rain": 0.0, "depot": "north"}),
    )
    assert rainy > dry


def test_the_next_run_is_gated_against_the_champion(root: Path) -> None:
    pipelines, first = first_run(root)
    assert first.version is not None
    pipelines.start(request("run-b", champion=first.version.name, as_of=datetime(2013, 3, 2, tzinfo=UTC)))
    status = ended(pipelines, "run-b")
    assert status.phase is RunPhase.SUCCEEDED, status.message
    gate = status.gates[0]
    assert "against v1's" in gate.message
    assert "days that v1 has not learnt from" in gate.message
    assert gate.passed is not None
    assert status.version is not None
    assert status.version.name == "v2"


def test_runners_up_are_learnt_judged_and_registered_beside_the_choice(root: Path, tmp_path: Path) -> None:
    """Two are asked for, and one of the candidates is broken."""
    _, first = first_run(root)
    assert first.version is not None
    assert first.runners_up == (), "the first model meets no other"
    pipelines = make_pipelines(root, write_system(tmp_path / "data", runners_up=2))
    run = request("run-n", champion=first.version.name, as_of=datetime(2013, 3, 2, tzinfo=UTC))
    pipelines.start(run)
    status = ended(pipelines, "run-n")
    assert status.phase is RunPhase.SUCCEEDED, status.message
    assert status.version is not None
    (one,) = status.runners_up
    assert {*status.chosen, one.candidate} == {"own", "trees"}
    assert one.version.digest != status.version.digest
    assert (one.version.run, one.version.rank, status.version.rank) == (run.run, 1, 0)
    assert [gate.metric for gate in one.gates] == [gate.metric for gate in status.gates]
    assert f"against {first.version.name}'s" in one.gates[0].message
    registry = MlflowRegistry(SYSTEM, tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    assert registry.version_of(run.run, 1) == one.version
    assert registry.version_of(run.run) == status.version
    BentoPackager(root / "bentos").verify(one.version.bento_tag, one.version.digest)


def test_the_same_data_gives_the_same_digest_elsewhere(root: Path, tmp_path: Path) -> None:
    _, first = first_run(root)
    elsewhere = make_pipelines(tmp_path)
    elsewhere.start(request("run-a"))
    second = ended(elsewhere, "run-a")
    assert first.version is not None
    assert second.version is not None
    assert second.version.digest == first.version.digest


def test_when_all_candidates_fail_the_run_fails_and_says_why(tmp_path: Path) -> None:
    system = write_system(
        tmp_path / "data", candidates=[{"name": "broken", "custom": {"factory": "own:broken"}}]
    )
    pipelines = make_pipelines(tmp_path, system)
    pipelines.start(request("run-a"))
    status = ended(pipelines, "run-a")
    assert status.phase is RunPhase.FAILED
    assert "choose: training.candidates: none can be chosen" in status.message
    assert "own:broken with {}: RuntimeError: no licence for this solver" in status.message
    pipelines.start(request("run-a"))
    assert pipelines.status(RunName("run-a")) == status, "a failed run is not run again under its name"


def test_a_baseline_does_not_go_live_because_the_own_candidate_is_broken(tmp_path: Path) -> None:
    candidates: list[dict[str, Any]] = [
        {"name": "baseline", "mostFrequent": {}},
        {"name": "own", "custom": {"factory": "own:margins"}},
    ]
    system = write_system(tmp_path / "data", candidates=candidates)
    (tmp_path / "data" / "own.py").write_text(
        "from sklearn.svm import LinearSVC\n\ndef margins():\n    return LinearSVC()\n"
    )
    pipelines = make_pipelines(tmp_path, system)
    pipelines.start(request("run-a"))
    status = ended(pipelines, "run-a")
    assert status.phase is RunPhase.FAILED
    assert status.version is None
    why = "own:margins gave LinearSVC, which has no predict_proba"
    assert "only baseline is left, a baseline, for all others failed" in status.message
    assert why in status.message
    assert why in status.failed["own"]
    assert not status.message.startswith("fit own"), "the step that ended the run comes first"

    accepted = system.spec.training.choose.model_copy(update={"baseline_alone": "Accept"})
    training = system.spec.training.model_copy(update={"choose": accepted})
    spec = system.spec.model_copy(update={"training": training})
    pipelines.use(system.model_copy(update={"spec": spec}))
    pipelines.start(request("run-b"))
    status = ended(pipelines, "run-b")
    assert (status.phase, status.chosen) == (RunPhase.SUCCEEDED, ("baseline",)), status.message
    assert why in status.failed["own"]


def test_an_own_model_with_helpers_and_a_pool_of_processes_is_trained_without_waiting(tmp_path: Path) -> None:
    system = write_system(
        tmp_path / "data", candidates=[{"name": "own", "custom": {"factory": "own:searched"}}]
    )
    (tmp_path / "data" / "own.py").write_text(
        "from grids import GRID\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.model_selection import GridSearchCV\n\n"
        "def searched():\n    return GridSearchCV(LogisticRegression(), GRID, n_jobs=2)\n"
    )
    (tmp_path / "data" / "grids.py").write_text("GRID = {'C': [0.1, 1.0]}\n")
    pipelines = make_pipelines(tmp_path, system)
    pipelines.start(request("run-a"))
    status = ended(pipelines, "run-a")
    assert status.phase is RunPhase.SUCCEEDED, status.message
    fitting = next(step for step in status.steps if step.name == "fit own")
    assert "which it left behind" in fitting.message
    assert fitting.finished_at is not None
    assert fitting.started_at is not None
    registered = next(step for step in status.steps if step.name == "register")
    assert registered.finished_at is not None
    lasted = registered.finished_at - fitting.started_at
    assert lasted < timedelta(seconds=240), "three steps fit it; a pool lives on for 300 s after each"
    assert_nobody_left_of(leader_of(pipelines))


def test_a_run_in_a_folder_whose_name_means_something_in_a_url_is_registered_there(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "100% a%20b?c#d" / ".capstan")
    state.root.mkdir(parents=True)
    system = write_system(
        state.root.parent / "my data?", candidates=[{"name": "plain", "logisticRegression": {}}]
    )
    registry = MlflowRegistry(SYSTEM, tracking_uri=state.tracking_uri, artifact_root=state.mlflow_artifacts)
    places = LocalPlaces(
        state.runs(SYSTEM), state.secrets, state.bentos, state.tracking_uri, state.mlflow_artifacts
    )
    pipelines = KfpLocalPipelines(system, places, registry, nice=0)
    pipelines.start(request("run-a"))
    status = ended(pipelines, "run-a")
    assert status.phase is RunPhase.SUCCEEDED, status.message
    assert [version.name for version in registry.versions()] == ["v1"]
    assert state.mlflow_database.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["100% a%20b?c#d"], "nothing lies elsewhere"


def test_a_killed_run_has_failed_once_and_is_not_doubled(tmp_path: Path) -> None:
    pipelines = make_pipelines(tmp_path)
    pipelines.start(request("run-a"))
    folder = RunFolder(pipelines.log(RunName("run-a")).parent)
    wait_for_steps(pipelines, 1)
    found = folder.process()
    assert found is not None
    os.kill(found[0], signal.SIGKILL)
    status = ended(pipelines, "run-a")
    assert status.phase is RunPhase.FAILED
    assert "ended without a result" in status.message
    assert "run.log" not in status.message
    later = make_pipelines(tmp_path)
    later.start(request("run-a"))
    assert later.status(RunName("run-a")) == status
    assert folder.process() == found, "nobody started it again"
    assert_nobody_left_of(leader_of(pipelines))


def wait_for_steps(pipelines: KfpLocalPipelines, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(pipelines.status(RunName("run-a")).steps) < count:
        assert pipelines.status(RunName("run-a")).phase is RunPhase.RUNNING
        assert time.monotonic() < deadline
        time.sleep(0.05)


def leader_of(pipelines: KfpLocalPipelines) -> tuple[int, str]:
    found = RunFolder(pipelines.log(RunName("run-a")).parent).process()
    assert found is not None
    return found


def assert_nobody_left_of(found: tuple[int, str]) -> None:
    deadline = time.monotonic() + 10
    while left := group(found[0]):
        assert time.monotonic() < deadline, [psutil.Process(pid).cmdline() for pid in left]
        time.sleep(0.1)


def test_cancelling_ends_all_processes_of_the_run(tmp_path: Path) -> None:
    pipelines = make_pipelines(tmp_path)
    pipelines.start(request("run-a"))
    wait_for_steps(pipelines, 1)
    assert len(group(leader_of(pipelines)[0])) > 1
    pipelines.cancel(RunName("run-a"))
    assert pipelines.status(RunName("run-a")).phase is RunPhase.CANCELLED
    assert_nobody_left_of(leader_of(pipelines))


def test_another_supervisor_sees_the_run_of_the_first(tmp_path: Path) -> None:
    pipelines = make_pipelines(tmp_path)
    pipelines.start(request("run-a"))
    later = make_pipelines(tmp_path)
    later.start(request("run-a"))
    assert later.status(RunName("run-a")).phase is RunPhase.RUNNING
    first = RunFolder(later.log(RunName("run-a")).parent).process()
    assert first is not None
    later.cancel_all()
    assert_nobody_left_of(first)
    assert pipelines.status(RunName("run-a")).phase is RunPhase.ABSENT, "interrupted is not failed"
    later.start(request("run-a"))
    assert later.status(RunName("run-a")).phase is RunPhase.RUNNING
    later.cancel(RunName("run-a"))


def test_an_unknown_factory_is_refused_before_anything_starts(tmp_path: Path) -> None:
    system = write_system(
        tmp_path / "data", candidates=[{"name": "own", "custom": {"factory": "nowhere:make"}}]
    )
    pipelines = make_pipelines(tmp_path, system)
    with pytest.raises(InvalidSpecError, match=r"there is no nowhere\.py"):
        pipelines.start(request("run-a"))
    assert pipelines.status(RunName("run-a")).phase is RunPhase.ABSENT


def test_nobody_trains_against_a_champion_that_cannot_be_looked_up(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    pipelines = make_pipelines(tmp_path)
    with pytest.raises(UnavailableError):
        pipelines.start(request("run-a", champion="v1"))
    assert pipelines.status(RunName("run-a")).phase is RunPhase.ABSENT
