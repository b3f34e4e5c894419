"""What type a column of text really has, judged by all of its values.

DuckDB's own sniffer looks at the start of the file, where rows from after `asOf` may stand; these types come only from
the rows that may be read.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping

import duckdb

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""Texts that mean "no value" in files without types."""

_DATED = r"'\d{4}-\d{2}-\d{2}'"
_INSTANT = r"'\d{4}-\d{2}-\d{2}[ T].+'"
# A leading zero says that it is a code, such as a postcode, and no number.
_TESTS = {
    "BIGINT": "regexp_full_match($column, '-?(0|[1-9]\\d{0,17})')",
    "DOUBLE": "(try_cast($column as double) is not null and not regexp_full_match($column, '-?0\\d+'))",
    "BOOLEAN": "lower($column) in ('true', 'false')",
    "DATE": f"(regexp_full_match($column, {_DATED}) and try_cast($column as date) is not null)",
    "TIMESTAMPTZ": f"(regexp_full_match($column, {_INSTANT}) and try_cast($column as timestamptz) is not null)",
}


def quote(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def typed(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, tuple[str, ...] | None]
) -> list[str]:
    """Select items that give each text column the narrowest type that all its values have.

    `columns` maps a column to the types that it may get, None for all. The connection's time zone must be UTC, because
    instants without an offset are UTC.
    """
    if not columns:
        return []
    counts: list[str] = []
    for name in columns:
        column = quote(name)
        counts.append(f"count({column})")
        counts += [f"count(*) filter ({test.replace('$column', column)})" for test in _TESTS.values()]
    found = connection.execute(f"select {', '.join(counts)} from {table}").fetchone() or ()
    items = []
    width = len(_TESTS) + 1
    for index, (name, allowed) in enumerate(columns.items()):
        present, *passed = found[index * width : (index + 1) * width]
        column = quote(name)
        kind = next(
            (
                kind
                for kind, number in zip(_TESTS, passed, strict=True)
                if number == present and (allowed is None or kind in allowed)
            ),
            "VARCHAR",
        )
        # An empty column adds up and compares best as a number.
        items.append(f"cast({column} as {'DOUBLE' if not present else kind}) as {column}")
    return items
