"""A source's table while all its values are still text."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial

from capstan.data.decimal_marks import texts_with_marks, way_to_number
from capstan.data.moments import TEXT, clock_changes
from capstan.data.sources.cells import first_cells
from capstan.data.sources.reading import Delimited, Reader, Reading
from capstan.data.text_types import (
    AS_WRITTEN,
    WORDS,
    FoundType,
    contradicts,
    quote,
    stated,
    typed,
    value_as,
)
from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType

_LOG = logging.getLogger(__name__)
_WAYS_OUT = {
    ColumnType.NUMBER: "correct them, leave them empty, or state Text and cast the column in data.query",
    ColumnType.BOOLEAN: "correct them, leave them empty, or state Text and derive a boolean in data.query",
    ColumnType.TIME: (
        'correct them, leave them empty, or say how they are written, such as `written: "%d.%m.%Y"`; where they are '
        "written in several ways, state Text and derive the moment in data.query by strptime"
    ),
}


def untyped_table(reading: Reading) -> str:
    """Its name, as an SQL identifier."""
    return quote(f"texts of {reading.source.name}")


def types_of_texts(reading: Reading, columns: Mapping[str, tuple[str, ...] | None]) -> dict[str, str]:
    """Column -> SQL type that its values in the table of texts have; drops the table."""
    found = {
        column.column: column.kind for column in typed(reading.connection, untyped_table(reading), columns)
    }
    reading.connection.execute(f"drop table {untyped_table(reading)}")
    return found


def replace_typed(
    reading: Reading, reader: Reader, columns: Mapping[str, tuple[str, ...] | None]
) -> list[FoundType]:
    """Make the source's rows from the table of texts, which is dropped; `columns` as `typed` takes them.

    Gives the columns that are left as text because a number or a moment could not be written back as it was.
    """
    connection, untyped = reading.connection, untyped_table(reading)
    types = _stated_types(reading, columns)
    free = {name: allowed for name, allowed in columns.items() if name not in types}
    found = {column.column: column for column in typed(connection, untyped, free)}
    _require_stated(reading, reader, untyped, types)
    found |= {column.column: column for column in stated(connection, untyped, types, _written(reading))}
    items = [found[name].item(AS_WRITTEN if found[name].changes else None) for name in columns]
    # A table without columns still has rows, which a query may count.
    connection.execute(
        f"create or replace temp table {reading.rows} as select {', '.join(items) or 'true as present'} from {untyped}"
    )
    aware = {
        name: TEXT
        for name, column in found.items()
        if column.kind == "TIMESTAMPTZ" and name != reading.source.time_column
    }
    for change in clock_changes(connection, untyped, aware, reading.zone):
        _LOG.warning("%s: %s", reading.field, change)
    connection.execute(f"drop table {untyped}")
    return [column for column in found.values() if column.changes]


def state_types(reading: Reading, reader: Reader, columns: Collection[str]) -> list[FoundType]:
    """Give columns of a source that has types of its own those that the file states; none is left open."""
    connection, rows = reading.connection, reading.rows
    types = _stated_types(reading, columns)
    for name in types:
        connection.execute(f"alter table {rows} alter {quote(name)} type varchar")
    _require_stated(reading, reader, rows, types)
    for column in stated(connection, rows, types, _written(reading)):
        connection.execute(
            f"alter table {rows} alter {quote(column.column)} type {column.kind} "
            f"using {value_as(column.column, column.kind, column.written)}"
        )
    return []


def _require_stated(reading: Reading, reader: Reader, table: str, types: Mapping[str, ColumnType]) -> None:
    """Raises InvalidDataError with the cells that are not of the type which the file states for their column."""
    for name, kind in types.items():
        written = _written(reading).get(name)
        odd = reading.connection.execute(
            f"select count(*) from {table} where {quote(name)} is not null "
            f"and {contradicts(quote(name), kind, written)}"
        ).fetchone()
        if odd and odd[0]:
            odd_text = partial(contradicts, kind=kind, written=written)
            cells = "; ".join(first_cells(reading, reader, name, odd_text, relation=table))
            noun = "number" if kind is ColumnType.NUMBER else "moment"
            meant = WORDS[kind] if written is None else f"a {noun} written as {written}"
            way_out = _way_out(reading, reader, table, name, kind)
            raise InvalidDataError(
                f"{reading.field}.types: column {name!r} is stated to be {kind}, but {odd[0]} of its values "
                f"{'is' if odd[0] == 1 else 'are'} not {meant} ({cells}); {way_out}"
            )


def _way_out(reading: Reading, reader: Reader, table: str, column: str, kind: ColumnType) -> str:
    delimiters = reader.delimiters if isinstance(reader, Delimited) else ()
    way = (
        way_to_number(column, texts_with_marks(reading.connection, table, column), delimiters)
        if kind is ColumnType.NUMBER
        else None
    )
    return _WAYS_OUT[kind] if way is None else f"correct them, leave them empty, or {way}"


def _stated_types(reading: Reading, columns: Collection[str]) -> dict[str, ColumnType]:
    return {one.column: ColumnType(one.type) for one in reading.source.types if one.column in columns}


def _written(reading: Reading) -> dict[str, str]:
    """Column -> how its moments or numbers are written."""
    return {one.column: one.written for one in reading.source.types if one.written is not None}
