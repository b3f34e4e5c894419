"""Tables of a run or of a report in the terminal: confusion matrix, slices, groups of a gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capstan.cli.console import out

if TYPE_CHECKING:
    from rich.table import Table


def print_tables(tables: Sequence[Mapping[str, Any]], whose: str) -> None:
    """Each with its title, of `whose` rows it is where it does not say so itself, and its notes."""
    from rich.markup import escape

    for found in tables:
        names = f"{found['of_rows']} down, {found['of_columns']} across"
        out.print(escape(f"{found['title']} of {found.get('whose') or whose}: {names}"), soft_wrap=True)
        out.print(_crossed(found))
        for note in found["notes"]:
            out.print(escape(note), soft_wrap=True)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line for each row, its columns below each other.

    A table of rich's would cut what is longer than the terminal: paths and addresses are to be copied, bars to be seen.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _crossed(found: Mapping[str, Any]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column(escape(found["of_rows"]))
    for name in found["columns"]:
        table.add_column(escape(name), justify="right")
    for name, cells in zip(found["rows"], found["cells"], strict=True):
        table.add_row(escape(name), *(escape(_shown(value)) for value in cells))
    return table


def _shown(value: float | str | None) -> str:
    """Counts as they are, other numbers with as many digits as tell something."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) >= 1 else f"{value:.4f}"
