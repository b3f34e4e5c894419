"""Cells that are no numbers, or would change as numbers: where they stand and what they hold."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from capstan.data.decimal_marks import texts_with_marks, way_to_number
from capstan.data.hidden_values import are_hidden
from capstan.data.moments import TEXT, column_types
from capstan.data.sources.cells import first_cells
from capstan.data.sources.reading import Delimited, Reader, Reading
from capstan.data.text_types import is_number, keeps_text, quote

MOSTLY = 0.5
"""Share of numbers above which a column of text counts as one of numbers with mistakes in it."""


@dataclass(frozen=True)
class OddCells:
    """A column of text that was meant as numbers."""

    source: str
    column: str
    odd: int
    """Cells that are no numbers."""
    filled: int
    places: tuple[str, ...]
    """`rows.csv, line 17: '?'`, at most three."""
    way: str | None = None
    """How its cells with commas are read; None if they are no numbers with commas."""

    def __str__(self) -> str:
        more = ", …" if self.odd > len(self.places) else ""
        if self.odd == self.filled:
            why = f"none of its {self.filled} values is a number"
        else:
            why = f"{self.odd} of its {self.filled} values {'is no number' if self.odd == 1 else 'are no numbers'}"
        return (
            f"column {self.column!r} of {self.source} is text, because {why} ({'; '.join(self.places)}{more})"
        )


def odd_numbers(
    connection: duckdb.DuckDBPyConnection,
    reading: Reading,
    reader: Reader,
    column: str,
    *,
    least: float = MOSTLY,
) -> OddCells | None:
    """The odd cells of a column that has been read; None if it has none, or less than the share `least` are numbers."""
    types = column_types(connection, f"from {reading.rows}")
    if types.get(column) != TEXT:
        return None
    name = quote(column)
    filled, numbers = connection.execute(
        f"select count({name}), count({name}) filter (where {is_number(name)}) from {reading.rows}"
    ).fetchone() or (0, 0)
    if filled == numbers or numbers < least * filled:
        return None
    places = first_cells(reading, reader, column, lambda value: f"not {is_number(value)}")
    delimiters = reader.delimiters if isinstance(reader, Delimited) else ()
    # It shows how a cell would be read.
    way = (
        None
        if are_hidden()
        else way_to_number(column, texts_with_marks(connection, reading.rows, column), delimiters)
    )
    return OddCells(reading.source.name, column, filled - numbers, filled, places, way)


def changing_cells(reading: Reading, reader: Reader, column: str) -> tuple[str, ...]:
    """The first cells of a column of numbers whose text a number would not keep: `rows.csv, line 17: '1.10'`.

    The first cells of any text where each would be kept by itself, as 7 and 7.0 would.
    """
    changing = first_cells(reading, reader, column, lambda value: f"not {keeps_text(value)}")
    return changing or first_cells(reading, reader, column, lambda _: "true")


def cells_of_codes(
    connection: duckdb.DuckDBPyConnection, reading: Reading, reader: Reader, column: str, *, whole: bool
) -> tuple[str, ...]:
    """The first cells of a column of text that are numbers, but not written as one; with `whole` as a whole one."""

    def odd(value: str) -> str:
        return f"{is_number(value, coded=True)} and not {keeps_text(value, whole=whole)}"

    name = quote(column)
    found = connection.execute(
        f"select 1 from {reading.rows} where {name} is not null and {odd(name)} limit 1"
    ).fetchone()
    return first_cells(reading, reader, column, odd) if found else ()
