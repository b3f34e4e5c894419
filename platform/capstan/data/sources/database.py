"""Reads a table of a database; the address is a secret and never shows in an error."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from capstan.data.sources.known_rows import copy_known_rows
from capstan.errors import InvalidDataError
from capstan.spec.data import DatabaseSource, Source

_SQLITE = "sqlite:///"


def load_database(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    settings: DatabaseSource,
    *,
    as_of: datetime | None,
    base_dir: Path,
    secrets: Path,
) -> None:
    """Create the table `source.name` of all rows known by `as_of`."""
    table = read_database(source.name, settings, base_dir=base_dir, secrets=secrets)
    connection.register("_database", table)
    copy_known_rows(connection, source, "select * from _database", list(table.column_names), as_of)
    connection.unregister("_database")


def read_database(name: str, source: DatabaseSource, *, base_dir: Path, secrets: Path) -> pa.Table:
    """All rows of the source's table, in the order of its key; raises InvalidDataError."""
    secret = source.url_from.secret_key_ref
    path = secrets / secret.name / secret.key
    try:
        url = path.read_text().strip()
    except OSError as error:
        raise InvalidDataError(
            f"data.sources.{name}: the secret {secret.name}/{secret.key} cannot be read ({error.strerror}); "
            f"write the database's URL to {path}"
        ) from error
    if not url.startswith(_SQLITE):
        scheme = url.split(":", 1)[0] if "://" in url else "no scheme"
        raise InvalidDataError(
            f"data.sources.{name}: databases of the kind {scheme!r} are not read in this version; "
            f"use {_SQLITE}PATH, or export the table to Parquet and name it under `parquet`"
        )
    # A relative path is relative to the file; `sqlite:////a/b` is absolute.
    file = base_dir / url.removeprefix(_SQLITE)
    if not file.is_file():
        raise InvalidDataError(f"data.sources.{name}: the database {file} does not exist; correct the secret")
    return _read_sqlite(name, file, source.table)


def _read_sqlite(name: str, file: Path, table: str) -> pa.Table:
    quoted = ".".join(f'"{part}"' for part in table.split("."))
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            cursor = connection.execute(f"select * from {quoted}")  # noqa: S608 — the grammar allows plain names only
            columns = [description[0] for description in cursor.description]
            rows = cursor.fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InvalidDataError(f"data.sources.{name}: table {table!r} cannot be read: {error}") from error
    return pa.table({column: _array([row[index] for row in rows]) for index, column in enumerate(columns)})


def _array(values: list[object]) -> pa.Array:
    """SQLite types values, not columns: whole numbers, else numbers, else text."""
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pa.array(values, pa.float64())
    if kinds == {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())  # type: ignore[arg-type]
    return pa.array([None if value is None else str(value) for value in values], pa.string())
