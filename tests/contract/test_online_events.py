"""All stores of events keep one contract."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from capstan.errors import UnavailableError
from capstan.online.memory import MemoryEvents
from capstan.online.sqlite import SqliteEvents
from capstan.testing.ports.online_events import COLUMNS, TABLE, OnlineEventsContract, paid


class TestMemoryEvents(OnlineEventsContract):
    @pytest.fixture
    def store(self) -> MemoryEvents:
        return MemoryEvents()


class TestSqliteEvents(OnlineEventsContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SqliteEvents:
        return SqliteEvents(tmp_path / "new" / "events.db")


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
