"""A table of SQLite, which types values, not columns."""

# The names go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from capstan.data.sources.reading import Reading
from capstan.data.text_types import quote
from capstan.errors import InvalidDataError

SQLITE = "sqlite:///"


class SqliteTable:
    """As `Database`."""

    def __init__(self, reading: Reading, table: str, url: str) -> None:
        self._reading = reading
        self._table = table
        # A relative path is relative to the file; `sqlite:////a/b` is absolute.
        self._file = reading.base_dir / url.removeprefix(SQLITE)
        if not self._file.is_file():
            raise InvalidDataError(
                f"{reading.field}: the database {self._file} does not exist; correct the secret"
            )
        self.columns = list(self.rows(["*"], limit=0).column_names)
        self.booleans = self._declared_booleans()

    def require_read(self) -> None:
        """Rows come whole."""

    def rows(self, columns: Sequence[str], limit: int | None = None) -> pa.Table:
        """All rows; missing columns are refused by SQLite."""
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

    def _declared_booleans(self) -> frozenset[str]:
        *schema, table = self._table.split(".")
        with closing(self._connected()) as connection:
            found = connection.execute(
                f"select name, type from pragma_table_info({', '.join('?' * (1 + len(schema[:1])))})",
                [table, *schema[:1]],
            ).fetchall()
        return frozenset(name for name, kind in found if kind.upper().startswith("BOOL"))

    def _connected(self) -> sqlite3.Connection:
        # The path goes into a URI, where `?`, `#` and `%` mean something.
        return sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True)

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
