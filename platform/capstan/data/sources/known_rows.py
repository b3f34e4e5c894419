"""The rows of a source that were known at a moment."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import logging
from datetime import datetime

import duckdb

from capstan.data.text_types import literal, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import Source

_LOG = logging.getLogger(__name__)


def copy_known_rows(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    relation: str,
    columns: list[str],
    as_of: datetime | None,
    target: str | None = None,
) -> None:
    """Copy the relation's rows known by `as_of` to the source's table, or to `target`."""
    target = target or quote(source.name)
    time_column = source.time_column
    if time_column is None:
        connection.execute(f"create or replace temp table {target} as {relation}")
        return
    if time_column not in columns:
        raise InvalidDataError(
            f"data.sources.{source.name}.timeColumn: there is no column {time_column!r}; "
            f"the columns are {', '.join(columns)}"
        )
    kind = connection.execute(f"select typeof({quote(time_column)}) from ({relation}) limit 1").fetchone()
    at = instant(quote(time_column), kind[0] if kind else "VARCHAR")
    undated, dated = connection.execute(
        f"select count(*) filter ({at} is null), count({at}) from ({relation})"
    ).fetchone() or (0, 0)
    if undated and not dated:
        raise InvalidDataError(
            f"data.sources.{source.name}.timeColumn: no value of {time_column!r} is a moment; "
            "write RFC 3339 such as 2013-02-01T05:00:00Z, or name another column"
        )
    if as_of is None:
        connection.execute(f"create or replace temp table {target} as {relation}")
        return
    if undated:
        # Nobody can say whether such a row was known by then.
        _LOG.warning("%s: %d rows without a readable %s are not read", source.name, undated, time_column)
    connection.execute(
        f"create or replace temp table {target} as select * from ({relation}) where {at} <= {moment(as_of)}"
    )


def instant(column: str, kind: str) -> str:
    """The column as an instant; without an offset it is UTC; null where it can't be read."""
    if kind in ("TIMESTAMP WITH TIME ZONE", "VARCHAR"):
        return f"try_cast({column} as timestamptz)"
    return f"(try_cast({column} as timestamp) at time zone 'UTC')"


def moment(as_of: datetime) -> str:
    """The moment as an SQL literal."""
    return f"timestamptz {literal(as_of.isoformat())}"
