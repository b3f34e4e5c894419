"""Which columns of which tables a query reads, as DuckDB's own plan says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb

from capstan.data.text_types import literal

_KEPT = ("unused_columns",)


@contextmanager
def plain_plans(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Plans only leave out unused columns.

    The optimiser's other steps look at rows, which an empty table lacks, and some take minutes for the plain select
    lists of tables with thousands of columns.
    """
    names = [row[0] for row in connection.execute("select name from duckdb_optimizers()").fetchall()]
    off = ",".join(name for name in names if name not in _KEPT)
    connection.execute(f"set disabled_optimizers = {literal(off)}")
    try:
        yield
    finally:
        connection.execute("set disabled_optimizers = ''")


def used_columns(
    connection: duckdb.DuckDBPyConnection, query: str, tables: Mapping[str, Iterable[str]]
) -> dict[str, list[str]]:
    """Table -> its columns that the query reads, in the table's order; a table that is not read has no entry.

    `tables` are those asked about with their columns; they may be empty, but must exist. Where the plan names what is
    no column of a table, all its columns count as read. Raises duckdb.Error if the query is wrong.
    """
    if "rowid" in query.casefold():
        # The plan does not show it, and only tables have it.
        return {table: list(columns) for table, columns in tables.items()}
    with plain_plans(connection):
        explained = connection.execute(f"explain (format json) {query}").fetchall()
    found: dict[str, set[str]] = {}
    for node in _nodes(json.loads(explained[0][1])):
        details = node.get("extra_info") or {}
        table = str(details.get("Table", "")).rpartition(".")[2].strip('"')
        if table not in tables:
            continue
        read = details.get("Projections", [])
        read = [read] if isinstance(read, str) else read
        found.setdefault(table, set()).update(name for name in read if name)
    return {
        table: list(columns)
        if found[table] - set(columns)
        else [name for name in columns if name in found[table]]
        for table, columns in tables.items()
        if table in found
    }


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plan, list):
        for part in plan:
            yield from _nodes(part)
    elif isinstance(plan, dict):
        yield plan
        yield from _nodes(plan.get("children", []))
