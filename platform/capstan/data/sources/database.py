"""A table of a database as a source: what all kinds of databases share, whatever its kind.

The address is a secret and never shows in an error.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from capstan.data.moments import column_types
from capstan.data.sources.cells import first_cells
from capstan.data.sources.known_rows import copy_known_rows
from capstan.data.sources.reading import SAMPLE, Reading, refuse_twins, without_twins
from capstan.data.sources.untyped import state_types
from capstan.data.text_types import FoundType, quote

_LOG = logging.getLogger(__name__)
_IS_BOOLEAN = "{} in ('0', '1', '0.0', '1.0')"
"""SQL of a value's text: databases without booleans have numbers in a column that is declared so."""
_STREAM = "rows of the database"


class Database(Protocol):
    """One table of a kind of database; methods raise InvalidDataError."""

    @property
    def columns(self) -> Sequence[str]:
        """Of the table."""
        ...

    @property
    def booleans(self) -> frozenset[str]:
        """Columns of numbers that are declared as booleans."""
        ...

    def rows(self, columns: Sequence[str], limit: int | None = None) -> pa.Table | pa.RecordBatchReader:
        """The rows of these columns, those that may be known by the reading's moment; once."""
        ...

    def require_read(self) -> None:
        """Raises what stopped the last `rows` while they were read."""
        ...


class DatabaseReader:
    """Reads a table of any kind of database."""

    def __init__(self, reading: Reading, table: str, database: Database) -> None:
        self._reading = reading
        self._table = table
        self._database = database
        self._columns = without_twins(database.columns)

    @property
    def columns(self) -> Mapping[str, str]:
        """The first rows decide where values have types and columns have none; of a column declared as boolean, too."""
        return self.first_types(self._columns)

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        """As `columns`."""
        table = self._stored(columns, SAMPLE)
        found = self._reading.connection.sql(f"from {table}")
        types = {name: str(kind) for name, kind in zip(found.columns, found.types, strict=True)}
        true = [
            name for name in columns if name in self._database.booleans and not self._strange(table, name)
        ]
        self._reading.connection.execute(f"drop table {table}")
        return types | dict.fromkeys(true, "BOOLEAN")

    def require_distinct(self, columns: Sequence[str]) -> None:
        """PostgreSQL tells "Id" from id; SQL here does not."""
        refuse_twins(self._reading, f"table {self._table!r}", self._database.columns, columns)

    def read(self, columns: Sequence[str]) -> list[FoundType]:
        """Only these columns are asked for."""
        kept = [name for name in self._reading.with_time(columns) if name in self._columns]
        connection = self._reading.connection
        table = self._stored(kept or self._columns[:1], None)
        types = column_types(connection, f"from {table}")
        copy_known_rows(self._reading, self, f"select * from {table}", types, self._reading.rows)
        connection.execute(f"drop table {table}")
        self._make_booleans(columns)
        return state_types(self._reading, self, columns)

    def numbered(self, column: str, *, undated: bool = False) -> str | None:  # noqa: ARG002
        """Rows of a database have no place that a person could go to."""
        return None

    def place(self, file: str, number: int) -> str:  # noqa: ARG002
        """Only the table's name is known."""
        return f"table {self._table}"

    def _stored(self, columns: Sequence[str], limit: int | None) -> str:
        """A table with the rows, as they can be asked for once only."""
        table = quote(f"as stored of {self._reading.source.name}")
        connection = self._reading.connection
        connection.register(_STREAM, self._database.rows(columns, limit))
        try:
            connection.execute(f"create or replace temp table {table} as from {quote(_STREAM)}")
        finally:
            connection.unregister(_STREAM)
            self._database.require_read()
        return table

    def _make_booleans(self, columns: Sequence[str]) -> None:
        """Let the columns that the table declares as boolean be so, where all known values are 0, 1 or missing."""
        reading = self._reading
        stated = {one.column for one in reading.source.types}
        for name in columns:
            if name not in self._database.booleans or name in stated:
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
