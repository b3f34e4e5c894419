"""A source's table while all its values are still text."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping

from capstan.data.moments import TEXT, clock_changes, column_types
from capstan.data.sources.reading import Reading
from capstan.data.text_types import quote, typed

_LOG = logging.getLogger(__name__)
_AT_ONCE = 8
"""Columns whose types are asked for by one query: DuckDB's plans grow with the square of it."""


def untyped_table(reading: Reading) -> str:
    """Its name, as an SQL identifier."""
    return quote(f"texts of {reading.source.name}")


def types_of_texts(reading: Reading, columns: Mapping[str, tuple[str, ...] | None]) -> dict[str, str]:
    """Column -> SQL type that its values in the table of texts have; drops the table."""
    connection, untyped = reading.connection, untyped_table(reading)
    found = connection.sql(f"select {', '.join(_items(reading, columns)) or 'true'} from {untyped}")
    types = dict(zip(found.columns, map(str, found.types), strict=True))
    connection.execute(f"drop table {untyped}")
    return {name: types[name] for name in columns}


def replace_typed(reading: Reading, columns: Mapping[str, tuple[str, ...] | None]) -> None:
    """Make the source's rows from the table of texts, which is dropped; `columns` as `typed` takes them."""
    connection, untyped = reading.connection, untyped_table(reading)
    items = list(_items(reading, columns))
    # A table without columns still has rows, which a query may count.
    connection.execute(
        f"create or replace temp table {reading.rows} as select {', '.join(items) or 'true as present'} from {untyped}"
    )
    aware = {
        name: TEXT
        for name, kind in column_types(connection, f"from {reading.rows}").items()
        if kind == "timestamp with time zone" and name != reading.source.time_column
    }
    for change in clock_changes(connection, untyped, aware, reading.zone):
        _LOG.warning("%s: %s", reading.field, change)
    connection.execute(f"drop table {untyped}")


def _items(reading: Reading, columns: Mapping[str, tuple[str, ...] | None]) -> Iterator[str]:
    names = iter(columns)
    while batch := list(itertools.islice(names, _AT_ONCE)):
        yield from typed(reading.connection, untyped_table(reading), {name: columns[name] for name in batch})
