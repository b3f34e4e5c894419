"""The columns of a table of predictions, read and judged cell by cell before any metric sees them."""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from capstan.data.moments import column_types, instant
from capstan.data.named_file import source_of
from capstan.data.sources import open_source
from capstan.data.sources.reading import Reading
from capstan.data.sql_errors import in_words
from capstan.data.text_types import quote
from capstan.data.usage import plain_plans
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError, NotFoundError
from capstan.tasks.labels import Label

_MEMORY = 2**30
"""Bytes for DuckDB's tables; beyond, it spills to disk."""
_TABLE = "predictions"
_ROW = "capstan_row"
"""Number of a row, from 1 on."""


@dataclass(frozen=True)
class Column:
    """A column that an option names."""

    option: str
    name: str


class PredictionTable:
    """A table that was read; every method raises InvalidDataError that names option, column, row and rule."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, zone: str) -> None:
        self._connection, self._path, self._zone = connection, path, zone
        self._types = column_types(connection, f"from {_TABLE}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self._types if name != _ROW)

    def require(self, column: Column) -> str:
        """Its name as the table has it."""
        if column.name not in self._types or column.name == _ROW:
            raise InvalidDataError(
                f"{column.option}: {self._path.name} has no column {column.name!r}; it has "
                f"{', '.join(self.names)}"
            )
        return column.name

    def with_label(self, column: Column, label: Label) -> int:
        """Leave out the rows without a label; how many those were."""
        name = self.require(column)
        sql = label.sql(quote(name), self._types[name])
        wrong = self._first(f"({sql.wrong})", sql.shown)
        if wrong is not None:
            row, shown = wrong
            raise InvalidDataError(
                f"{column.option}: row {row} has {name} {shown}, which is not {label.forms}; mend it, or name another "
                "column"
            )
        before = self._count()
        self._connection.execute(
            f"create or replace temp table {_TABLE} as select *, {sql.value} as capstan_label from {_TABLE} "
            f"where {sql.value} is not null"
        )
        after = self._count()
        if not after:
            raise InvalidDataError(f"{column.option}: no row of {self._path.name} has a {name}")
        return before - after

    def labels(self) -> npt.NDArray[Any]:
        return self._fetched("capstan_label")

    def numbers(self, column: Column) -> npt.NDArray[np.float64]:
        """(rows,) finite numbers."""
        name = self.require(column)
        cell = f"try_cast({quote(name)} as double)"
        odd = self._first(f"{cell} is null or not isfinite({cell})", f"cast({quote(name)} as varchar)")
        if odd is not None:
            row, shown = odd
            said = "no value" if shown is None else repr(shown)
            raise InvalidDataError(
                f"{column.option}: row {row} has {said} in {name}, and every row needs a finite number there; mend it, "
                "or leave the row out"
            )
        return self._fetched(cell).astype(np.float64)

    def require_all(self, column: Column, sound: str, rule: str) -> None:
        """`sound`: the rule in SQL, with {} where the column stands; `rule`: the same in words, with the way out."""
        name = self.require(column)
        odd = self._first(f"({sound.format(quote(name))}) is not true", f"cast({quote(name)} as varchar)")
        if odd is not None:
            row, shown = odd
            said = "no value" if shown is None else repr(shown)
            raise InvalidDataError(f"{column.option}: row {row} has {said} in {name}; {rule}")

    def texts(self, column: Column) -> list[str | None]:
        name = self.require(column)
        return list(self._fetched(f"cast({quote(name)} as varchar)").tolist())

    def values(self, column: Column) -> list[Any]:
        """As the table has them; of lists, lists."""
        name = self.require(column)
        found = self._connection.sql(f"select {quote(name)} from {_TABLE} order by {_ROW}")
        return [row[0] for row in found.fetchall()]

    def days(self, column: Column) -> npt.NDArray[np.int64]:
        """(rows,): the day of each row, as a number."""
        name = self.require(column)
        at = instant(quote(name), self._types[name], self._zone)
        odd = self._first(f"{at} is null", f"cast({quote(name)} as varchar)")
        if odd is not None:
            row, shown = odd
            said = "no value" if shown is None else repr(shown)
            raise InvalidDataError(
                f"{column.option}: row {row} has {said} in {name}, which is no moment; write RFC 3339 such as "
                "2026-02-01T05:00:00Z or a date, or leave --time out"
            )
        found: npt.NDArray[np.int64] = self._fetched(f"epoch({at}::date)::bigint // 86400").astype(np.int64)
        return found

    def _fetched(self, expression: str) -> npt.NDArray[Any]:
        found = self._connection.sql(f"select {expression} as found from {_TABLE} order by {_ROW}")
        column = found.to_arrow_table().column("found")
        return column.to_numpy(zero_copy_only=False) if len(column) else np.array([])

    def _first(self, condition: str, shown: str) -> tuple[int, str | None] | None:
        found = self._connection.execute(
            f"select {_ROW}, {shown} from {_TABLE} where {condition} order by {_ROW} limit 1"
        ).fetchall()
        return next(((int(row), None if cell is None else str(cell)) for row, cell in found), None)

    def _count(self) -> int:
        [[rows]] = self._connection.execute(f"select count(*) from {_TABLE}").fetchall()
        return int(rows)


@contextmanager
def prediction_table(path: Path, *, zone: str, texts: Sequence[str] = ()) -> Iterator[PredictionTable]:
    """The whole table; `texts`: columns that are kept as they are written.

    Raises NotFoundError, InvalidDataError.
    """
    if not path.is_file():
        raise NotFoundError(f"FILE: {path} does not exist; name a CSV, Parquet or JSON lines file")
    try:
        with workspace(threads=1, memory=_MEMORY, zone=zone) as connection, plain_plans(connection):
            # Of the other kinds the file itself says which columns are texts.
            is_csv = source_of(path, _TABLE).csv is not None
            source = source_of(path, f"{_TABLE}_read", texts=texts if is_csv else ())
            reading = Reading(connection, source, None, path.parent, Path(), zone)
            reader = open_source(reading)
            names = list(reader.columns)
            reader.require_distinct(names)
            reader.read(names)
            connection.execute(
                f"create temp table {_TABLE} as select *, row_number() over () as {_ROW} from {reading.rows}"
            )
            yield PredictionTable(connection, path, zone)
    except InvalidDataError as error:
        # The person named a file. The field of a source would be looked for in vain.
        raise InvalidDataError(str(error).removeprefix(f"data.sources.{_TABLE}_read: ")) from error
    except duckdb.Error as error:
        raise InvalidDataError(f"FILE: {path.name} cannot be read: {in_words(error)}") from error
