"""Custom resources of a real API server keep the Store's contract, and stories survive two writers and restarts."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from capstan.adapters.kubernetes import story as kube_story
from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.store import FINALIZER, SYSTEM_LABEL, KubeStore, story_labels, story_name
from capstan.cluster import names
from capstan.domain.rollout import RolloutCause, RolloutName, RolloutRequest
from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.engine.records import rollout_record, rollout_request, run_record, training_request
from capstan.errors import ConflictError, NotFoundError
from capstan.ports.codec import to_json
from capstan.ports.kube import Object
from capstan.ports.store import Event, Kind, Record
from capstan.spec import parse
from capstan.testing.ports.store import AT, StoreContract, event

FLIGHTS = SystemName("flights")
TRIGGER = Trigger(TriggerKind.ALERT, AT, "DriftDetected: ks(dep_hour) 0.21 > 0.12", ("a1b2",))
VERSION = ModelVersion(
    VersionName("v2"), Digest("sha256:" + "0" * 64), RunName("run-a"), "flights:abc", AT, {"rocAuc": 0.71}
)


def system_spec(days: int = 7) -> dict[str, object]:
    """With every default written out, so that the server has none to add."""
    system = parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "flights"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "late"},
                "data": {
                    "sources": [{"name": "flights", "csv": {"path": "flights.csv"}}],
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "late", "availableAt": "known_at"},
                },
                "features": [{"name": "distance", "numeric": {}}],
                "monitoring": {"window": {"duration": f"{days}d"}},
            },
        },
        base_dir=Path(),
    )
    spec: dict[str, object] = system.model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]
    return spec


def run(name: str, system: str = "flights") -> TrainingRequest:
    return TrainingRequest(RunName(name), SystemName(system), TRIGGER, VersionName("v1"), seed=3)


def rollout(name: str, system: str = "flights") -> RolloutRequest:
    return RolloutRequest(
        RolloutName(name), SystemName(system), RolloutCause.CHALLENGER, VERSION, None, TRIGGER
    )


@pytest.fixture
def store(kube: KubeClient, namespace: str) -> KubeStore:
    return KubeStore(kube, namespace)


class TestKubeStore(StoreContract):
    keeps_the_moment_of_deletion = False

    def spec(self, kind: Kind, name: str, system: str, days: int = 7) -> dict[str, object]:
        if kind is Kind.SYSTEM:
            return system_spec(days)
        spec: dict[str, object] = to_json(run(name, system) if kind is Kind.RUN else rollout(name, system))
        return spec


def flights(store: KubeStore) -> Record:
    return store.put(Record(Kind.SYSTEM, "flights", FLIGHTS, spec=system_spec()))


def raw(kube: KubeClient, namespace: str, kind: Kind, name: str) -> Object:
    found = kube.get(kind.value, name, namespace)
    assert found is not None
    return found


def gone(kube: KubeClient, kind: str, namespace: str, seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while [o for o in kube.list(kind, namespace) if o["metadata"]["name"] != "kube-root-ca.crt"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def test_names_are_those_of_the_cluster() -> None:
    of = names.SystemNames("ml", FLIGHTS)
    assert (FINALIZER, SYSTEM_LABEL) == (names.FINALIZER, names.SYSTEM_LABEL)
    assert story_name(FLIGHTS, 3) == of.story(3)
    assert story_labels(FLIGHTS) == of.labels("story")


def test_runs_and_rollouts_are_read_as_they_were_asked_for(
    kube: KubeClient, namespace: str, store: KubeStore
) -> None:
    flights(store)
    store.put(run_record(run("flights-1")))
    store.put(rollout_record(rollout("flights-v2-1")))
    found_run, found_rollout = store.get(Kind.RUN, "flights-1"), store.get(Kind.ROLLOUT, "flights-v2-1")
    assert found_run is not None
    assert found_rollout is not None
    assert training_request(found_run) == run("flights-1")
    assert rollout_request(found_rollout) == rollout("flights-v2-1")
    spec = raw(kube, namespace, Kind.ROLLOUT, "flights-v2-1")["spec"]
    assert spec["challenger"]["bentoTag"] == "flights:abc"
    assert spec["challenger"]["metrics"] == {"rocAuc": 0.71}
    assert "champion" not in spec


def test_what_was_asked_for_never_changes(kube: KubeClient, namespace: str, store: KubeStore) -> None:
    flights(store)
    stored = store.put(run_record(run("flights-1")))
    with pytest.raises(Exception, match="never changes"):
        store.put(replace(stored, spec={**stored.spec, "seed": 4}))


def test_the_users_spec_is_never_written_with_a_status(
    kube: KubeClient, namespace: str, store: KubeStore
) -> None:
    """FAULTS 14: only the fields that Capstan owns are touched."""
    applied = kube.apply(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "flights", "namespace": namespace},
            "spec": system_spec(),
        },
        manager="gitops",
    )
    record = store.get(Kind.SYSTEM, "flights")
    assert record is not None
    store.put(replace(record, status={"phase": "Serving", "champion": None}))
    after = raw(kube, namespace, Kind.SYSTEM, "flights")
    owners = {
        entry["manager"] for entry in after["metadata"]["managedFields"] if "f:spec" in entry["fieldsV1"]
    }
    assert owners == {"gitops"}
    assert after["spec"] == applied["spec"]
    assert after["status"] == {"phase": "Serving", "champion": None}


def test_a_put_that_changes_nothing_writes_nothing(
    kube: KubeClient, namespace: str, store: KubeStore
) -> None:
    flights(store)
    stored = store.put(replace(store.put(run_record(run("flights-1"))), status={"phase": "Running"}))
    before = kube.calls["PUT", "trainingruns"]
    assert store.put(stored) == stored
    assert kube.calls["PUT", "trainingruns"] == before


def test_a_system_waits_for_the_loop_once_it_is_adopted(
    kube: KubeClient, namespace: str, store: KubeStore
) -> None:
    """FAULTS 7."""
    kube.create(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "flights", "namespace": namespace},
            "spec": system_spec(),
        }
    )
    store.adopt("flights")
    store.adopt("flights")
    assert raw(kube, namespace, Kind.SYSTEM, "flights")["metadata"]["finalizers"] == [FINALIZER]
    kube.delete("MLSystem", "flights", namespace)
    record = store.get(Kind.SYSTEM, "flights")
    assert record is not None
    assert record.deleted_at is not None
    assert abs((datetime.now(UTC) - record.deleted_at).total_seconds()) < 60
    store.delete(Kind.SYSTEM, "flights")
    assert store.get(Kind.SYSTEM, "flights") is None
    with pytest.raises(NotFoundError):
        store.adopt("flights")


def test_with_its_system_go_runs_rollouts_and_story(
    kube: KubeClient, namespace: str, store: KubeStore
) -> None:
    flights(store)
    store.put(run_record(run("flights-1")))
    store.put(rollout_record(rollout("flights-v2-1")))
    store.record_event(event("Promoted"))
    store.delete(Kind.SYSTEM, "flights")
    for kind in ("TrainingRun", "ModelRollout", "ConfigMap"):
        assert gone(kube, kind, namespace), kind


def test_two_writers_tell_everything_once_under_numbers_of_its_own(kube: KubeClient, namespace: str) -> None:
    """FAULTS 2, 6: each tells the same facts, as two operators would that both believe to be the leader."""
    first, second = KubeStore(kube, namespace), KubeStore(KubeClient.from_kubeconfig(), namespace)
    flights(first)

    def tell(store: KubeStore) -> None:
        for number in range(30):
            while True:
                try:
                    store.record_event(event(f"Fact{number}"), once=f"fact-{number}")
                except ConflictError:
                    continue
                break

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(tell, (first, second)))
    told = first.events(FLIGHTS)
    assert [number for number, _ in told] == list(range(1, 31))
    assert [e.reason for _, e in told] == [f"Fact{number}" for number in range(30)]


def test_a_repeat_costs_no_call_and_a_new_writer_reads_once(kube: KubeClient, namespace: str) -> None:
    store = KubeStore(kube, namespace)
    flights(store)
    store.record_event(event(), once="a")
    again = KubeStore(kube, namespace)
    before = kube.calls.total()
    again.record_event(event(), once="a")
    read = kube.calls.total()
    for _ in range(5):
        again.record_event(event(), once="a")
        store.record_event(event(), once="a")
    assert (read - before, kube.calls.total() - read) == (2, 0)
    assert len(store.events(FLIGHTS)) == 1


def test_a_full_chapter_is_followed_by_the_next_and_the_oldest_go(
    kube: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_story, "EVENTS_PER_CHAPTER", 3)
    monkeypatch.setattr(kube_story, "CHAPTERS_KEPT", 2)
    store = KubeStore(kube, namespace)
    flights(store)
    for number in range(8):
        KubeStore(kube, namespace).record_event(event(f"Fact{number}"), once=str(number))
    chapters = {
        o["metadata"]["name"] for o in kube.list("ConfigMap", namespace, labels=story_labels(FLIGHTS))
    }
    assert chapters == {"flights-story-2", "flights-story-3"}
    assert [(n, e.reason) for n, e in store.events(FLIGHTS, after=6)] == [(7, "Fact6"), (8, "Fact7")]


def test_a_system_of_the_same_name_begins_its_story_anew(kube: KubeClient, namespace: str) -> None:
    store = KubeStore(kube, namespace)
    flights(store)
    store.record_event(event("Promoted"), once="first/promoted")
    store.delete(Kind.SYSTEM, "flights")
    flights(store)
    # Chapters of the old one may still wait for garbage collection.
    store.record_event(event("Promoted"), once="second/promoted")
    assert [(number, e.reason) for number, e in store.events(FLIGHTS)] == [(1, "Promoted")]


def test_kubectl_tells_the_story(kube: KubeClient, namespace: str, store: KubeStore) -> None:
    flights(store)
    store.put(run_record(run("flights-1")))
    store.record_event(Event(AT, Kind.SYSTEM, "flights", "Promoted", "v2 replaces v1", {}), once="promoted")
    failed = Event(AT, Kind.RUN, "flights-1", "TrainingFailed", "no memory", {"system": "flights"})
    store.record_event(failed, once="failed")
    for name, words in {
        "mlsystem/flights": ["Normal", "Promoted", "v2 replaces v1"],
        "trainingrun/flights-1": ["Warning", "TrainingFailed", "no memory"],
    }.items():
        shown = subprocess.run(
            ["kubectl", "-n", namespace, "events", "--for", name], capture_output=True, text=True
        )
        assert [word for word in words if word not in shown.stdout] == [], shown.stdout + shown.stderr
