"""What a comma means in texts that were meant as numbers, and the SQL that reads them so.

`0,5` has a decimal comma and `1,234.5` groups of thousands; of `1,288` alone nobody knows, and the wrong reading is a
thousand times too much without any error.
"""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import duckdb

from capstan.data.text_types import quote

_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_DECIMAL = re.compile(r"[+-]?(\d*|[1-9]\d{0,2}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_SURE_POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}((\.\d{3})+,\d+|(\.\d{3}){2,})")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)
_MOST_TEXTS = 10_000
_COMMA_IS_DECIMAL = frozenset({";"})
"""Delimiter that programs write where the comma is taken as the decimal mark."""


@dataclass(frozen=True)
class _Marks:
    """Examples of what texts show; None: no text shows it."""

    decimal_comma: str | None = None
    grouping_comma: str | None = None
    either: str | None = None
    decimal_point: str | None = None
    grouping_point: str | None = None
    either_point: str | None = None


def way_to_number(column: str, texts: Iterable[str], delimiters: Collection[str] = ()) -> str | None:
    """How a query makes numbers of a column whose cells have commas; None if none is a number with a comma.

    `texts` are its cells with a comma or a point, each at least once. `delimiters` are those of its files.
    """
    marks = _marks(texts)
    comma = marks.decimal_comma or marks.grouping_comma or marks.either
    if comma is None:
        return None
    name = plain_name(column)
    as_groups = f"try_cast(replace({name}, ',', '') as double)"
    inner = f"replace({name}, '.', '')" if marks.grouping_point else name
    as_decimal = f"try_cast(replace({inner}, ',', '.') as double)"
    point = marks.decimal_point
    decimal, groups = marks.decimal_comma or marks.grouping_point, marks.grouping_comma
    if decimal and (groups or point):
        return (
            f"{decimal!r} and {groups or point!r} in column {column!r} follow two rules, so that no one cast fits: "
            "write all its numbers alike"
        )
    usual = bool(delimiters) and set(delimiters) <= _COMMA_IS_DECIMAL
    if decimal or (usual and not groups and not point):
        shown = marks.decimal_comma or comma
        doubt = f"; look whether the point of {marks.either_point!r} groups thousands"
        return (
            f"cast it with its decimal comma in data.query, {as_decimal}, which reads {shown!r} as "
            f"{_read_decimal(shown)}{doubt if marks.either_point and not marks.grouping_point else ''}"
        )
    if groups or (point and not usual):
        shown = groups or comma
        return (
            f"cast it without its thousands' commas in data.query, {as_groups}, which reads {shown!r} as "
            f"{shown.replace(',', '')}"
        )
    return (
        f"cast it in data.query: {comma!r} may be {_read_decimal(comma)} or {comma.replace(',', '')}, which only you "
        f"know: {as_decimal} where the comma is the decimal mark, {as_groups} where it groups thousands"
    )


def texts_with_marks(connection: duckdb.DuckDBPyConnection, rows: str, column: str) -> Iterator[str]:
    """Texts of the column in the table `rows` that have a comma, and others that have a point."""
    name = quote(column)
    for where in (f"contains({name}, ',')", f"contains({name}, '.') and not contains({name}, ',')"):
        found = connection.execute(f"select distinct {name} from {rows} where {where} limit {_MOST_TEXTS}")
        yield from (text for (text,) in found.fetchall())


def plain_name(column: str) -> str:
    """The column as a person writes it in SQL: in quotes only where it must be."""
    return column if _PLAIN_NAME.fullmatch(column) else quote(column)


def _marks(texts: Iterable[str]) -> _Marks:
    found: dict[str, str] = {}
    for text in map(str.strip, texts):
        grouped, decimal = _GROUPED.fullmatch(text), _DECIMAL.fullmatch(text)
        if grouped and decimal:
            found.setdefault("either", text)
        elif grouped:
            found.setdefault("grouping_comma", text)
        elif decimal:
            found.setdefault("decimal_comma", text)
        if _SURE_POINT_GROUPS.fullmatch(text):
            found.setdefault("grouping_point", text)
        elif _POINT_GROUPS.fullmatch(text):
            found.setdefault("either_point", text)
        elif _DECIMAL_POINT.fullmatch(text):
            found.setdefault("decimal_point", text)
    return _Marks(**found)


def _read_decimal(text: str) -> str:
    return text.replace(".", "").replace(",", ".")
