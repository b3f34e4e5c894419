"""Claims about the operator's loop: what it does with systems that begin, go on, can't be followed, and end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from simulation.operator_world import NAMES, NAMESPACE, OperatorWorld
from simulation.world import SYSTEM

from capstan.adapters.memory.loop import Batch, Training
from capstan.cluster.names import FINALIZER
from capstan.domain.batch_calendar import BatchStatus
from capstan.domain.traffic import champion_only
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.trouble import Trouble
from capstan.domain.versions import VersionName
from capstan.engine import Engine
from capstan.engine.standstill import Standstill, standstill_metrics
from capstan.errors import CapstanError, UnavailableError
from capstan_operator.loop import (
    BUSY_SECONDS,
    IDLE_SECONDS,
    REFUSED_SECONDS,
    SUSPENDED_SECONDS,
    WAITING_SECONDS,
)

INVALID = {"rollout": {"steps": [{"canary": {"weight": 140}}]}}


@pytest.fixture
def world() -> OperatorWorld:
    return OperatorWorld()


def test_an_applied_system_is_trained_and_serves(world: OperatorWorld):
    world.until_serving()
    assert world.parts.traffic.read_back() == champion_only(VersionName("v1"))
    assert world.status["phase"] == "Serving"
    assert world.condition("Ready")[0] == "True"
    assert [request.system for request in world.parts.pipelines.started] == [SYSTEM]


def test_a_system_is_held_before_anything_is_made_for_it(world: OperatorWorld):
    order: list[str] = []
    world.server.watchers.append(lambda kind, event, document: order.append(f"{kind} {event}"))
    world.apply()
    world.look()
    held = next(i for i, line in enumerate(order) if line == "MLSystem MODIFIED")
    made = next(
        i for i, line in enumerate(order) if line.startswith(("Deployment", "Service", "TrainingRun"))
    )
    assert held < made
    document = world.document
    assert document is not None
    assert document["metadata"]["finalizers"] == [FINALIZER]


def test_what_becomes_of_batches_is_an_event_of_the_system_and_is_remembered(world: OperatorWorld):
    world.apply(batch={"schedule": "0 3 * * *", "output": "predictions"})
    world.settle()
    assert world.condition("Ready")[0] == "True"
    away = BatchStatus(RunPhase.FAILED, "flights.csv: there is no such file", seconds=1.5)
    world.parts.batch = lambda order: Batch(away) if order.attempt == 1 else done(order)
    done = world.parts._predict_rows
    world.follow(timedelta(days=1.5), step=timedelta(minutes=30))
    events = [one for one in world.server.list("Event") if one["reason"].startswith("Batch")]
    assert [(one["reason"], one["type"]) for one in events[:2]] == [
        ("BatchFailed", "Warning"),
        ("BatchWritten", "Normal"),
    ]
    assert all(one["involvedObject"]["kind"] == "MLSystem" for one in events)
    assert events[0]["message"].endswith("UTC: flights.csv: there is no such file")
    assert "1,000 read, 998 written, 2 refused (distance: is below 0) by v1; in there" in events[1]["message"]
    ended = world.state["batch"]["ended"]
    assert [(one["phase"], one["attempt"], one["written"]) for one in ended] == [("Succeeded", 2, 998)] * len(
        ended
    )


def test_an_idle_system_is_looked_at_without_a_call(world: OperatorWorld):
    world.until_serving()
    world.server.calls.clear()
    for _ in range(100):
        world.clock.advance(timedelta(seconds=30))
        assert world.look() == IDLE_SECONDS
    assert not world.server.calls


def test_work_in_progress_is_followed_closely(world: OperatorWorld):
    world.parts.training = lambda _: Training(RunStatus(RunPhase.RUNNING), takes=timedelta(days=1))
    world.apply()
    assert world.settle() == BUSY_SECONDS


def test_an_invalid_file_is_told_and_what_serves_goes_on(world: OperatorWorld):
    world.until_serving()
    world.apply(**INVALID)
    assert world.settle() is None
    assert world.condition("Ready")[:2] == ("False", "InvalidSpec")
    status, reason, message = world.condition("Stalled")
    assert (status, reason) == ("True", "InvalidSpec")
    assert "140" in message
    assert any(line.startswith("InvalidSpec: ") for line in world.events())
    assert world.parts.traffic.read_back() == champion_only(VersionName("v1"))
    assert list(world.parts.serving.readiness()) == ["v1"]


def test_a_corrected_file_is_followed_again(world: OperatorWorld):
    world.apply(**INVALID)
    assert world.settle() is None
    world.apply()
    world.settle()
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    assert world.champion == "v1"
    assert world.condition("Stalled")[0] != "True"
    assert world.condition("Ready")[0] == "True"


def test_an_invalid_file_is_told_once(world: OperatorWorld):
    world.apply(**INVALID)
    world.settle()
    world.server.calls.clear()
    for _ in range(10):
        world.look()
    assert not world.server.calls


def test_what_the_file_may_say_and_nothing_carries_out_is_refused_before_anything_is_made(
    world: OperatorWorld,
):
    world.apply(serving={"traffic": {"provider": "GatewayApi"}})
    assert world.settle() is None
    assert world.condition("Stalled")[1] == "InvalidSpec"
    assert world.server.objects("Deployment") == []


def test_a_choice_that_the_cluster_lacks_is_refused_before_anything_is_made(world: OperatorWorld):
    world.lacks = "'Seldon' is not installed in this cluster"
    world.apply()
    assert world.settle() == REFUSED_SECONDS
    assert world.condition("Stalled")[1] == "NotAllowed"
    assert "not installed" in world.condition("Ready")[2]
    assert world.server.objects("Deployment") == []
    assert world.parts.pipelines.started == []
    document = world.document
    assert document is not None
    assert not document["metadata"].get("finalizers")


def test_what_the_cluster_lacked_and_now_has_is_used(world: OperatorWorld):
    world.lacks = "'Seldon' is not installed in this cluster"
    world.apply()
    world.settle()
    world.lacks = ""
    world.settle()
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    assert world.champion == "v1"


def test_a_system_that_is_suspended_from_the_start_costs_one_status_and_nothing_more(world: OperatorWorld):
    world.apply(suspend=True)
    assert world.settle() is None
    assert world.status["phase"] == "Suspended"
    assert world.parts.pipelines.started == []
    assert world.server.objects() == [("MLSystem", NAMESPACE, SYSTEM)]
    world.server.calls.clear()
    world.start()
    world.server.calls.clear()
    assert world.look() is None
    assert not world.server.calls


def test_suspending_mid_canary_leaves_the_traffic_as_it_is(world: OperatorWorld):
    world.until_canary()
    before = world.parts.traffic.read_back()
    world.apply(suspend=True)
    assert world.settle() == SUSPENDED_SECONDS
    world.follow(timedelta(days=30))
    assert world.parts.traffic.read_back() == before
    world.apply()
    world.follow(timedelta(days=30))
    assert world.champion == "v2"


def test_an_edited_fixed_object_is_put_back_and_told(world: OperatorWorld):
    world.until_serving()
    world.server.edit("Deployment", f"{SYSTEM}-gateway", NAMESPACE, {"spec": {"replicas": 7}})
    world.clock.advance(timedelta(seconds=30))
    world.settle()
    found = world.server.get("Deployment", f"{SYSTEM}-gateway", NAMESPACE)
    assert found is not None
    assert found["spec"]["replicas"] == 0
    assert any("ObjectRestored: Deployment" in line for line in world.events())


def test_an_edited_version_is_put_back_and_told(world: OperatorWorld):
    world.until_serving()
    meta = NAMES.metadata(NAMES.model(VersionName("v1")), NAMES.version_labels(VersionName("v1")), None)
    for kind, api in (("Deployment", "apps/v1"), ("Service", "v1")):
        world.cache.apply({"apiVersion": api, "kind": kind, "metadata": meta, "spec": {"replicas": 1}})
    world.clock.advance(timedelta(seconds=30))
    world.settle()
    world.server.edit("Deployment", f"{SYSTEM}-v1", NAMESPACE, {"spec": {"replicas": 7}})
    world.clock.advance(timedelta(seconds=30))
    world.settle()
    restored = [line for line in world.events() if line.startswith("ObjectRestored")]
    assert restored == [
        f"ObjectRestored: Deployment {SYSTEM}-v1 was changed or deleted by somebody else and was put back"
    ]


# -- what the cluster refuses

QUOTA = "exceeded quota: services"


def test_no_training_starts_while_a_fixed_object_is_refused(world: OperatorWorld):
    world.server.refusals["Service"] = QUOTA
    world.apply()
    world.settle()
    world.follow(timedelta(days=1), step=timedelta(hours=1))
    assert world.parts.pipelines.started == []
    assert world.server.objects("TrainingRun") == []
    for kind in ("Degraded", "Stalled"):
        holds, reason, message = world.condition(kind)
        assert (holds, reason) == ("True", "ObjectRefused"), kind
        assert f"Service {SYSTEM}-gateway is refused" in message
        assert QUOTA in message
    assert world.condition("Reconciling")[0] == "False"
    assert any(line.startswith("ObjectRefused: no training starts: Service") for line in world.events())


def test_training_starts_once_the_fixed_object_is_taken(world: OperatorWorld):
    world.server.refusals["Service"] = QUOTA
    world.apply()
    world.settle()
    del world.server.refusals["Service"]
    world.follow(timedelta(minutes=10), step=timedelta(seconds=30))
    assert world.champion == "v1"
    assert world.condition("Degraded") == ("False", "Healthy", "")
    assert world.condition("Stalled")[0] == "False"


def test_an_operator_that_starts_afresh_starts_no_training_either(world: OperatorWorld):
    world.server.refusals["Service"] = QUOTA
    world.apply()
    world.settle()
    world.start()
    world.settle()
    assert world.parts.pipelines.started == []
    assert world.condition("Degraded")[:2] == ("True", "ObjectRefused")


def test_what_serves_goes_on_while_an_object_is_refused(world: OperatorWorld):
    world.until_serving()
    world.server.refusals["Service"] = QUOTA
    world.server.delete("Service", f"{SYSTEM}-gateway", NAMESPACE)
    world.parts.fire(version="v1")
    world.follow(timedelta(days=20))
    assert len(world.parts.pipelines.started) == 1, "no retraining"
    assert world.parts.traffic.read_back() == champion_only(VersionName("v1"))
    assert world.condition("Ready")[0] == "True"
    assert world.condition("Stalled")[0] == "False"
    assert world.condition("Degraded")[:2] == ("True", "ObjectRefused")


# -- the end


def left(world: OperatorWorld) -> list[tuple[str, str, str]]:
    """What is there besides Events, which Kubernetes removes by itself, and volumes, which are kept."""
    return [place for place in world.server.objects() if place[0] not in ("Event", "PersistentVolumeClaim")]


def test_a_system_that_never_started_is_deleted_at_once(world: OperatorWorld):
    world.apply(suspend=True)
    world.settle()
    world.delete()
    assert world.look() is None
    assert left(world) == []


def test_a_system_whose_file_is_invalid_can_be_deleted(world: OperatorWorld):
    world.until_serving()
    world.apply(**INVALID)
    world.settle()
    world.delete()
    assert world.settle() is None
    assert left(world) == []


def test_a_system_that_the_cluster_can_no_longer_run_can_be_deleted(world: OperatorWorld):
    world.until_serving()
    world.start()
    world.lacks = "'Seldon' is not installed in this cluster"
    world.delete()
    assert world.settle() is None
    assert left(world) == []


def test_deleted_mid_canary_the_champion_keeps_all_traffic_until_the_end(world: OperatorWorld):
    world.until_canary()
    seen = len(world.parts.traffic.applied)
    retired: list[str] = []
    serving = world.parts.serving
    retire = serving.retire

    def noted(name: VersionName) -> None:
        split = world.parts.traffic.read_back()
        assert split == champion_only(VersionName("v1")), "still in use"
        retired.append(name)
        retire(name)

    serving.retire = noted  # type: ignore[method-assign]
    world.delete()
    for _ in range(60):
        if world.settle() is None:
            break
        world.clock.advance(timedelta(seconds=2))
    assert world.parts.traffic.applied[seen:] == [champion_only(VersionName("v1"))]
    assert retired[-1] == "v1", "the champion goes last"
    assert left(world) == []


def test_a_deletion_clears_what_no_owner_reaches(world: OperatorWorld):
    world.until_serving()
    world.delete()
    world.settle()
    assert set(world.cleared) == {f"{NAMESPACE}/{SYSTEM}"}


@pytest.mark.parametrize("broken", [{}, INVALID], ids=["a good file", "a file that is invalid"])
def test_volumes_are_kept_and_told_unless_the_file_says_delete(
    world: OperatorWorld, broken: dict[str, object]
):
    world.until_serving()
    world.apply(**broken)
    world.settle()
    world.delete()
    world.settle()
    assert [place[2] for place in world.server.objects("PersistentVolumeClaim")] == [f"{SYSTEM}-record"]
    [kept] = [line for line in world.events() if line.startswith("VolumesKept: ")]
    assert f"kubectl delete pvc -n {NAMESPACE} -l capstan.dev/system={SYSTEM}" in kept
    assert not [line for line in world.warnings() if line.startswith("VolumesKept")]
    world.apply()
    world.settle()
    [taken] = [line for line in world.events() if line.startswith("VolumesAdopted: ")]
    assert f"{SYSTEM}-record" in taken
    world.start()
    world.apply(deletionPolicy="Delete")
    world.settle()
    assert len([line for line in world.events() if line.startswith("VolumesAdopted: ")]) == 1
    [owner] = world.server.get("PersistentVolumeClaim", f"{SYSTEM}-record", NAMESPACE)["metadata"][  # type: ignore[index]
        "ownerReferences"
    ]
    document = world.document
    assert document is not None
    assert owner["uid"] == document["metadata"]["uid"]


def test_a_deletion_that_comes_during_a_look_clears_and_settles_volumes_as_any_other(
    world: OperatorWorld, monkeypatch: pytest.MonkeyPatch
):
    world.parts.training = lambda _: Training(RunStatus(RunPhase.RUNNING), takes=timedelta(days=1))
    reconcile, passes = Engine.reconcile, 0

    def during(engine: Engine, name: str, *, obstacle: str = "") -> object:
        nonlocal passes
        passes += 1
        if passes == 2:
            world.apply(deletionPolicy="Delete")
            world.delete()
        return reconcile(engine, name, obstacle=obstacle)

    monkeypatch.setattr(Engine, "reconcile", during)
    world.apply()
    for _ in range(30):
        if world.settle() is None:
            break
        world.clock.advance(timedelta(seconds=2))
    assert world.document is None
    assert world.cleared == [f"{NAMESPACE}/{SYSTEM}"]
    assert world.server.objects("PersistentVolumeClaim") == []


def test_a_deletion_does_not_wait_for_ever_for_leave_to_write_a_claim(
    world: OperatorWorld, monkeypatch: pytest.MonkeyPatch
):
    world.until_serving()
    patch = world.server.patch

    def refused(kind: str, *arguments: object, **named: object) -> object:
        if kind == "PersistentVolumeClaim":
            raise CapstanError("a policy of the cluster refuses it")
        return patch(kind, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.server, "patch", refused)
    world.delete()
    with pytest.raises(CapstanError, match="a policy of the cluster"):
        world.settle()
    world.clock.advance(timedelta(minutes=6))
    assert world.settle() is None
    assert world.document is None
    assert world.server.objects("PersistentVolumeClaim"), "nobody owns it, so nobody collects it"


def test_a_deletion_waits_for_parts_that_are_away_but_not_for_ever(world: OperatorWorld):
    world.until_canary()
    world.parts.traffic.faults.away = "no pod is ready"
    world.delete()
    assert world.settle() is not None
    assert world.document is not None
    world.clock.advance(timedelta(minutes=6))
    assert world.settle() is None
    assert left(world) == []
    assert any("DeletedUndrained" in line for line in world.events())


def test_a_deletion_whose_gateway_is_gone_does_not_wait(world: OperatorWorld):
    world.until_canary()
    world.parts.traffic.faults.away = "no pod is ready"
    world.delete()
    world.server.delete("Deployment", f"{SYSTEM}-gateway", NAMESPACE)
    assert world.settle() is None
    assert left(world) == []


def test_finalizers_of_others_are_left_alone(world: OperatorWorld):
    world.until_serving()
    document = world.document
    assert document is not None
    world.server.edit("MLSystem", SYSTEM, NAMESPACE, {"metadata": {"finalizers": [FINALIZER, "x/backup"]}})
    world.delete()
    world.settle()
    document = world.document
    assert document is not None
    assert document["metadata"]["finalizers"] == ["x/backup"]
    assert world.look() is None


def test_a_system_of_the_same_name_begins_anew(world: OperatorWorld):
    world.until_serving()
    world.delete()
    world.settle()
    world.apply()
    world.settle()
    assert world.state["run"] is None or world.state["run"]["system"] == SYSTEM
    document = world.document
    assert document is not None
    assert document["metadata"]["finalizers"] == [FINALIZER]


# -- operators that come and go


def test_a_new_operator_goes_on_and_doubles_nothing(world: OperatorWorld):
    world.until_canary()
    runs, starts = list(world.parts.pipelines.started), dict(world.parts.serving.starts)
    for _ in range(20):
        world.start()
        world.settle()
    assert world.parts.pipelines.started == runs
    assert dict(world.parts.serving.starts) == starts
    world.follow(timedelta(days=30))
    assert world.champion == "v2"


def test_an_operator_that_was_away_for_hours_acts_on_the_latest_file_alone(world: OperatorWorld):
    world.until_serving()
    for weight in (10, 20, 30):
        world.apply(rollout={"steps": [{"canary": {"weight": weight, "duration": "1h"}}]})
    world.apply(**INVALID)
    world.apply(suspend=True)
    world.apply(rollout={"steps": [{"canary": {"weight": 40, "duration": "1h", "minRequests": 1}}]})
    world.clock.advance(timedelta(hours=9))
    world.start()
    world.settle()
    assert not [line for line in world.events() if line.startswith("InvalidSpec")]
    world.follow(timedelta(days=20))
    world.parts.fire(version="v1")
    world.follow(timedelta(days=3), step=timedelta(minutes=10))
    weights = {arm.weight for split in world.parts.traffic.applied for arm in split.arms}
    assert 40 in weights
    assert not weights & {10, 20, 30}


def test_an_api_server_that_is_away_is_told_to_the_queue_and_nothing_is_lost(world: OperatorWorld):
    world.apply()
    world.server.faults.away = "connection refused"
    with pytest.raises(UnavailableError):
        world.look()
    world.server.faults.away = None
    world.settle()
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    assert world.champion == "v1"
    assert len(world.parts.pipelines.started) == 1


def test_an_outage_of_the_api_server_ends_no_rollout_by_its_deadline(world: OperatorWorld):
    """Watched objects are read as they were before it, and only what is to be written meets it."""
    world.until_serving()
    world.follow(timedelta(days=15))
    world.parts.serving.startup = timedelta(minutes=64)
    world.parts.fire(version="v1")
    while world.parts.serving.readiness().get(VersionName("v2")) is None:
        world.follow(timedelta(minutes=1), step=timedelta(seconds=30))
    world.server.faults.away = "connection refused"
    failed = 0
    for _ in range(120):
        world.clock.advance(timedelta(seconds=30))
        try:
            world.look()
        except UnavailableError:
            failed += 1
    assert failed
    world.server.faults.away = None
    world.follow(timedelta(minutes=4), step=timedelta(seconds=30))
    assert not [line for line in world.events() if "ProgressDeadlineExceeded" in line]
    world.follow(timedelta(minutes=6), step=timedelta(seconds=30))
    assert [
        line for line in world.events() if "ChallengerReady" in line or "ProgressDeadlineExceeded" in line
    ]


NO_FILE = (
    "extract: data.sources.flights: /data/flights.csv does not exist; `capstan push FILE` copies it there"
)


def failing(_: object) -> Training:
    return Training(RunStatus(RunPhase.FAILED, NO_FILE), takes=timedelta(seconds=30))


def test_a_failed_training_is_told_by_its_system_at_once_with_the_way_out(world: OperatorWorld):
    world.parts.training = failing
    world.apply()
    world.settle()
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    assert "capstan push" in world.status["message"]
    for kind, wanted in {"Ready": "False", "Stalled": "True", "Degraded": "True"}.items():
        assert world.condition(kind)[0] == wanted
    assert world.condition("Stalled")[1] == "TrainingFailed"
    assert "capstan push" in world.condition("Stalled")[2]
    assert "capstan push" in world.condition("Progressing")[2]
    warnings = world.warnings()
    assert any(line.startswith("TrainingFailed: TrainingRun ") and NO_FILE in line for line in warnings)
    assert any(line.startswith("BackingOff: ") and NO_FILE in line for line in warnings)


def test_the_operator_measures_which_systems_stand_still(world: OperatorWorld):
    world.parts.training = failing
    world.apply()
    world.settle()
    (seen,) = world.loop.standstills()
    assert seen == (NAMESPACE, SYSTEM, Standstill())
    world.follow(timedelta(days=10), step=timedelta(hours=1))
    (seen,) = world.loop.standstills()
    assert seen == (NAMESPACE, SYSTEM, Standstill(circuit_open=True))
    told = {sample.name: sample for metric in standstill_metrics([seen]) for sample in metric.samples}
    circuit = told["capstan_retraining_circuit_open"]
    assert (circuit.labels, circuit.value) == (
        {"namespace": NAMESPACE, "system": SYSTEM, "version": ""},
        1,
    )
    assert "capstan_traffic_split_not_obeyed" not in told


def test_a_failure_is_forgotten_when_a_training_succeeds(world: OperatorWorld):
    good = world.parts.training
    world.parts.training = failing
    world.apply()
    world.settle()
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    world.parts.training = good
    world.follow(timedelta(hours=2), step=timedelta(minutes=5))
    assert world.champion == "v1"
    assert world.condition("Degraded")[:2] == ("False", "Healthy")
    assert "capstan push" not in world.status["message"]


@pytest.mark.parametrize("part", ["gateway", "collector", "monitor", "v1", "training flights-1"])
def test_a_part_that_does_not_start_is_told_by_its_system_once_and_when_it_is_over(
    world: OperatorWorld, part: str
):
    trouble = Trouble(part, "ImagePullBackOff", "the image registry/x:1 cannot be pulled")
    world.troubles = [trouble]
    world.apply()
    world.settle()
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    assert str(trouble) in world.status["message"]
    assert world.condition("Degraded") == ("True", "ImagePullBackOff", str(trouble))
    assert world.warnings().count(f"PartNotStarting: {trouble}") == 1
    world.troubles = []
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    assert world.condition("Degraded")[:2] == ("False", "Healthy")
    assert f"PartStarted: {part}: ImagePullBackOff is over" in world.events()


def test_while_nothing_serves_a_part_that_does_not_start_stalls_the_system(world: OperatorWorld):
    world.parts.training = lambda _: Training(RunStatus(RunPhase.RUNNING), takes=timedelta(days=1))
    world.troubles = [Trouble("training flights-1", "Unschedulable", "0/1 nodes are available")]
    world.apply()
    world.settle()
    assert world.condition("Stalled")[:2] == ("True", "Unschedulable")
    assert world.condition("Reconciling")[0] == "False"
    world.troubles = []
    world.settle()
    assert world.condition("Stalled")[0] == "False"


def test_a_part_that_has_never_answered_is_not_missed_while_the_system_starts(world: OperatorWorld):
    world.parts.traffic.faults.away = "connection refused"
    world.apply()
    world.settle()
    world.follow(timedelta(minutes=4), step=timedelta(seconds=20))
    assert not [line for line in world.events() if line.startswith("PartAway")]
    assert world.condition("Degraded")[:2] == ("False", "Healthy")
    world.follow(timedelta(minutes=2), step=timedelta(seconds=20))
    assert [line for line in world.warnings() if line.startswith("PartAway: gateway")]


def test_a_part_that_answered_once_is_missed_at_once(world: OperatorWorld):
    world.apply()
    world.settle()
    world.parts.traffic.faults.away = "connection refused"
    world.settle()
    assert [line for line in world.warnings() if line.startswith("PartAway: gateway")]


def test_what_is_installed_apart_from_the_operator_is_waited_for_with_words(world: OperatorWorld):
    world.awaited = UnavailableError(
        "the object storage", "its keys are not there; install charts/capstan-stack"
    )
    world.apply()
    assert world.settle() == WAITING_SECONDS
    for kind in ("Stalled", "Degraded"):
        assert world.condition(kind)[0] == "True"
        assert "install charts/capstan-stack" in world.condition(kind)[2]
    assert "install charts/capstan-stack" in world.status["message"]
    assert [line for line in world.warnings() if "install charts/capstan-stack" in line]
    world.awaited = None
    world.settle()
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    assert world.champion == "v1"
    assert world.condition("Stalled")[0] == "False"
    assert world.condition("Degraded")[0] == "False"
