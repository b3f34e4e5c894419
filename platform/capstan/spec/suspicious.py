"""What looks wrong in a column of a table that nobody has described yet, in words with the values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from capstan.spec.data import DECIMAL_COMMA
from capstan.spec.guessing import MISSING_WORDS, ColumnProfile

_FAR = 10.0
"""A number lies far away from the others at so many times the width of the middle 98 of 100."""
_MOST_NAMED = 3
_SENTINEL_SHARE = 0.005
"""A round number at the edge that so many rows have may stand for a missing one."""
_SENTINELS = frozenset({"-1", "-9", "-99", "-999", "-9999", "9", "99", "999", "9999", "99999"})


def suspicions(column: ColumnProfile) -> tuple[str, ...]:
    """A sentence for each thing that should be looked at before a model learns it; empty: nothing was found."""
    return tuple(_found(column))


def _found(column: ColumnProfile) -> Iterator[str]:
    if column.rows and column.missing == column.rows:
        yield "no row has a value"
        return
    if column.rows > 1 and column.distinct == 1 and not column.missing:
        yield f"every row has the same value, {_named(next(iter(column.counts), ''))}"
    if column.odd:
        yield f"numbers, but for {', '.join(map(_named, column.odd[:_MOST_NAMED]))}"
    if column.number_form:
        kind = "a decimal comma" if column.number_form == DECIMAL_COMMA else "thousands in groups by commas"
        yield (
            f"numbers with {kind} are read as text; state {{column: {column.name}, type: Number, written: "
            f'"{column.number_form}"}} under types of their source'
        )
    if column.written:
        yield f"times are written as {column.written}, which a source reads as text"
    yield from _missing_words(column)
    yield from _spellings(column)
    yield from _far_numbers(column)


def _missing_words(column: ColumnProfile) -> Iterator[str]:
    """Texts that people write where they know nothing; those of a column of numbers are told as odd."""
    if column.kind != "Text" or column.odd:
        return
    found = {text: count for text, count in column.counts.items() if text.strip().lower() in MISSING_WORDS}
    if found:
        rows = sum(found.values())
        words = ", ".join(map(_named, list(found)[:_MOST_NAMED]))
        yield f"{words} may mean that the value is missing ({rows:,} row{'s' if rows > 1 else ''})"


def _spellings(column: ColumnProfile) -> Iterator[str]:
    """Values that differ by blanks or capitals only; among the most frequent ones."""
    if column.kind != "Text":
        return
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for text in column.counts:
        alike[" ".join(text.split()).casefold()].append(text)
    for spellings in [found for found in alike.values() if len(found) > 1][:_MOST_NAMED]:
        yield f"{' and '.join(map(_named, spellings[:_MOST_NAMED]))} are two values, and may mean one"


def _far_numbers(column: ColumnProfile) -> Iterator[str]:
    low, high, usual_low, usual_high = column.low, column.high, column.usual_low, column.usual_high
    if column.kind != "Number" or low is None or high is None or usual_low is None or usual_high is None:
        return
    for text, count in column.counts.items():
        is_frequent = count >= max(2, _SENTINEL_SHARE * column.rows)
        if _plain(text) in _SENTINELS and is_frequent and _is_apart(_number(text), column):
            yield f"{_plain(text)} may mean that the value is missing ({count:,} rows)"
            return
    width = usual_high - usual_low
    if width <= 0:
        return
    middle = f"98 of 100 lie between {usual_low:g} and {usual_high:g}"
    if low < usual_low - _FAR * width:
        yield f"the smallest, {low:g}, lies far away: {middle}"
    if high > usual_high + _FAR * width:
        yield f"the largest, {high:g}, lies far away: {middle}"


def _is_apart(value: float, column: ColumnProfile) -> bool:
    """Whether it is the smallest or largest, and a gap separates it, wider than the other frequent values reach."""
    if value not in (column.low, column.high):
        return False
    others = sorted(number for text in column.counts if (number := _number(text)) != value)
    if len(others) < 2:
        return False
    gap = others[0] - value if value < others[0] else value - others[-1]
    return gap > others[-1] - others[0]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _plain(text: str) -> str:
    return text.removesuffix(".0")


def _named(text: str) -> str:
    return f"'{text}'"
