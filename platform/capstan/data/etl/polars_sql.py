"""What Polars must be told, or kept from, so that SQL gives the rows of DuckDB.

Polars computes in the type of a number, and runs over without a word: `extract(month from day) * 100` has 8 bits
there, and gives -80 in December. So what a function, a sum or a cast makes of whole numbers gets 128 bits before it is
computed with.

It also takes a day, and a clock time that is cast to or from a moment, for one of UTC, whatever zone the moment has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb

_ZERO = "cast(0 as hugeint) + "
"""In front of a number: whole ones get 128 bits, others stay what they are."""
_NARROW = frozenset(
    re.findall(
        r"\w+",
        "extract date_part century decade year isoyear quarter month week isoweek weekday dayofweek isodow "
        "dow dayofmonth day dayofyear doy hour minute second millisecond microsecond length len char_length "
        "character_length octet_length bit_length bit_count strpos position array_length sign rank dense_rank "
        "row_number ntile ",
    )
)
"""Functions whose numbers may have fewer than 64 bits."""
_TYPES = frozenset(["tinyint", "smallint", "int", "integer", "bigint", "int1", "int2", "int4", "int8"])
_OF_TIME = frozenset(("date", "datetime", "time", "timestamp", "timestamptz"))
_WHOLE = re.compile(r"\d+\Z")


def with_room(sql: str) -> str:
    """The same SQL, whose whole numbers have 128 bits where they are computed with."""
    text = sql.encode()
    starts, lower = _words(sql)
    pieces: list[tuple[int, int, int, str]] = []
    for place, word in enumerate(lower):
        before, after = _at(lower, place - 1), _at(lower, place + 1)
        if word == "sum" and after == "(":
            first = place + 2 + (_at(lower, place + 2) in ("distinct", "all"))
            close = _closing(lower, place + 1)
            if close is not None and first < close:
                pieces += [(starts[first], 0, 0, f"{_ZERO}("), (starts[close], 0, -place, ")")]
        elif word in _NARROW and after == "(" and before != ".":
            close = _closing(lower, place + 1)
            if close is not None and _at(lower, close + 1) == "over" and _at(lower, close + 2) == "(":
                close = _closing(lower, close + 2)
            if close is not None:
                pieces += [(starts[place], 0, 1, f"({_ZERO}"), (starts[close] + 1, 0, -place, ")")]
        elif word in _TYPES and (before == "::" or (before == "as" and after == ")")):
            pieces.append((starts[place], len(word), 2, "hugeint"))
        elif _WHOLE.match(word) and (
            before in ("then", "else") or (before == "-" and _at(lower, place - 2) in ("then", "else"))
        ):
            pieces.append((starts[place], len(word), 2, f"cast({word} as hugeint)"))
    for start, length, _, piece in sorted(pieces, reverse=True):
        text = text[:start] + piece.encode() + text[start + length :]
    return text.decode()


def types_of_time(sql: str) -> set[str]:
    """Which of the types of days, clock times and moments a cast or a constant names."""
    _, words = _words(sql)
    found = set()
    for place, word in enumerate(words):
        before, after = _at(words, place - 1), _at(words, place + 1)
        cast = before == "::" or (before == "as" and after in (")", "with", "without", "("))
        if word in _OF_TIME and (cast or after.startswith("'") or after in ("with", "without")):
            zoned = word == "timestamptz" or _at(words, place + 1) == "with"
            found.add("timestamptz" if zoned else word)
    return found


def _words(sql: str) -> tuple[list[int], list[str]]:
    """Words of the SQL without comments: where each begins, in bytes, and in lower case."""
    text = sql.encode()
    tokens = duckdb.tokenize(sql)
    ends = [*(start for start, _ in tokens[1:]), len(text)]
    kept = [
        (start, text[start:end].decode().strip().lower())
        for (start, kind), end in zip(tokens, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]
    return [start for start, _ in kept], [word for _, word in kept]


def _at(words: Sequence[str], place: int) -> str:
    return words[place] if 0 <= place < len(words) else ""


def _closing(words: Sequence[str], opening: int) -> int | None:
    """Place of the bracket that closes this one."""
    depth = 0
    for place in range(opening, len(words)):
        depth += (words[place] == "(") - (words[place] == ")")
        if depth == 0:
            return place
    return None
