"""Trainings as Jobs in a real cluster: data from a claim, the Bento to a volume, the version into an MLflow server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from cluster.training_namespace import QUICK, SYSTEM, TrainingNamespace, training_namespace

from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.wiring.training import pipelines_of
from capstan.domain.training import RunPhase, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, VersionName
from capstan.errors import NotFoundError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
AS_OF = datetime(2013, 2, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def room(
    kube: KubeClient, new_namespace: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrainingNamespace]:
    with training_namespace(kube, new_namespace(), tmp_path_factory.mktemp("data")) as room:
        yield room


def request(run: str, *, champion: VersionName | None = None, as_of: datetime = AS_OF) -> TrainingRequest:
    kind = TriggerKind.ALERT if champion else TriggerKind.INITIAL
    return TrainingRequest(RunName(run), SYSTEM, Trigger(kind, as_of, "a test"), champion)


def test_a_run_trains_on_the_claim_and_leaves_a_version_that_can_be_fetched(room: TrainingNamespace) -> None:
    pipelines, run = room.pipelines(), RunName("run-a")
    assert pipelines.status(run).phase is RunPhase.ABSENT
    pipelines.start(request("run-a"))
    seen = room.until(
        lambda: pipelines.status(run),
        lambda status: bool(status.steps) or status.phase is not RunPhase.RUNNING,
    )
    assert seen.phase is RunPhase.RUNNING, "progress is told while it works"
    status = room.ended(pipelines, run)
    assert status.phase is RunPhase.SUCCEEDED, status.message
    assert [step.name for step in status.steps if not step.name.startswith("fit ")][-1] == "register"
    assert [gate.passed for gate in status.gates] == [True, True]
    assert status.version is not None
    assert room.registry.version_of(run) == status.version
    room.fetch(status.version.bento_tag, status.version.digest)

    room.pipelines().start(request("run-a"))
    assert room.pipelines().status(run).version == status.version, "another operator sees the same run"
    assert len(room.registry.versions()) == 1
    job = room.kube.get("Job", "run-a", room.namespace)
    files = room.kube.get("ConfigMap", "run-a", room.namespace)
    assert job is not None
    assert files is not None
    assert files["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]


def test_an_evicted_run_is_run_once_more_and_gives_one_version(room: TrainingNamespace) -> None:
    """FAULTS 26, 32; besides, a Bento that another pod made is the champion that it is compared with."""
    champion = room.registry.versions()[0]
    # The pod has time to end its work before it is killed, so the work must outlast that.
    unhurried = room.system([*QUICK, {"name": "unhurried", "custom": {"factory": "own:unhurried"}}])
    pipelines, run = room.pipelines(unhurried), RunName("run-b")
    pipelines.start(request("run-b", champion=champion.name, as_of=datetime(2013, 3, 2, tzinfo=UTC)))
    room.until(lambda: pipelines.status(run), lambda status: len(status.steps) > 1)
    first = room.pods(run)[0]["metadata"]["name"]
    with room.evicted(first):
        told = room.until(
            lambda: pipelines.status(run),
            lambda status: "started again after" in status.message or status.phase is not RunPhase.RUNNING,
        )
    assert "EvictionByEvictionAPI" in told.message
    status = room.ended(pipelines, run)
    assert status.phase is RunPhase.SUCCEEDED, status.message
    assert f"against {champion.name}'s" in status.gates[0].message
    assert [version.run for version in room.registry.versions()] == ["run-a", "run-b"]


def test_a_cancelled_run_ends_its_pod_and_is_not_begun_again(room: TrainingNamespace) -> None:
    pipelines, run = room.pipelines(), RunName("run-c")
    pipelines.start(request("run-c", as_of=datetime(2013, 2, 21, tzinfo=UTC)))
    room.until(lambda: pipelines.status(run), lambda status: bool(status.steps))
    pipelines.cancel(run)
    assert pipelines.status(run).phase is RunPhase.CANCELLED
    room.until(
        lambda: room.pods(run),
        lambda pods: all(pod["status"].get("phase") not in ("Pending", "Running") for pod in pods),
        60,
    )
    pipelines.start(request("run-c"))
    assert pipelines.status(run).phase is RunPhase.CANCELLED
    assert room.registry.version_of(run) is None
    pipelines.cancel(run)
    pipelines.cancel(RunName("run-a"))
    assert pipelines.status(RunName("run-a")).phase is RunPhase.SUCCEEDED


def test_a_training_that_fails_says_why_and_is_not_tried_again(room: TrainingNamespace) -> None:
    broken = room.system([{"name": "broken", "custom": {"factory": "own:broken"}}])
    pipelines, run = room.pipelines(broken), RunName("run-d")
    pipelines.start(request("run-d"))
    status = room.ended(pipelines, run)
    assert status.phase is RunPhase.FAILED
    assert "own:broken with {}: RuntimeError: no licence for this solver" in status.message
    assert len(room.pods(run)) == 1


def test_a_run_without_a_node_says_so_at_once(room: TrainingNamespace) -> None:
    """FAULTS 26."""
    nowhere = room.system(QUICK, nodeSelector={"capstan.dev/nowhere": "true"})
    pipelines, run = room.pipelines(nowhere), RunName("run-e")
    pipelines.start(request("run-e"))
    status = room.until(lambda: pipelines.status(run), lambda status: "Unschedulable" in status.message, 30)
    assert status.phase is RunPhase.RUNNING
    assert "affinity/selector" in status.message
    pipelines.cancel(run)
    assert pipelines.status(run).phase is RunPhase.CANCELLED


def test_an_image_that_cannot_be_had_says_so(room: TrainingNamespace) -> None:
    """FAULTS 26."""
    settings = room.settings
    missing = settings.model_copy(
        update={"images": settings.images.model_copy(update={"python": "nowhere.invalid/capstan:0"})}
    )
    pipelines = pipelines_of(room.system(), room.names, missing, None, room.kube, room.registry)
    pipelines.start(request("run-f"))
    run = RunName("run-f")
    status = room.until(lambda: pipelines.status(run), lambda status: "Image" in status.message, 90)
    assert status.phase is RunPhase.RUNNING
    assert "Pull" in status.message
    pipelines.cancel(run)


def test_a_champion_that_nobody_knows_starts_nothing(room: TrainingNamespace) -> None:
    with pytest.raises(NotFoundError, match="v99"):
        room.pipelines().start(request("run-g", champion=VersionName("v99")))
    assert room.kube.get("Job", "run-g", room.namespace) is None
