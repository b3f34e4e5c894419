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
from capstan.spec.data import NUMBER_FORMS

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


def way_to_number(
    column: str, texts: Iterable[str], delimiters: Collection[str] = (), *, of_query: bool = False
) -> str | None:
    """How a column whose cells have commas becomes numbers; None if none is a number with a comma.

    `texts` are its cells with a comma or a point, each at least once. `delimiters` are those of its files. `of_query`:
    the texts are made by the query, so that no source can state what they are.
    """
    marks = _marks(texts)
    comma = marks.decimal_comma or marks.grouping_comma or marks.either
    if comma is None:
        return None
    name = plain_name(column)
    if of_query:
        inner = f"replace({name}, '.', '')" if marks.grouping_point else name
        as_decimal = f"cast it in data.query, try_cast(replace({inner}, ',', '.') as double)"
        as_groups = f"cast it in data.query, try_cast(replace({name}, ',', '') as double)"
    else:
        as_decimal, as_groups = (f"state {_statement(column, form)}" for form in NUMBER_FORMS)
    point = marks.decimal_point
    decimal, groups = marks.decimal_comma or marks.grouping_point, marks.grouping_comma
    if decimal and (groups or point):
        return (
            f"{decimal!r} and {groups or point!r} in column {column!r} follow two rules, so that no one way to write "
            "numbers fits: write all its numbers alike"
        )
    usual = bool(delimiters) and set(delimiters) <= _COMMA_IS_DECIMAL
    if decimal or (usual and not groups and not point):
        shown = marks.decimal_comma or comma
        doubt = f"; look whether the point of {marks.either_point!r} groups thousands"
        return (
            f"{as_decimal}, which reads {shown!r} as {_read_decimal(shown)}"
            f"{doubt if marks.either_point and not marks.grouping_point else ''}"
        )
    if groups or (point and not usual):
        shown = groups or comma
        return f"{as_groups}, which reads {shown!r} as {shown.replace(',', '')}"
    return (
        f"{comma!r} may be {_read_decimal(comma)} or {comma.replace(',', '')}, which only you know: {as_decimal}, "
        f"where the comma is the decimal mark, or {as_groups}, where it groups thousands"
    )


def _statement(column: str, form: str) -> str:
    """The line under `types` of the column's source."""
    name = column if _PLAIN_NAME.fullmatch(column) else f'"{column}"'
    return f'{{column: {name}, type: Number, written: "{form}"}} under types of its source'


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
