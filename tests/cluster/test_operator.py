"""Claims about operators on a real API server: killed, cut off, deafened, two at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cluster.charts import installed
from cluster.operating.running import SPEC, SYSTEM, Operator, Room, wait_for

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.conditions import holds
from capstan.ports.kube import Object

pytestmark = pytest.mark.timeout(400)
GATEWAY = f"{SYSTEM}-gateway"


@pytest.fixture
def room(kube: KubeClient, namespace: str, tmp_path: Path) -> Iterator[Room]:
    room = Room(kube, namespace, tmp_path)
    yield room
    for operator in room.operators:
        print(f"--- {operator.log.name}\n{operator.log.read_text()[-6000:]}")
    room.close()


def test_a_killed_leader_is_followed_within_30_seconds_and_never_are_there_two(room: Room):
    first = room.lead(name="first")
    second = room.start("second")
    wait_for("the second stands by", lambda: second.stands_by)
    assert room.holder().startswith("first_")
    for _ in range(20):
        assert not (first.leads and second.leads)
        time.sleep(0.2)
    assert first.leads
    first.kill()
    killed = time.monotonic()
    wait_for("the second leads", lambda: second.leads, 30)
    assert time.monotonic() - killed < 30
    assert room.holder().startswith("second_")
    room.serve()


def test_a_leader_that_is_told_to_stop_hands_over_at_once_and_exits_with_0(room: Room):
    first = room.lead(name="first")
    second = room.start("second")
    wait_for("the second stands by", lambda: second.stands_by)
    room.serve()
    assert first.stop() == 0
    stopped = time.monotonic()
    wait_for("the second leads", lambda: second.leads, 15)
    assert time.monotonic() - stopped < 12
    assert second.stop() == 0
    assert room.holder() == ""


def test_an_operator_killed_again_and_again_mid_rollout_doubles_nothing(room: Room):
    chance = random.Random(4)
    operator = room.lead(hasty=True)
    room.serve()
    room.world.fire("v1", "one")
    for _ in range(5):
        time.sleep(chance.uniform(0.3, 4.0))
        operator.kill()
        operator = room.lead(hasty=True)
    room.follow("v2 is the champion", lambda: room.champion == "v2", 150)
    room.world.resolve()
    with room.world.open() as parts:
        assert [request.champion for request in parts.pipelines.started] == [None, "v1"]
        assert dict(parts.serving.starts) == {"v1": 1, "v2": 1}
        weights = [max(arm.weight for arm in split.arms) for split in parts.traffic.applied]
        assert weights == [100, 75, 50, 100], parts.traffic.applied
    assert len(room.kube.list("TrainingRun", room.namespace)) == 2
    told = Counter(story(room))
    assert [line for line, count in told.items() if count > 1] == []


def story(room: Room) -> list[str]:
    """All decisions but those about parts that did not answer."""
    from capstan.adapters.kubernetes.store import KubeStore

    events = KubeStore(room.kube, room.namespace).events()
    return [
        f"{event.kind} {event.name} {event.reason} {event.message}"
        for _, event in events
        if not event.reason.startswith("Part")
    ]


def test_an_operator_whose_connection_is_cut_ends_and_the_next_one_goes_on(room: Room):
    proxy = room.proxy()
    operator = room.lead(through=proxy, hasty=True)
    room.serve()
    room.until_canary()
    proxy.cut()
    wait_for("it ends, for it can't renew its Lease", lambda: operator.process.poll() is not None, 30)
    assert operator.process.returncode == 1
    proxy.mend()
    room.lead(through=proxy)
    room.follow("v2 is the champion", lambda: room.champion == "v2", 120, through=proxy)
    with room.world.open() as parts:
        assert len(parts.pipelines.started) == 2


def test_an_operator_that_was_away_acts_on_the_latest_file_and_on_what_is_true_now(room: Room):
    """FAULTS 4: an alert that came and went meanwhile, and a file that was replaced, are nobody's backlog."""
    operator = room.lead()
    room.serve()
    assert operator.stop() == 0
    room.world.fire("v1", "one")
    room.world.resolve()
    room.apply(suspend=True)
    room.apply(suspend=False)
    room.lead()
    wait_for("the latest file is seen", lambda: is_seen(room))
    time.sleep(5.0)
    assert room.status["phase"] == "Serving"
    with room.world.open() as parts:
        assert len(parts.pipelines.started) == 1, "the first training and no other"
    assert not any("Suspended" in line for line in story(room))


