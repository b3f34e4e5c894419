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


def put_between(page: str, begin: str, end: str, text: str) -> str:
    """The page with the text in place of all from one mark to the other, with these; raises ValueError unless each of
    them stands there once.
    """
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"{begin} and {end} must stand once in the page")
    before, rest = page.split(begin)
    return f"{before}{text}{rest.split(end)[1]}"


def percent(share: float) -> str:
    """A share with one decimal."""
    return f"{100 * share:.1f} %"
