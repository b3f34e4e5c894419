"""What a service looks up has the bits of what a training reads, for each moment of a history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from event_example import AGGREGATES, PAYMENTS, START, Rows, at, document, features, micros, payment
from hypothesis import given, settings
from hypothesis import strategies as st

from capstan.data.event_loading import events_of, load_events
from capstan.data.event_reading import asked_events, read_events, text_of, values_of
from capstan.data.moments import column_types
from capstan.online.lookup import AskedEvents, look_up
from capstan.online.memory import MemoryEvents
from capstan.online.sqlite import SqliteEvents
from capstan.ports.online_events import OnlineEvents
from capstan.spec import MLSystem, parse

NAMES = [str(one["name"]) for one in AGGREGATES]


DAY = 86400


def counted(days: int) -> list[dict[str, str]]:
    return [{"name": "n", "function": "Count", "window": f"{days}d"}]


def asked(system: MLSystem) -> AskedEvents:
    (found,) = asked_events(system, NAMES)
    return AskedEvents.of_document(found)


def looked(store: OnlineEvents, system: MLSystem, moment: int) -> dict[str, Any]:
    return dict(look_up(store, asked(system), "anna", moment=moment, now=moment).values)


@settings(max_examples=12, deadline=None)
@given(payments=PAYMENTS, moments=st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_a_store_that_was_fed_in_order_gives_the_bits_of_the_query(
    tmp_path_factory: pytest.TempPathFactory, payments: Rows, moments: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("history")
    rows = [*payments, payment(1000, 1.0)]
    trained = features(folder, rows, [moment / 4 for moment in moments], availableAt="known")
    system = parse(document(availableAt="known"), base_dir=folder)
    columns = tuple(value.name for value in values_of(system.spec.data.events[0], system))
    table = read_events(system, 0, as_of=None, threads=1, memory=2**28, secrets=folder)
    coming = sorted(events_of(table, columns), key=lambda one: one[1].known)
    for store in (MemoryEvents(), SqliteEvents(folder / "events.db")):
        fed = 0
        for index in sorted(range(len(moments)), key=moments.__getitem__):
            now = micros(at(moments[index] / 4))
            until = sum(one.known <= now for _, one in coming)
            store.add(asked(system).table, columns, coming[fed:until], loaded_until=now)
            fed = until
            found = looked(store, system, now)
            for name in NAMES:
                assert repr(found[name]) == repr(trained[name][index]), (name, type(store))


def test_loads_bring_what_became_known_since_and_twice_is_once(tmp_path: Path) -> None:
    payments = [payment(second, 0.1, known=at(second + second % 3)) for second in range(0, 60, 2)]
    payments += [payment(30, 0.1), payment(30, 0.1)]
    moments = [10, 20, 31, 45, 59]
    trained = features(tmp_path, payments, moments, availableAt="known")
    system = parse(document(availableAt="known"), base_dir=tmp_path)
    store = SqliteEvents(tmp_path / "events.db")
    read = []
    for index, moment in enumerate(moments):
        now = START + timedelta(seconds=moment)
        for _ in range(2):
            (told,) = load_events(system, store, now=now, secrets=tmp_path)
        read.append(told.read)
        assert looked(store, system, micros(at(moment))) == {name: trained[name][index] for name in NAMES}
    assert max(read) <= 3


def test_a_whole_load_finds_what_was_written_late_and_old_events_are_dropped(tmp_path: Path) -> None:
    features(tmp_path, [payment(0), payment(5)], [10])
    system = parse(document(), base_dir=tmp_path)
    store = MemoryEvents()
    now = START + timedelta(seconds=10)
    load_events(system, store, now=now, secrets=tmp_path)
    features(tmp_path, [payment(0), payment(3), payment(5)], [10])
    (told,) = load_events(system, store, now=now, secrets=tmp_path)
    assert (told.read, looked(store, system, micros(at(10)))["n"]) == (0, 2.0)
    load_events(system, store, now=now, secrets=tmp_path, whole=True)
    assert looked(store, system, micros(at(10)))["n"] == 3.0
    (told,) = load_events(system, store, now=now + timedelta(days=2), secrets=tmp_path)
    assert told.forgotten == 3


def test_a_store_that_is_behind_says_so(tmp_path: Path) -> None:
    features(tmp_path, [payment(5)], [10])
    system = parse(document(freshness="10s"), base_dir=tmp_path)
    store = MemoryEvents()
    moment = micros(at(10))
    late = look_up(store, asked(system), "anna", moment=moment, now=moment)
    assert late.late == "that were never loaded; run `capstan features`"
    assert set(late.values.values()) == {None}
    load_events(system, store, now=datetime(2024, 3, 1, 0, 0, 10, tzinfo=UTC), secrets=tmp_path)
    assert not look_up(store, asked(system), "anna", moment=moment, now=moment + 10**7).late
    late = look_up(store, asked(system), "anna", moment=moment, now=moment + 11 * 10**6)
    assert late.late == "loaded 11 s ago, which is beyond the freshness of 10 s"
    assert late.values["n"] == 1.0
    long_ago = look_up(store, asked(system), "anna", moment=moment - 2 * 86400 * 10**6, now=moment)
    assert "no longer kept" in long_ago.late


def test_two_entries_of_the_same_events_share_a_table_that_has_the_columns_of_both(tmp_path: Path) -> None:
    payments = [payment(5, 2.0, shop="a"), payment(6, 3.0, shop="b")]
    features(tmp_path, payments, [10])
    written = document([{"name": "total", "function": "Sum", "column": "amount", "window": "20s"}])
    data = written["spec"]["data"]
    shops = {"name": "shops", "function": "Distinct", "column": "shop", "window": "20s"}
    data["events"].append({**data["events"][0], "entity": "friend", "key": "customer", "aggregates": [shops]})
    written["spec"]["features"].append({"name": "shops", "numeric": {}})
    system = parse(written, base_dir=tmp_path)
    store = MemoryEvents()
    now, moment = START + timedelta(seconds=10), micros(at(10))
    for _ in range(2):
        (told,) = load_events(system, store, now=now, secrets=tmp_path)
    assert told.read == 0
    both = [AskedEvents.of_document(one) for one in asked_events(system, ["total", "shops"])]
    looked_up = [look_up(store, one, "anna", moment=moment, now=moment) for one in both]
    assert [(dict(one.values), one.late) for one in looked_up] == [({"total": 5.0}, ""), ({"shops": 2.0}, "")]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_window_that_becomes_longer_reads_all_that_it_reaches(tmp_path: Path, kind: str) -> None:
    features(tmp_path, [payment(0), payment(5 * DAY)], [6 * DAY])
    store: OnlineEvents = MemoryEvents() if kind == "memory" else SqliteEvents(tmp_path / "events.db")
    short, long = (parse(document(aggregates=counted(days)), base_dir=tmp_path) for days in (2, 30))
    now, moment = START + timedelta(days=6), micros(at(6 * DAY))
    load_events(short, store, now=now, secrets=tmp_path)
    assert looked(store, short, moment)["n"] == 1.0
    late = look_up(store, asked(long), "anna", moment=moment, now=moment)
    assert late.late == "that are not kept as far back as its windows reach; run `capstan features`"
    assert late.values["n"] is None
    load_events(long, store, now=now, secrets=tmp_path)
    assert (looked(store, short, moment)["n"], looked(store, long, moment)["n"]) == (1.0, 2.0)
    # The file goes back to the short window, while a version with the long one still answers.
    load_events(short, store, now=now, secrets=tmp_path)
    assert looked(store, short, moment)["n"] == 1.0
    assert "not kept as far back" in look_up(store, asked(long), "anna", moment=moment, now=moment).late


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("7", "decimal(10,2)", "7"),
        ("-70", "decimal(38,0)", "-70"),
        ("7.5", "decimal(18,3)", "7.5"),
        ("7", "double", "7"),
        ("7", "bigint", "7"),
        ("null", "decimal(10,2)", None),
    ],
)
def test_an_id_is_the_same_text_whatever_number_holds_it(value: str, kind: str, text: str | None) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"create table ids as select cast({value} as {kind}) as id")
        known = column_types(connection, "from ids")["id"]
        assert connection.execute(f"select {text_of('id', known)} from ids").fetchone() == (text,)
