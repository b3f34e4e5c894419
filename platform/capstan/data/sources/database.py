"""A table of a database as a source; the address is a secret and never shows in an error."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from capstan.data.moments import column_types
from capstan.data.sources.cells import first_cells
from capstan.data.sources.known_rows import copy_known_rows
from capstan.data.sources.reading import SAMPLE, Reading
from capstan.data.sources.secret_text import secret_text
from capstan.data.sources.untyped import state_types
from capstan.data.text_types import FoundType, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import DatabaseSource

_LOG = logging.getLogger(__name__)
_SQLITE = "sqlite:///"
_IS_BOOLEAN = "{} in ('0', '1', '0.0', '1.0')"
"""SQL of a value's text: SQLite has no booleans, but numbers in a column that is declared so."""


class DatabaseReader:
    """Reads a table of SQLite."""

    def __init__(self, reading: Reading, settings: DatabaseSource) -> None:
        self._reading = reading
        self._table = settings.table
        self._file = _database_file(reading, settings)
        self._columns = list(self._rows(["*"], limit=0).column_names)
        self._booleans = self._declared_booleans()

    @property
    def columns(self) -> Mapping[str, str]:
        """SQLite types values, not columns, so the first rows decide; of a column declared as boolean, too."""
        return self.first_types(self._columns)

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        """As `columns`."""
        connection = self._reading.connection
        connection.register("database", self._rows(columns, limit=SAMPLE))
        try:
            found = connection.sql("from database")
            types = {name: str(kind) for name, kind in zip(found.columns, found.types, strict=True)}
            true = [
                name for name in columns if name in self._booleans and not self._strange("database", name)
            ]
            return types | dict.fromkeys(true, "BOOLEAN")
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
        self._make_booleans(columns)
        return state_types(self._reading, self, columns)

    def numbered(self, column: str, *, undated: bool = False) -> str | None:  # noqa: ARG002
        """Rows of a database have no place that a person could go to."""
        return None

    def place(self, file: str, number: int) -> str:  # noqa: ARG002
        """Only the table's name is known."""
        return f"table {self._table}"

    def _declared_booleans(self) -> frozenset[str]:
        *schema, table = self._table.split(".")
        with closing(self._connected()) as connection:
            found = connection.execute(
                f"select name, type from pragma_table_info({', '.join('?' * (1 + len(schema[:1])))})",
                [table, *schema[:1]],
            ).fetchall()
        return frozenset(name for name, kind in found if kind.upper().startswith("BOOL"))

    def _make_booleans(self, columns: Sequence[str]) -> None:
        """Let the columns that the table declares as boolean be so, where all known values are 0, 1 or missing."""
        reading = self._reading
        stated = {one.column for one in reading.source.types}
        for name in columns:
            if name not in self._booleans or name in stated:
                continue
            column = quote(name)
            if strange := self._strange(reading.rows, name):
                cells = "; ".join(
                    first_cells(
                        reading, self, name, lambda value: f"not coalesce({_IS_BOOLEAN.format(value)}, false)"
                    )
                )
                _LOG.warning(
                    "%s: column %r of table %s is declared as boolean, but %d of its values %s neither 0 nor 1 (%s), "
                    "so it is not read as boolean; correct them, or state its type: "
                    "types: [{column: %s, type: Number}]",
                    *(
                        reading.field,
                        name,
                        self._table,
                        strange,
                        "is" if strange == 1 else "are",
                        cells,
                        name,
                    ),
                )
                continue
            true = f"cast({column} as varchar) in ('1', '1.0')"
            reading.connection.execute(f"alter table {reading.rows} alter {column} type boolean using {true}")

    def _strange(self, relation: str, name: str) -> int:
        """How many values of the column are neither 0 nor 1."""
        value = f"cast({quote(name)} as varchar)"
        found = self._reading.connection.execute(
            f"select count(*) from {relation} where {quote(name)} is not null and not {_IS_BOOLEAN.format(value)}"
        ).fetchall()
        return int(found[0][0])

    def _connected(self) -> sqlite3.Connection:
        # The path goes into a URI, where `?`, `#` and `%` mean something.
        return sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True)

    def _rows(self, columns: Sequence[str], limit: int | None = None) -> pa.Table:
        quoted = ".".join(quote(part) for part in self._table.split("."))
        items = ", ".join(name if name == "*" else quote(name) for name in columns)
        bound = f" limit {limit}" if limit is not None else ""
        try:
            with closing(self._connected()) as connection:
                cursor = connection.execute(f"select {items} from {quoted}{bound}")
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
    url = secret_text(reading, settings.url_from, "the database's URL")
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