def test_a_short_cut_is_survived_by_the_same_process(room: Room):
    proxy = room.proxy()
    operator = room.lead(through=proxy)
    room.serve()
    proxy.cut()
    time.sleep(3.0)
    proxy.mend()
    room.apply(suspend=True)
    generation = room.kube.get("MLSystem", SYSTEM, room.namespace)["metadata"]["generation"]  # type: ignore[index]
    wait_for("the change is seen", lambda: room.status.get("observedGeneration") == generation)
    assert operator.process.poll() is None


def test_a_change_is_seen_within_60_seconds_though_all_watches_went_silent(room: Room):
    proxy = room.proxy()
    operator = room.lead(through=proxy)
    room.serve()
    # Nothing happens by itself any more: only a watch can tell.
    room.apply(suspend=True)
    wait_for("it is suspended", lambda: is_seen(room))
    time.sleep(6.0)
    assert proxy.silence() >= 9
    room.apply(suspend=False)
    changed = time.monotonic()
    wait_for("the change is seen", lambda: is_seen(room), 60)
    print(f"seen after {time.monotonic() - changed:.1f} s")
    assert operator.process.poll() is None
    assert operator.ask("/healthz")[0] == 200


def test_a_watched_kind_that_is_uninstalled_costs_an_operator_and_no_more(room: Room):
    group = f"{room.namespace}.example.com"
    room.kube.apply(definition_of_whims(group))
    name = f"whims.{group}"
    wait_for(
        "whims are served",
        lambda: holds(room.kube.get("CustomResourceDefinition", name) or {}, "Established"),
    )
    # The rights that operators have for what they watch.
    room.allow(group, "whims", ["get", "list", "watch"])
    first = room.lead(name="first", whims=group)
    second = room.start("second", whims=group)
    wait_for("the second stands by", lambda: second.stands_by)
    room.serve()
    room.kube.delete("CustomResourceDefinition", name)
    wait_for("the first ends", lambda: first.process.poll() is not None, 150)
    assert first.process.returncode == 1
    assert "was last opened" in first.log.read_text()
    wait_for("the second leads, though it began when there were whims", lambda: second.leads, 30)
    room.apply(suspend=True)
    wait_for("the change is seen", lambda: is_seen(room))


def definition_of_whims(group: str) -> Object:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"whims.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Whim", "plural": "whims", "singular": "whim"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def is_seen(room: Room) -> bool:
    document = room.system
    assert document is not None
    seen = document.get("status", {}).get("observedGeneration")
    return bool(seen == document["metadata"]["generation"])


def test_fixed_objects_that_somebody_edits_or_deletes_are_put_back(room: Room):
    operator = room.lead()
    room.serve()
    room.kube.patch("Deployment", GATEWAY, room.namespace, {"spec": {"minReadySeconds": 7}})
    time.sleep(1.0)
    before = room.kube.get("Deployment", GATEWAY, room.namespace)
    assert before is not None
    assert before["spec"]["minReadySeconds"] == 7, "a field that is not ours is left alone"
    assert operator.metric("capstan_objects_put_back_total") == 0
    time.sleep(5.0)
    room.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": GATEWAY, "namespace": room.namespace},
            "data": {"some": "other thing"},
        },
        manager="somebody",
    )
    room.kube.delete("Service", GATEWAY, room.namespace)
    wait_for("the Service is back", lambda: room.kube.get("Service", GATEWAY, room.namespace))
    wait_for("the ConfigMap says what it should", lambda: data_of(room) == {"some": "thing"})
    wait_for("it is told", lambda: "ObjectRestored" in room.reasons())


