"""A table of a database as a source; the address is a secret and never shows in an error."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from capstan.data.moments import column_types
from capstan.data.sources.known_rows import copy_known_rows
from capstan.data.sources.reading import SAMPLE, Reading
from capstan.data.sources.untyped import state_types
from capstan.data.text_types import FoundType, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import DatabaseSource

_SQLITE = "sqlite:///"


class DatabaseReader:
    """Reads a table of SQLite."""

    def __init__(self, reading: Reading, settings: DatabaseSource) -> None:
        self._reading = reading
        self._table = settings.table
        self._file = _database_file(reading, settings)
        self._columns = list(self._rows(["*"], limit=0).column_names)

    @property
    def columns(self) -> Mapping[str, str]:
        """SQLite types values, not columns, so the first rows decide."""
        return self.first_types(self._columns)

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        """As `columns`."""
        connection = self._reading.connection
        connection.register("database", self._rows(columns, limit=SAMPLE))
        try:
            found = connection.sql("from database")
            return {name: str(kind) for name, kind in zip(found.columns, found.types, strict=True)}
        finally:
            connection.unregister("database")

    def require_distinct(self, columns: Sequence[str]) -> None:
        """SQLite refuses such tables itself."""

    def read(self, columns: Sequence[str]) -> list[FoundType]:
        """Only these columns are asked for."""
        kept = [name for name in self._reading.with_time(columns) if name in self._columns]
        connection = self._reading.connection
        connection.register("database", self._rows(kept or self._columns[:1]))
        try:
            types = column_types(connection, "from database")
            copy_known_rows(self._reading, self, "select * from database", types, self._reading.rows)
        finally:
            connection.unregister("database")
        return state_types(self._reading, self, columns)

    def numbered(self, column: str, *, undated: bool = False) -> str | None:  # noqa: ARG002
        """Rows of a database have no place that a person could go to."""
        return None

    def place(self, file: str, number: int) -> str:  # noqa: ARG002
        """Only the table's name is known."""
        return f"table {self._table}"

    def _rows(self, columns: Sequence[str], limit: int | None = None) -> pa.Table:
        quoted = ".".join(quote(part) for part in self._table.split("."))
        items = ", ".join(name if name == "*" else quote(name) for name in columns)
        bound = f" limit {limit}" if limit is not None else ""
        try:
            # The path goes into a URI, where `?`, `#` and `%` mean something.
            uri = f"{self._file.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                cursor = connection.execute(f"select {items} from {quoted}{bound}")  # noqa: S608
                names = [description[0] for description in cursor.description]
                rows = cursor.fetchall()
        except sqlite3.Error as error:
            raise InvalidDataError(
                f"{self._reading.field}: table {self._table!r} cannot be read: {error}"
            ) from error
        return pa.table(
            {
                name: self._array(name, [row[i] for row in rows], used=limit is None)
                for i, name in enumerate(names)
            }
        )

    def _array(self, name: str, values: list[Any], *, used: bool) -> pa.Array:
        """Whole numbers, else numbers, else text."""
        kinds = {type(value) for value in values} - {type(None)}
        if not kinds:
            return pa.array(values, pa.float64())
        if bytes in kinds and not used:
            return pa.nulls(len(values), pa.binary())
        if bytes in kinds:
            raise InvalidDataError(
                f"{self._reading.field}: column {name!r} of table {self._table!r} holds binary values; "
                "leave it out of data.query, or store text"
            )
        try:
            if kinds == {int}:
                return pa.array(values, pa.int64())
            if kinds <= {int, float}:
                return pa.array([None if value is None else float(value) for value in values], pa.float64())
        except (OverflowError, pa.ArrowInvalid):
            pass
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _database_file(reading: Reading, settings: DatabaseSource) -> Path:
    secret = settings.url_from.secret_key_ref
    path = reading.secrets / secret.name / secret.key
    try:
        url = path.read_text().strip()
    except OSError as error:
        raise InvalidDataError(
            f"{reading.field}: the secret {secret.name}/{secret.key} cannot be read ({error.strerror}); "
            f"write the database's URL to {path}"
        ) from error
    if not url.startswith(_SQLITE):
        scheme = url.split(":", 1)[0] if "://" in url else "no scheme"
        raise InvalidDataError(
            f"{reading.field}: databases of the kind {scheme!r} are not read in this version; "
            f"use {_SQLITE}PATH, or export the table to Parquet and name it under `parquet`"
        )
    # A relative path is relative to the file; `sqlite:////a/b` is absolute.
    file = reading.base_dir / url.removeprefix(_SQLITE)
    if not file.is_file():
        raise InvalidDataError(f"{reading.field}: the database {file} does not exist; correct the secret")
    return file
