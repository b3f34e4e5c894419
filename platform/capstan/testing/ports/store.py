"""What every Store does; subclass it and give it the fixture `store`."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from capstan.domain.versions import SystemName
from capstan.errors import ConflictError
from capstan.ports.seals import Chain, check_seals
from capstan.ports.store import Event, Kind, Record, Store

AT = datetime(2013, 3, 1, tzinfo=UTC)


def record(name: str = "flights", kind: Kind = Kind.SYSTEM, system: str = "flights") -> Record:
    return Record(kind, name, SystemName(system), spec={"window": {"days": 7}})


def event(reason: str = "Promoted", name: str = "flights", **details: object) -> Event:
    return Event(AT, Kind.SYSTEM, name, reason, "v2 replaces v1: ä", details)


class StoreContract:
    keeps_the_moment_of_deletion = True
    """False: the store says itself when deletion was asked for."""

    def spec(self, kind: Kind, name: str, system: str, days: int = 7) -> dict[str, object]:
        """A spec of the kind that the store takes and gives back as it is; another one for other `days`."""
        return {"window": {"days": days}}

    def record(self, name: str = "flights", kind: Kind = Kind.SYSTEM, system: str = "flights") -> Record:
        return replace(record(name, kind, system), spec=self.spec(kind, name, system))

    def test_an_unknown_record_is_none(self, store: Store) -> None:
        assert store.get(Kind.SYSTEM, "nobody") is None

    def test_a_record_comes_back_as_it_was_stored(self, store: Store) -> None:
        wanted = replace(self.record(), status={"state": {"step": 1, "nothing": None}})
        stored = store.put(wanted)
        assert store.get(Kind.SYSTEM, "flights") == stored
        assert stored.resource_version > 0
        assert stored == replace(wanted, resource_version=stored.resource_version, generation=1)

    def test_deletion_that_was_asked_for_is_remembered(self, store: Store) -> None:
        asked = store.put(replace(store.put(self.record()), deleted_at=AT))
        kept = store.get(Kind.SYSTEM, "flights")
        assert kept == asked
        assert asked.deleted_at == AT if self.keeps_the_moment_of_deletion else asked.deleted_at is not None

    def test_the_status_of_a_record_that_is_being_deleted_is_still_written(self, store: Store) -> None:
        asked = store.put(replace(store.put(self.record()), deleted_at=AT))
        store.put(replace(asked, status={"phase": "Deleting"}))
        kept = store.get(Kind.SYSTEM, "flights")
        assert kept is not None
        assert (kept.status, kept.deleted_at) == ({"phase": "Deleting"}, asked.deleted_at)

    def test_a_second_creation_is_a_conflict(self, store: Store) -> None:
        store.put(self.record())
        with pytest.raises(ConflictError, match="read it again"):
            store.put(self.record())

    def test_an_outdated_write_is_a_conflict_and_changes_nothing(self, store: Store) -> None:
        first = store.put(self.record())
        store.put(replace(first, status={"phase": "Serving"}))
        with pytest.raises(ConflictError):
            store.put(replace(first, status={"phase": "Lost"}))
        kept = store.get(Kind.SYSTEM, "flights")
        assert kept is not None
        assert kept.status == {"phase": "Serving"}

    def test_the_generation_rises_with_the_spec_and_not_with_the_status(self, store: Store) -> None:
        first = store.put(self.record())
        status_only = store.put(replace(first, status={"phase": "Serving"}))
        edited = store.put(replace(status_only, spec=self.spec(Kind.SYSTEM, "flights", "flights", days=14)))
        assert [first.generation, status_only.generation, edited.generation] == [1, 1, 2]

    def test_a_write_to_a_deleted_record_is_a_conflict(self, store: Store) -> None:
        stored = store.put(self.record())
        store.delete(Kind.SYSTEM, "flights")
        store.delete(Kind.SYSTEM, "flights")
        assert store.get(Kind.SYSTEM, "flights") is None
        with pytest.raises(ConflictError):
            store.put(stored)

    def test_records_are_listed_by_kind_and_system(self, store: Store) -> None:
        store.put(self.record())
        store.put(self.record("run-b", Kind.RUN))
        store.put(self.record("run-a", Kind.RUN))
        store.put(self.record("run-c", Kind.RUN, system="other"))
        assert [r.name for r in store.list(Kind.RUN, SystemName("flights"))] == ["run-a", "run-b"]
        assert [r.name for r in store.list(Kind.RUN)] == ["run-a", "run-b", "run-c"]

    def test_nobody_shares_a_dictionary_with_the_store(self, store: Store) -> None:
        wanted = self.record()
        spec: Any = copy.deepcopy(wanted.spec)
        store.put(replace(wanted, spec=spec))
        next(iter(spec.values()))["days"] = 99
        kept = store.get(Kind.SYSTEM, "flights")
        assert kept is not None
        assert kept.spec == wanted.spec

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

    def test_each_event_is_sealed_with_the_one_before_in_its_system(self, store: Store) -> None:
        for number in range(3):
            store.record_event(event(alerts=("a", "b"), number=number), once=str(number))
            store.record_event(event(name="other"))
            store.record_event(event(number="again"), once=str(number))
        told = store.events(SystemName("flights"))
        assert check_seals(SystemName("flights"), told) == Chain(3, last_seal=told[-1][1].seal)
        assert len({one.seal for _, one in store.events()}) == 6
        number, first = told[0]
        changed = [(number, replace(first, message="v9 replaces v1")), *told[1:]]
        assert check_seals(SystemName("flights"), changed).broken_at == number
        late = check_seals(SystemName("flights"), told[1:])
        assert (late.broken_at, late.begins_late) == (None, True)
        assert check_seals(SystemName("flights"), [told[0], told[2]]).broken_at == told[2][0]
        assert check_seals(SystemName("flights"), [*told, told[1]]).broken_at == told[1][0]

    def test_events_are_told_by_system(self, store: Store) -> None:
        store.record_event(event(name="flights"))
        store.record_event(event(name="other"))
        store.record_event(Event(AT, Kind.ROLLOUT, "flights-v2", "Promoted", "", {"system": "flights"}))
        assert [e.name for _, e in store.events(SystemName("flights"))] == ["flights", "flights-v2"]

    def test_no_update_of_many_threads_is_lost(self, store: Store) -> None:
        """FAULTS 6."""
        store.put(replace(self.record(), status={"state": {"count": 0}}))

        def add(_: int) -> None:
            while True:
                found = store.get(Kind.SYSTEM, "flights")
                assert found is not None
                count = found.status["state"]["count"]
                try:
                    store.put(replace(found, status={"state": {"count": count + 1}}))
                except ConflictError:
                    continue
                return

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(20)))
        kept = store.get(Kind.SYSTEM, "flights")
        assert kept is not None
        assert kept.status == {"state": {"count": 20}}
