"""A source's table while all its values are still text."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import duckdb

from capstan.data.text_types import quote, typed
from capstan.spec.data import Source


def untyped_table(source: Source) -> str:
    """Its name, as an SQL identifier."""
    return quote(f"_untyped_{source.name}")


def replace_typed(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    untyped: str,
    columns: dict[str, tuple[str, ...] | None],
) -> None:
    """Make the source's table from the table of texts, which is dropped; `columns` as `typed` takes them."""
    items = typed(connection, untyped, columns)
    connection.execute(
        f"create or replace temp table {quote(source.name)} as select {', '.join(items)} from {untyped}"
    )
    connection.execute(f"drop table {untyped}")
