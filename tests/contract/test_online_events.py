"""All stores of events keep one contract."""

from __future__ import annotations

import socket
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from contract.valkey_server import PASSWORD, valkey
from event_example import AGGREGATES, PAYMENTS, START, Rows, at, document, features, micros, payment
from hypothesis import given, settings
from hypothesis import strategies as st

from capstan.adapters.bentoml.serving import BentoServing, ServiceOptions
from capstan.adapters.processes.children import ProcessSpec
from capstan.data.event_loading import events_of as rows_of
from capstan.data.event_loading import load_events
from capstan.data.event_reading import asked_events, read_events, values_of
from capstan.domain.event_windows import Event
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.refusals import require_event_stores
from capstan.errors import InvalidSpecError, MissingExtraError, UnavailableError
from capstan.online.lookup import AskedAggregate, AskedEvents, look_up
from capstan.online.memory import MemoryEvents
from capstan.online.redis import RedisEvents
from capstan.online.sqlite import SqliteEvents
from capstan.online.stores import EventStores, open_stores, servers_of
from capstan.serving import service
from capstan.serving.settings import ServiceSettings
from capstan.spec import parse
from capstan.testing.ports.online_events import COLUMNS, TABLE, OnlineEventsContract, paid


class TestMemoryEvents(OnlineEventsContract):
    @pytest.fixture
    def store(self) -> MemoryEvents:
        return MemoryEvents()


