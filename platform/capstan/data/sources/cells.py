"""The first cells of a source's column that a rule does not fit: where they stand, and what they hold."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Callable

from capstan.data.hidden_values import quoted
from capstan.data.sources.reading import Reader, Reading
from capstan.data.text_types import quote

_SHOWN = 3
_LONGEST = 60


def first_cells(
    reading: Reading,
    reader: Reader,
    column: str,
    odd: Callable[[str], str],
    *,
    relation: str | None = None,
    undated: bool = False,
) -> tuple[str, ...]:
    """At most three, such as `rows.csv, line 17: '?'`.

    `odd` makes of the SQL expression of a cell's text, which is never null, the condition that it is one of them. A
    source whose rows have no places is asked for the least values of `relation`, or of the rows that have been read.
    With `undated` rows of all moments count.
    """
    numbered = reader.numbered(column, undated=undated)
    name = quote(column)
    if numbered is None:
        texts = f"select distinct cast({name} as varchar) as value from {relation or reading.rows} order by 1"
        numbered = f"select '' as in_file, 0 as row_number, value from ({texts})"
    cells = reading.connection.execute(
        f"select in_file, row_number, value from ({numbered}) where value is not null and {odd('value')} limit {_SHOWN}"
    ).fetchall()
    return tuple(f"{reader.place(file, number)}: {_shown(value)}" for file, number, value in cells)


def _shown(value: str) -> str:
    return quoted(value if len(value) <= _LONGEST else value[:_LONGEST] + "…")
