"""Records and events in one SQLite file, shared by threads and processes.

Each write is one transaction in write-ahead mode: after a kill or a full disk it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capstan.domain.versions import SystemName
from capstan.errors import ConflictError, DiskFullError, UnavailableError
from capstan.ports.seals import sealed
from capstan.ports.store import Event, Kind, Record

_SCHEMA = """
create table if not exists records (
  kind text not null, name text not null, system text not null, spec text not null, status text not null,
  generation integer not null, resource_version integer not null, deleted_at text,
  primary key (kind, name)
) without rowid;
create index if not exists records_by_system on records (kind, system, name);
create table if not exists events (
  number integer primary key autoincrement, at text not null, kind text not null, name text not null,
  system text not null, reason text not null, message text not null, details text not null, seal text not null,
  rests_on text not null, once text unique
);
create index if not exists events_by_system on events (system, number);
"""
_COLUMNS = "kind, name, system, spec, status, generation, resource_version, deleted_at"


class SqliteStore:
    """A Store in a file; each thread has a connection of its own."""

    def __init__(self, path: Path, *, busy_timeout_seconds: float = 10.0) -> None:
        self._path = path
        self._timeout = busy_timeout_seconds
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        with self._wrapped():
            self._connection().executescript(_SCHEMA)

    def close(self) -> None:
        """Close the connections of all threads; the store is not used afterwards."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def get(self, kind: Kind, name: str) -> Record | None:
        with self._wrapped():
            query = f"select {_COLUMNS} from records where kind = ? and name = ?"  # noqa: S608
            row = self._connection().execute(query, (kind.value, name)).fetchone()
        return _record(row) if row else None

    def list(self, kind: Kind, system: SystemName | None = None) -> Sequence[Record]:
        query = f"select {_COLUMNS} from records where kind = ?"  # noqa: S608
        values: list[str] = [kind.value]
        if system is not None:
            query += " and system = ?"
            values.append(system)
        with self._wrapped():
            rows = self._connection().execute(query + " order by name", values).fetchall()
        return [_record(row) for row in rows]

    def put(self, record: Record) -> Record:
        spec, status = _dump(record.spec), _dump(record.status)
        with self._transaction() as connection:
            row = connection.execute(
                "select resource_version, generation, spec from records where kind = ? and name = ?",
                (record.kind.value, record.name),
            ).fetchone()
            found = row[0] if row else 0
            if found != record.resource_version:
                raise ConflictError(
                    f"{record.kind} {record.name}: stored version {found}, yours {record.resource_version}; "
                    "read it again"
                )
            generation = row[1] + (row[2] != spec) if row else 1
            stored = replace(record, generation=generation, resource_version=found + 1)
            connection.execute(
                f"insert or replace into records ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    record.kind.value,
                    record.name,
                    record.system,
                    spec,
                    status,
                    stored.generation,
                    stored.resource_version,
                    record.deleted_at.astimezone(UTC).isoformat() if record.deleted_at else None,
                ),
            )
        return replace(stored, spec=json.loads(spec), status=json.loads(status))

    def delete(self, kind: Kind, name: str) -> None:
        with self._transaction() as connection:
            connection.execute("delete from records where kind = ? and name = ?", (kind.value, name))

    def record_event(self, event: Event, *, once: str = "") -> None:
        details = _dump(event.details)
        with self._wrapped():
            # The key is looked up first. A repeat, which is usual on every pass, then takes no write lock.
            known = (
                once and self._connection().execute("select 1 from events where once = ?", (once,)).fetchone()
            )
        if known:
            return
        with self._transaction() as connection:
            last = connection.execute(
                "select seal from events where system = ? order by number desc limit 1", (event.system,)
            ).fetchone()
            # Sealed as it is read back: what is no JSON of its own, such as a tuple, is stored as something else.
            read_back = replace(event, details=json.loads(details))
            told = sealed(SystemName(event.system), read_back, last[0] if last else "")
            connection.execute(
                "insert or ignore into events (at, kind, name, system, reason, message, details, seal, rests_on, once) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    event.at.astimezone(UTC).isoformat(),
                    event.kind.value,
                    event.name,
                    event.system,
                    event.reason,
                    event.message,
                    details,
                    told.seal,
                    told.rests_on,
                    once or None,
                ),
            )

    def events(self, system: SystemName | None = None, *, after: int = 0) -> Sequence[tuple[int, Event]]:
        query = "select number, at, kind, name, reason, message, details, seal, rests_on from events where number > ?"
        values: list[Any] = [after]
        if system is not None:
            query += " and system = ?"
            values.append(system)
        with self._wrapped():
            rows = self._connection().execute(query + " order by number", values).fetchall()
        return [
            (
                number,
                Event(
                    datetime.fromisoformat(at),
                    Kind(kind),
                    name,
                    reason,
                    message,
                    json.loads(details),
                    seal,
                    rests_on,
                ),
            )
            for number, at, kind, name, reason, message, details, seal, rests_on in rows
        ]

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._wrapped():
            connection = self._connection()
            # "immediate" takes the write lock before the read, so that read and write are one.
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise

    @contextlib.contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            code = getattr(error, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_FULL or "disk is full" in text:
                raise DiskFullError(
                    f"no room left to write {self._path}; nothing was half-written. Free some space and go on"
                ) from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                reason = f"{self._path} was locked for more than {self._timeout:g} s by another process"
                raise UnavailableError("store", reason) from error
            raise UnavailableError("store", f"{self._path}: {text}") from error


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _record(row: Sequence[Any]) -> Record:
    kind, name, system, spec, status, generation, resource_version, deleted_at = row
    return Record(
        kind=Kind(kind),
        name=name,
        system=SystemName(system),
        spec=json.loads(spec),
        status=json.loads(status),
        generation=generation,
        resource_version=resource_version,
        deleted_at=datetime.fromisoformat(deleted_at) if deleted_at else None,
    )
