"""The cells that keep a column of numbers from being one: where they stand and what they hold."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from capstan.data.moments import TEXT, column_types
from capstan.data.sources.reading import Reader, Reading
from capstan.data.text_types import is_number, quote

_SHOWN = 3
_LONGEST = 60
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
    return OddCells(
        reading.source.name, column, filled - numbers, filled, _places(connection, reading, reader, column)
    )


def _places(
    connection: duckdb.DuckDBPyConnection, reading: Reading, reader: Reader, column: str
) -> tuple[str, ...]:
    relation = reader.numbered(column)
    if relation is None:
        values = connection.execute(
            f"select distinct {quote(column)} from {reading.rows} where {quote(column)} is not null "
            f"and not {is_number(quote(column))} order by 1 limit {_SHOWN}"
        ).fetchall()
        return tuple(f"{reader.place('', 0)}: {_shown(value)}" for (value,) in values)
    cells = connection.execute(
        f"select in_file, row_number, value from ({relation}) "
        f"where value is not null and not {is_number('value')} limit {_SHOWN}"
    ).fetchall()
    return tuple(f"{reader.place(file, number)}: {_shown(value)}" for file, number, value in cells)


def _shown(value: str) -> str:
    return repr(value if len(value) <= _LONGEST else value[:_LONGEST] + "…")