def data_of(room: Room) -> object:
    return (room.kube.get("ConfigMap", GATEWAY, room.namespace) or {}).get("data")


def test_a_file_that_cannot_be_followed_is_told_and_what_serves_goes_on(room: Room):
    room.lead()
    room.serve()
    # The API server's rules can't know the time zones of the world.
    room.apply(data={**SPEC["data"], "timeZone": "Mars/Base"})
    wait_for("it is refused", lambda: room.condition("Stalled") == ("True", "InvalidSpec"))
    assert room.condition("Ready") == ("False", "InvalidSpec")
    assert "InvalidSpec" in room.reasons()
    with room.world.open() as parts:
        assert list(parts.serving.readiness()) == ["v1"]
        assert parts.traffic.read_back() is not None
    room.apply()
    wait_for("it is followed again", lambda: room.condition("Ready")[0] == "True")
    assert room.condition("Stalled")[0] != "True"


def test_a_deleted_system_leaves_nothing_and_its_champion_serves_to_the_end(room: Room):
    room.lead()
    room.serve()
    room.until_canary()
    room.delete()
    wait_for("it is gone", lambda: room.system is None, 60)
    with room.world.open() as parts:
        assert parts.serving.readiness() == {}
        last = parts.traffic.read_back()
        assert last is not None
        assert [(arm.version, arm.weight) for arm in last.arms] == [("v1", 100)]
    for kind in ("TrainingRun", "ModelRollout", "Deployment", "Service", "Secret"):
        wait_for(f"no {kind} is left", lambda kind=kind: not left(room, kind))
    wait_for("no ConfigMap is left", lambda: not left(room, "ConfigMap"))
    assert (room.folder / "world" / f"{room.namespace}.{SYSTEM}.cleared").exists()


RECORD, DATA = f"{SYSTEM}-record", f"{SYSTEM}-data"


def volumes(room: Room) -> dict[str, str]:
    """Claim -> its uid: another one is another volume."""
    return {
        found["metadata"]["name"]: found["metadata"]["uid"]
        for found in room.kube.list("PersistentVolumeClaim", room.namespace)
        if "deletionTimestamp" not in found["metadata"]
    }


def told(room: Room, reason: str) -> list[str]:
    return [
        event["message"] for event in room.kube.list("Event", room.namespace) if event["reason"] == reason
    ]


def test_volumes_that_a_system_leaves_are_told_and_taken_up_by_the_next_of_its_name(room: Room):
    room.lead()
    room.serve()
    before = volumes(room)
    assert set(before) == {RECORD, DATA}
    installed.kubectl("delete", "mlsystem", SYSTEM, "-n", room.namespace, "--cascade=foreground")
    wait_for("no Deployment is left", lambda: not left(room, "Deployment"))
    time.sleep(5.0)
    assert volumes(room) == before
    [kept] = told(room, "VolumesKept")
    for part in (RECORD, DATA, f"kubectl delete pvc -n {room.namespace} -l capstan.dev/system={SYSTEM}"):
        assert part in kept
    assert told(room, "VolumesAdopted") == []

    room.apply()
    wait_for("it is told", lambda: told(room, "VolumesAdopted"))
    wait_for("a champion serves again", lambda: room.champion)
    assert volumes(room) == before
    assert RECORD in told(room, "VolumesAdopted")[0]
    room.delete()
    wait_for("it is gone", lambda: room.system is None, 60)
    installed.kubectl("delete", "pvc", "-n", room.namespace, "-l", f"capstan.dev/system={SYSTEM}")
    assert volumes(room) == {}


