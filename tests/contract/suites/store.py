"""What every Store does; subclass it and give it the fixture `store`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from capstan.domain.versions import SystemName
from capstan.errors import ConflictError
from capstan.ports.store import Event, Kind, Record, Store

AT = datetime(2013, 3, 1, tzinfo=UTC)


def record(name: str = "flights", kind: Kind = Kind.SYSTEM, system: str = "flights") -> Record:
    return Record(kind, name, SystemName(system), spec={"window": {"days": 7}})


def event(reason: str = "Promoted", name: str = "flights", **details: object) -> Event:
    return Event(AT, Kind.SYSTEM, name, reason, "v2 replaces v1: ä", details)


class StoreContract:
    def test_an_unknown_record_is_none(self, store: Store) -> None:
        assert store.get(Kind.SYSTEM, "nobody") is None

    def test_a_record_comes_back_as_it_was_stored(self, store: Store) -> None:
        stored = store.put(replace(record(), status={"state": {"step": 1}}, deleted_at=AT))
        assert store.get(Kind.SYSTEM, "flights") == stored
        assert (stored.resource_version, stored.generation, stored.deleted_at) == (1, 1, AT)
        assert stored.status == {"state": {"step": 1}}

    def test_a_second_creation_is_a_conflict(self, store: Store) -> None:
        store.put(record())
        with pytest.raises(ConflictError, match="read it again"):
            store.put(record())

    def test_an_outdated_write_is_a_conflict_and_changes_nothing(self, store: Store) -> None:
        first = store.put(record())
        store.put(replace(first, status={"phase": "Serving"}))
        with pytest.raises(ConflictError):
            store.put(replace(first, status={"phase": "Lost"}))
        kept = store.get(Kind.SYSTEM, "flights")
        assert kept is not None
        assert kept.status == {"phase": "Serving"}

    def test_the_generation_rises_with_the_spec_and_not_with_the_status(self, store: Store) -> None:
        first = store.put(record())
        status_only = store.put(replace(first, status={"phase": "Serving"}))
        edited = store.put(replace(status_only, spec={"window": {"days": 14}}))
        assert [first.generation, status_only.generation, edited.generation] == [1, 1, 2]

    def test_a_write_to_a_deleted_record_is_a_conflict(self, store: Store) -> None:
        stored = store.put(record())
        store.delete(Kind.SYSTEM, "flights")
        store.delete(Kind.SYSTEM, "flights")
        assert store.get(Kind.SYSTEM, "flights") is None
        with pytest.raises(ConflictError):
            store.put(stored)

    def test_records_are_listed_by_kind_and_system(self, store: Store) -> None:
        store.put(record())
        store.put(record("run-b", Kind.RUN))
        store.put(record("run-a", Kind.RUN))
        store.put(record("run-c", Kind.RUN, system="other"))
        assert [r.name for r in store.list(Kind.RUN, SystemName("flights"))] == ["run-a", "run-b"]
        assert [r.name for r in store.list(Kind.RUN)] == ["run-a", "run-b", "run-c"]

    def test_nobody_shares_a_dictionary_with_the_store(self, store: Store) -> None:
        spec = {"window": {"days": 7}}
        store.put(replace(record(), spec=spec))
        spec["window"]["days"] = 99
        kept = store.get(Kind.SYSTEM, "flights")
        assert kept is not None
        assert kept.spec == {"window": {"days": 7}}

    def test_events_come_back_in_order_with_rising_numbers(self, store: Store) -> None:
        for reason in ("DriftDetected", "TrainingRequested", "Promoted"):
            store.record_event(event(reason, alerts=["a", "b"]))
        told = store.events()
        assert [e.reason for _, e in told] == ["DriftDetected", "TrainingRequested", "Promoted"]
        assert [number for number, _ in told] == sorted({number for number, _ in told})
        assert told[0][1] == event("DriftDetected", alerts=["a", "b"])
        assert [e.reason for _, e in store.events(after=told[1][0])] == ["Promoted"]

    def test_an_event_of_one_key_is_told_once(self, store: Store) -> None:
        """FAULTS 1, 28."""
        for _ in range(3):
            store.record_event(event(), once="flights/promoted")
        store.record_event(event(), once="flights/promoted-again")
        store.record_event(event())
        store.record_event(event())
        assert len(store.events()) == 4

    def test_events_are_told_by_system(self, store: Store) -> None:
        store.record_event(event(name="flights"))
        store.record_event(event(name="other"))
        store.record_event(Event(AT, Kind.ROLLOUT, "flights-v2", "Promoted", "", {"system": "flights"}))
        assert [e.name for _, e in store.events(SystemName("flights"))] == ["flights", "flights-v2"]

    def test_no_update_of_many_threads_is_lost(self, store: Store) -> None:
        """FAULTS 6."""
        store.put(replace(record(), status={"count": 0}))

        def add(_: int) -> None:
            while True:
                found = store.get(Kind.SYSTEM, "flights")
                assert found is not None
                try:
                    store.put(replace(found, status={"count": found.status["count"] + 1}))
                except ConflictError:
                    continue
                return

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(20)))
        kept = store.get(Kind.SYSTEM, "flights")
        assert kept is not None
        assert kept.status == {"count": 20}