class TestSqliteEvents(OnlineEventsContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SqliteEvents:
        return SqliteEvents(tmp_path / "new" / "events.db")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with valkey() as url:
        yield url


def events_of(url: str, *, timeout: float = 30.0) -> RedisEvents:
    """A store whose keys nobody else has."""
    return RedisEvents(lambda: url, system=uuid.uuid4().hex, timeout_seconds=timeout)


class TestRedisEvents(OnlineEventsContract):
    @pytest.fixture
    def store(self, server: str) -> Iterator[RedisEvents]:
        store = events_of(server)
        yield store
        store.close()


@settings(max_examples=10, deadline=None)
@given(payments=PAYMENTS, moments=st.lists(st.integers(0, 300), min_size=1, max_size=12))
def test_a_server_that_was_fed_in_order_gives_the_bits_of_the_query_and_of_a_file(
    server: str, tmp_path_factory: pytest.TempPathFactory, payments: Rows, moments: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("history")
    trained = features(
        folder, [*payments, payment(1000, 1.0)], [one / 4 for one in moments], availableAt="known"
    )
    system = parse(document(availableAt="known"), base_dir=folder)
    (found,) = asked_events(system, [str(one["name"]) for one in AGGREGATES])
    asked = AskedEvents.of_document(found)
    columns = tuple(value.name for value in values_of(system.spec.data.events[0], system))
    table = read_events(system, 0, as_of=None, threads=1, memory=2**28, secrets=folder)
    coming = sorted(rows_of(table, columns), key=lambda one: one[1].known)
    stores = events_of(server), SqliteEvents(folder / "events.db")
    for index in sorted(range(len(moments)), key=moments.__getitem__):
        now = micros(at(moments[index] / 4))
        # What is known already comes again each time, as after a load that was broken off.
        known = [one for one in coming if one[1].known <= now]
        for store in stores:
            store.add(asked.table, columns, known, loaded_until=now)
            looked = look_up(store, asked, "anna", moment=now, now=now)
            assert not looked.late
            for name, value in looked.values.items():
                assert repr(value) == repr(trained[name][index]), (name, type(store))
    stores[0].close()


def test_events_are_loaded_into_the_server_of_the_file_and_found_there(server: str, tmp_path: Path) -> None:
    features(tmp_path, [payment(5, 2.0), payment(6, 3.0)], [10])
    online = {"urlFrom": {"secretKeyRef": {"name": "shop", "key": "url"}}}
    system = parse(document(online=online), base_dir=tmp_path)
    (found,) = asked_events(system, ["total"])
    asked, now = AskedEvents.of_document(found), START + timedelta(seconds=10)
    secrets, file, name = tmp_path / "secrets", tmp_path / "events.db", uuid.uuid4().hex
    with pytest.raises(
        InvalidSpecError, match=r"online\.urlFrom: the secret shop/url cannot be read"
    ) as told:
        require_event_stores(system, secrets)
    assert str(secrets / "shop" / "url") in str(told.value)
    (secrets / "shop").mkdir(parents=True)
    (secrets / "shop" / "url").write_text(f"{server.replace('redis://', 'valkey://')}\n")
    require_event_stores(system, secrets)

    def opened() -> EventStores:
        return open_stores(file, servers_of(system), system=name, secrets=secrets, timeout_seconds=30.0)

    load_events(system, opened(), now=now, secrets=secrets)
    looked = look_up(opened(), asked, "anna", moment=micros(at(10)), now=micros(at(10)))
    assert (dict(looked.values), looked.late) == ({"total": 5.0}, "")
    assert not file.exists()


def test_a_service_looks_up_where_the_file_says_and_tells_a_client_no_address(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "url").write_text(server)
    system = uuid.uuid4().hex
    started: list[ProcessSpec] = []
    options = ServiceOptions(
        SystemName(system), tmp_path, events_file=tmp_path / "events.db", secrets=tmp_path,
        events_servers={TABLE: ("shop", "url")},
    )  # fmt: skip
    supervisor = SimpleNamespace(port=lambda _: 1, status=dict, adopt=list, ensure=started.append)
    packager = SimpleNamespace(verify=lambda *_: None)
    version = ModelVersion(VersionName("v1"), Digest("d"), RunName("r"), "shop:a", START)
    BentoServing(supervisor, packager, options).deploy(version)  # type: ignore[arg-type]
    assert PASSWORD not in repr(started[0])
    monkeypatch.setattr(service, "settings", ServiceSettings.from_environment(started[0].env))
    RedisEvents(lambda: server, system=system).add(TABLE, COLUMNS, [("anna", paid(5))], loaded_until=9)
    store = service._events()
    assert store is not None
    assert list(store.find(TABLE, "anna", since=0, before=9).events) == [paid(5)]
    assert store.find("another", "anna", since=0, before=9).loaded_until is None
    (tmp_path / "shop" / "url").write_text(f"redis://:{PASSWORD}@127.0.0.1:1/0")
    asked = AskedEvents(TABLE, "customer", 10, "Refuse", (AskedAggregate("n", "Count", None, 9),))
    store = service._events()
    assert store is not None
    late = look_up(store, asked, "anna", moment=9, now=9).late
    assert late.startswith("whose store does not answer")
    assert PASSWORD not in late
    assert "127.0.0.1" not in late


def test_a_file_with_a_server_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r"capstan-mlops\[redis\]"):
        RedisEvents(lambda: "redis://127.0.0.1", system="s")


def test_two_writers_of_a_server_lose_nothing_of_each_other(server: str) -> None:
    store = events_of(server)
    store.add(TABLE, COLUMNS, [("anna", paid(5))], loaded_until=9, oldest=1)
    other = RedisEvents(lambda: server, system=store._system)

    def coming() -> Iterator[tuple[str, Event]]:
        yield "anna", paid(6)
        other.add(TABLE, COLUMNS, [("anna", paid(7)), ("bob", paid(8))], loaded_until=30, oldest=0)

    store.add(TABLE, COLUMNS, coming(), loaded_until=20, oldest=1)
    assert sorted(store.find(TABLE, "anna", since=0, before=99).events) == [paid(5), paid(6), paid(7)]
    assert (store.state(TABLE), store.oldest(TABLE)) == ((COLUMNS, 30), 0)


def test_a_change_that_another_one_overtakes_is_made_again(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = events_of(server)
    store.add(TABLE, COLUMNS, [("anna", paid(5)), ("bob", paid(1))], loaded_until=9, oldest=0)
    other = RedisEvents(lambda: server, system=store._system)
    executed = redis.client.Pipeline.execute
    overtaken: list[bool] = []

    def overtaking(self: redis.client.Pipeline, *rest: object, **more: object) -> object:
        if self.watching and not overtaken:
            overtaken.append(True)
            other.add(TABLE, COLUMNS, [("bob", paid(2))], loaded_until=40)
        return executed(self, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(redis.client.Pipeline, "execute", overtaking)
    assert store.forget(TABLE, before=3) == 2
    assert overtaken
    assert (store.state(TABLE)[1], store.oldest(TABLE)) == (40, 3)
    assert list(store.find(TABLE, "bob", since=0, before=99).events) == []


def test_nothing_is_left_of_a_table_whose_events_are_replaced_or_forgotten(server: str) -> None:
    store = events_of(server)
    store.add(TABLE, COLUMNS, [(f"e{one}", paid(one)) for one in range(9)], loaded_until=9)
    store.add(TABLE, COLUMNS[:1], [("anna", Event(6, 6, (2.0,)))], loaded_until=9)
    with redis.Redis.from_url(server) as client:
        assert len(client.keys(f"*{store._system}*")) == 3
        assert store.forget(TABLE, before=7) == 1
        assert len(client.keys(f"*{store._system}*")) == 1


def test_systems_of_one_server_have_events_of_their_own(server: str) -> None:
    store, other = events_of(server), events_of(server)
    store.add(TABLE, COLUMNS, [("anna", paid(5))], loaded_until=9)
    assert other.state(TABLE) == ((), None)
    assert list(other.find(TABLE, "anna", since=0, before=99).events) == []


def test_a_server_that_is_not_there_is_told_without_its_address_and_password(server: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(UnavailableError, match=r"connecting to the server\. Connection refused") as told:
            events_of(f"redis://:{PASSWORD}@127.0.0.1:{port}").find(TABLE, "anna", since=0, before=9)
    assert PASSWORD not in str(told.value)
    assert str(port) not in str(told.value)
    with pytest.raises(UnavailableError, match=r"(?i)password") as told:
        events_of(server.replace(PASSWORD, "another-one")).find(TABLE, "anna", since=0, before=9)
    assert "another-one" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("mysql://user:hunter2@host/db", "of the kind 'mysql'"),
        ("hunter2", "without a scheme"),
        ("redis://:hunter2@host:port/0", "cannot be read"),
    ],
)
def test_an_address_of_no_such_server_is_refused_without_the_password(address: str, told: str) -> None:
    with pytest.raises(UnavailableError, match=told) as found:
        events_of(address).state(TABLE)
    assert PASSWORD not in str(found.value)
    assert "rediss://" in str(found.value)


def test_a_server_that_says_nothing_is_waited_for_within_a_bound() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        store = events_of(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match="Timeout"):
            store.find(TABLE, "anna", since=0, before=9)
        assert time.monotonic() - begun < 5


def test_a_password_that_changes_is_read_again(server: str) -> None:
    addresses = iter([server.replace(PASSWORD, "old"), server])
    store = RedisEvents(lambda: next(addresses), system="s")
    with pytest.raises(UnavailableError):
        store.state(TABLE)
    assert store.state(TABLE) == ((), None)


def test_a_server_that_drops_keys_when_it_is_full_gets_no_events() -> None:
    with valkey("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as url:
        store = events_of(url)
        with pytest.raises(UnavailableError, match="noeviction"):
            store.add(TABLE, COLUMNS, [("anna", paid(5))], loaded_until=9)
        assert store.state(TABLE) == ((), None)


def test_a_reader_goes_on_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    store = SqliteEvents(path)
    store.add(TABLE, COLUMNS, [("anna", paid(5))], loaded_until=9)
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("begin immediate")
        writer.execute("delete from events")
        reader = SqliteEvents(path, busy_timeout_seconds=0.05)
        assert len(reader.find(TABLE, "anna", since=0, before=9).events) == 1
        writer.execute("rollback")


def test_a_file_that_is_no_database_is_told_as_a_store_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_text("no database, whatever its name says, and long enough to be one" * 99)
    with pytest.raises(UnavailableError, match=r"events\.db"):
        SqliteEvents(tmp_path / "events.db").find(TABLE, "anna", since=0, before=9)


def test_a_load_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    store = SqliteEvents(tmp_path / "events.db")
    store.add(TABLE, COLUMNS, [("anna", paid(5))], loaded_until=9)

    def broken() -> object:
        yield "anna", paid(6)
        raise RuntimeError("the source ended")

    with pytest.raises(RuntimeError):
        store.add(TABLE, COLUMNS, broken(), loaded_until=20)  # type: ignore[arg-type]
    assert list(store.find(TABLE, "anna", since=0, before=99).events) == [paid(5)]
    assert store.state(TABLE) == (COLUMNS, 9)
