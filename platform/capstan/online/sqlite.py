"""Events in one SQLite file: a program writes them, the services of all versions read them.

In write-ahead mode a reader never waits for the writer. A transaction is there whole or not at all.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from capstan.domain.event_windows import Event
from capstan.errors import UnavailableError
from capstan.ports.online_events import FoundEvents

_SCHEMA = """
create table if not exists tables (
  number integer primary key, name text not null unique, columns text not null, loaded_until integer not null,
  oldest integer not null
);
create table if not exists events (
  of integer not null, entity text not null, happened integer not null, known integer not null,
  vals text not null, number integer not null,
  primary key (of, entity, happened, known, vals, number)
) without rowid;
"""
_FIND = (
    "select happened, known, vals, number from events where of = ? and entity = ? and happened >= ? and happened < ? "
    "and known <= ?"
)
_STATE = "select number, columns, loaded_until, oldest from tables where name = ?"


class SqliteEvents:
    """An OnlineEvents in a file; each thread has a connection of its own."""

    def __init__(self, path: Path, *, busy_timeout_seconds: float = 10.0) -> None:
        """The file is made by the first `add`; until then nothing is found."""
        self._path, self._timeout = path, busy_timeout_seconds
        self._local = threading.local()

    def add(
        self,
        table: str,
        columns: tuple[str, ...],
        events: Iterable[tuple[str, Event]],
        *,
        loaded_until: int,
        oldest: int = 0,
    ) -> None:
        with self._told():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connection()
            connection.executescript(_SCHEMA)
            connection.execute("begin immediate")
            try:
                self._write(connection, table, columns, events, loaded_until, oldest)
                connection.execute("commit")
            except BaseException:
                connection.execute("rollback")
                raise

    def _write(
        self,
        connection: sqlite3.Connection,
        table: str,
        columns: tuple[str, ...],
        events: Iterable[tuple[str, Event]],
        loaded_until: int,
        oldest: int,
    ) -> None:
        told = orjson.dumps(columns).decode()
        row = connection.execute(_STATE, (table,)).fetchone()
        if row is not None and row[1] != told:
            connection.execute("delete from events where of = ?", (row[0],))
            connection.execute("delete from tables where number = ?", (row[0],))
            row = None
        if row is None:
            made = connection.execute(
                "insert into tables (name, columns, loaded_until, oldest) values (?, ?, ?, ?)",
                (table, told, loaded_until, oldest),
            )
            number = made.lastrowid
        else:
            number = row[0]
            connection.execute(
                "update tables set loaded_until = max(loaded_until, ?), oldest = min(oldest, ?) where number = ?",
                (loaded_until, oldest, number),
            )
        connection.executemany(
            "insert or ignore into events values (?, ?, ?, ?, ?, ?)",
            (
                (
                    number,
                    entity,
                    event.happened,
                    event.known,
                    orjson.dumps(event.values).decode(),
                    event.number,
                )
                for entity, event in events
            ),
        )

    def state(self, table: str) -> tuple[tuple[str, ...], int | None]:
        _, columns, until, _ = self._state(table)
        return columns, until

    def oldest(self, table: str) -> int | None:
        number, _, _, oldest = self._state(table)
        return None if number is None else oldest

    def find(self, table: str, entity: str, *, since: int, before: int) -> FoundEvents:
        number, columns, until, oldest = self._state(table)
        if number is None:
            return FoundEvents((), (), None)
        with self._told():
            rows = self._connection().execute(_FIND, (number, entity, since, before, before)).fetchall()
        loads = orjson.loads
        events = [
            Event(happened, known, tuple(loads(values)), which) for happened, known, values, which in rows
        ]
        return FoundEvents(events, columns, until, oldest)

    def forget(self, table: str, *, before: int) -> int:
        number, _, _, _ = self._state(table)
        if number is None:
            return 0
        with self._told():
            # Said before it is so: a reader in between does not take what is left for all.
            self._connection().execute(
                "update tables set oldest = max(oldest, ?) where number = ?", (before, number)
            )
            return (
                self._connection()
                .execute("delete from events where of = ? and happened < ?", (number, before))
                .rowcount
            )

    def close(self) -> None:
        """Close the connection of this thread."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _state(self, table: str) -> tuple[int | None, tuple[str, ...], int | None, int]:
        if not self._path.exists():
            return None, (), None, 0
        with self._told():
            try:
                row = self._connection().execute(_STATE, (table,)).fetchone()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return None, (), None, 0
                raise
        return (None, (), None, 0) if row is None else (row[0], tuple(orjson.loads(row[1])), row[2], row[3])

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            self._local.connection = connection
        return connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError("the store of events", f"{self._path}: {error}") from error
