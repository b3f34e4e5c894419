"""A table of simulations, as text that a page of the docs can hold."""

from __future__ import annotations

from dataclasses import dataclass

RUNS = 2000


@dataclass(frozen=True)
class Table:
    """Rows of texts under a title, with what the reader must know of how they came about."""

    title: str
    """Empty where the page has a heading of its own."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str

    def markdown(self) -> str:
        """As a table of Markdown; numbers stand to the right."""
        marks = ["---", *("---:" for _ in self.columns[1:])]
        lines = [self.columns, tuple(marks), *self.rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        title = f"### {self.title}\n\n" if self.title else ""
        return f"{title}{text}\n\n{self.note}\n"


def percent(share: float) -> str:
    """A share with one decimal."""
    return f"{100 * share:.1f} %"