def test_a_kept_volume_that_does_not_fit_the_new_file_is_refused_with_its_name_before_any_training(
    room: Room,
):
    room.lead()
    room.serve()
    before = volumes(room)
    runs = len(room.kube.list("TrainingRun", room.namespace))
    room.delete()
    wait_for("it is gone", lambda: room.system is None, 60)
    wait_for("its runs are gone", lambda: not room.kube.list("TrainingRun", room.namespace))
    room.apply(monitoring={"volume": {"storageClass": "another"}})
    wait_for("it is refused", lambda: room.condition("Degraded") == ("True", "ObjectRefused"))
    assert runs == 1
    time.sleep(5.0)
    assert room.kube.list("TrainingRun", room.namespace) == []
    assert RECORD in room.status["message"], room.status["message"]
    assert volumes(room) == before


@pytest.mark.parametrize(
    ("former", "last", "stay"),
    [("Delete", "Delete", False), ("Delete", "Retain", True), ("Retain", "Delete", False)],
)
def test_the_deletion_policy_counts_as_the_file_says_in_the_end(
    room: Room, former: str, last: str, stay: bool
):
    """Also where the system goes before an operator has seen the change."""
    operator = room.lead()
    room.apply(deletionPolicy=former)
    wait_for("v1 serves", lambda: room.champion == "v1", 90)
    before = volumes(room)
    assert operator.stop() == 0
    room.apply(deletionPolicy=last)
    room.delete()
    room.lead()
    wait_for("it is gone", lambda: room.system is None, 60)
    if stay:
        wait_for("no Deployment is left", lambda: not left(room, "Deployment"))
        time.sleep(5.0)
        assert volumes(room) == before
    else:
        wait_for("no volume is left", lambda: not volumes(room))
    assert len(told(room, "VolumesKept")) == (1 if stay else 0)


def left(room: Room, kind: str) -> list[str]:
    return [
        found["metadata"]["name"]
        for found in room.kube.list(kind, room.namespace)
        if found["metadata"]["name"] != "kube-root-ca.crt"
    ]


def test_a_system_that_never_started_is_deleted_at_once(room: Room):
    room.lead()
    room.apply(suspend=True)
    wait_for("it is seen", lambda: room.status.get("phase") == "Suspended")
    room.delete()
    wait_for("it is gone", lambda: room.system is None, 10)


def test_kopf_leaves_no_trace_on_objects(room: Room):
    room.lead()
    room.serve()
    document = room.system
    assert document is not None
    assert "kopf" not in str(document)
    assert document["metadata"]["finalizers"] == ["capstan.dev/loop"]


def test_a_webhook_is_believed_with_the_token_alone_and_brings_a_look(room: Room):
    operator = room.lead()
    room.serve()
    body = {"alerts": [{"status": "firing", "labels": {"alertname": "DriftDetected", "system": SYSTEM}}]}

    def post(token: str) -> int:
        url = f"http://127.0.0.1:{operator.port}/alerts"
        headers = {"authorization": f"Bearer {token}"}
        return httpx.post(url, json=body, headers=headers, trust_env=False).status_code

    assert post("forged") == 401
    assert operator.metric('capstan_webhooks_total{outcome="refused"}') == 1
    room.world.fire("v1", "one")
    assert post("hint") == 204
    wait_for("a training is asked for", lambda: len(room.kube.list("TrainingRun", room.namespace)) == 2, 10)


def test_an_idle_system_costs_no_call_but_watches_and_the_lease(room: Room):
    operator = room.lead()
    room.serve()
    time.sleep(5.0)
    before = calls(operator)
    time.sleep(70.0)
    grown = {key: count - before.get(key, 0) for key, count in calls(operator).items()}
    others = {
        key: count for key, count in grown.items() if count and "WATCH" not in key and "leases" not in key
    }
    assert others == {}, grown


def calls(operator: Operator) -> dict[str, float]:
    return {
        name: float(value)
        for name, _, value in (
            line.rpartition(" ")
            for line in operator.ask("/metrics")[1].splitlines()
            if line.startswith("capstan_api_calls_total{")
        )
    }
