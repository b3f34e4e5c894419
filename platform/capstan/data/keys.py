"""What must hold of the keys of cases: an id of their own, a moment, and a group whose rows are of one moment."""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import duckdb

from capstan.data.text_types import quote
from capstan.errors import InvalidDataError
from capstan.spec.system import MLSystem

_SHOWN = 5


def require_keys(connection: duckdb.DuckDBPyConnection, system: MLSystem, table: str) -> None:
    """Raises InvalidDataError for cases without a key, ids that come twice, and groups of several moments."""
    keys = system.spec.data.keys
    named = {"data.keys.id": keys.id, "data.keys.time": keys.time, "data.keys.group": keys.group}
    for field, name in named.items():
        if name is None:
            continue
        empty = connection.execute(f"select count(*) from {table} where {quote(name)} is null").fetchone()
        if empty and empty[0]:
            raise InvalidDataError(
                f"{field}: {empty[0]} rows have no {name!r}; filter them in data.query or name another column"
            )
    if keys.id is not None:
        _require_unique_ids(connection, keys.id, table)
    if keys.group is not None and keys.time is not None:
        _require_one_moment(connection, keys.group, keys.time, table)


def _require_unique_ids(connection: duckdb.DuckDBPyConnection, key: str, table: str) -> None:
    twice = connection.execute(
        f"select {quote(key)}, count(*) from {table} group by 1 having count(*) > 1 order by 1 limit {_SHOWN}"
    ).fetchall()
    if twice:
        shown = ", ".join(f"{name!r} ({count} times)" for name, count in twice)
        raise InvalidDataError(
            f"data.keys.id: {key!r} must be unique, but there is {shown}; correct the key, "
            "or a join that finds more than one row"
        )


def _require_one_moment(connection: duckdb.DuckDBPyConnection, group: str, time: str, table: str) -> None:
    """So no split, window or day can part the rows of a group, which a request asks about at one moment."""
    parted = connection.execute(
        f"select {quote(group)}, count(distinct {quote(time)}) as moments from {table} "
        "group by 1 having moments > 1 order by 1"
    ).fetchall()
    if parted:
        shown = ", ".join(f"{name!r} ({moments} moments)" for name, moments in parted[:_SHOWN])
        raise InvalidDataError(
            f"data.keys.group: {len(parted):,} groups have rows of different {time!r}: {shown}. A request asks about a "
            "group at one moment: give its rows one in data.query, such as "
            f"max({time}) over (partition by {group}) as {time}"
        )
