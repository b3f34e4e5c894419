"""Claims about the loop's memory in the status of a custom resource."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from capstan.adapters.kubernetes.compressed_state import FIELD, from_status, to_status
from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.domain.versions import SystemName
from capstan.errors import CapstanError, ConflictError
from capstan.ports.seals import check_seals
from capstan.ports.store import Event, Kind, Record

STATUS: dict[str, Any] = {
    "phase": "Training",
    "conditions": [{"type": "Ready", "status": "False"}],
    "state": {"champion": None, "step": 3, "previous": [{"name": "v1"}] * 50},
    "outbox": [{"reason": "TrainingStarted", "message": "ü"}],
}


def system(status: dict[str, Any], *, version: int = 0) -> Record:
    return Record(
        Kind.SYSTEM, "churn", SystemName("churn"), spec={"a": 1}, status=status, resource_version=version
    )


def test_a_status_is_read_back_as_it_was_written() -> None:
    document = {"kind": "MLSystem", "metadata": {"name": "churn"}, "status": to_status(STATUS)}
    assert from_status(document) == STATUS


def test_readers_see_columns_and_conditions_and_one_text() -> None:
    kube = MemoryKube()
    KubeStore(kube, "shop").put(system(STATUS))
    stored = kube.get("MLSystem", "churn", "shop")
    assert stored is not None
    status = stored["status"]
    assert status.keys() == {"phase", "conditions", FIELD}
    assert "\n" not in status[FIELD]
    assert len(status[FIELD]) < 400
    assert json.loads(gzip.decompress(base64.b64decode(status[FIELD])))["state"] == STATUS["state"]


def test_the_same_memory_is_the_same_text() -> None:
    assert to_status(STATUS) == to_status(STATUS)


def test_state_outbox_and_conditions_are_stored_in_one_write() -> None:
    kube = MemoryKube()
    store = KubeStore(kube, "shop")
    first = store.put(system(STATUS))
    kube.calls.clear()
    store.put(replace(first, status={**STATUS, "phase": "Serving", "state": {"step": 4}, "outbox": []}))
    assert kube.calls["replace", "MLSystem"] == 1
    assert sum(count for (verb, _), count in kube.calls.items() if verb != "get") == 1


def test_who_read_an_older_memory_writes_nothing() -> None:
    kube = MemoryKube()
    store = KubeStore(kube, "shop")
    first = store.put(system(STATUS))
    store.put(replace(first, status={**STATUS, "state": {"step": 4}}))
    with pytest.raises(ConflictError):
        store.put(replace(first, status={**STATUS, "outbox": []}))
    found = store.get(Kind.SYSTEM, "churn")
    assert found is not None
    assert found.status == {**STATUS, "state": {"step": 4}}


@pytest.mark.parametrize(
    "text",
    [
        "no base64!",
        base64.b64encode(b"no gzip").decode(),
        base64.b64encode(gzip.compress(b"no json")).decode(),
    ],
    ids=["no base64", "no gzip", "no json"],
)
def test_a_damaged_memory_is_told_with_the_object_and_the_way_out(text: str) -> None:
    document = {"kind": "MLSystem", "metadata": {"name": "churn"}, "status": {FIELD: text}}
    with pytest.raises(CapstanError, match=r"MLSystem churn: status\.memory .* restore"):
        from_status(document)


def test_two_writers_never_tell_two_events_after_the_same_one() -> None:
    """The second knows less than is there, and its event is too long for the chapter that it knows."""
    kube, churn = MemoryKube(), SystemName("churn")
    one, other = KubeStore(kube, "ns"), KubeStore(kube, "ns")
    one.put(system(STATUS))

    def told(length: int) -> Event:
        return Event(datetime(2026, 1, 1, tzinfo=UTC), Kind.SYSTEM, "churn", "Told", "", {"x": "y" * length})

    for _ in range(10):
        one.record_event(told(59_000))
    other.record_event(told(10))
    one.record_event(told(10))
    other.record_event(told(15_000))
    one.record_event(told(10))
    events = one.events(churn)
    assert [number for number, _ in events] == list(range(1, 15))
    assert check_seals(churn, events).broken_at is None
