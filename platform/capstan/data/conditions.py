"""SQL conditions on the rows of a table, such as `arrival >= departure`, asked of DuckDB."""

# The condition is the file's, as its query is; nothing else is put into the SQL.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.memory import machine_memory
from capstan.data.sql_errors import in_words
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError

_MEMORY_SHARE = 0.1


def columns_of_condition(condition: str, field: str) -> tuple[str, ...]:
    """Columns that it names, each once as it is written; raises InvalidDataError for what is no single condition."""
    with closing(duckdb.connect()) as connection:
        row = connection.execute(
            "select json_serialize_sql(?::varchar)", [f"select ({condition}\n)"]
        ).fetchone()
    tree: Any = json.loads(row[0]) if row else {}
    if tree.get("error") or len(tree.get("statements", ())) != 1:
        told = str(tree.get("error_message", "")).partition("\n")[0]
        raise InvalidDataError(
            f"{field}: {condition!r} is no SQL condition{f' ({told})' if told else ''}; write one that is true or "
            "false of a row, such as arrival >= departure"
        )
    return tuple(dict.fromkeys(_names(tree)))


def condition_holds(table: pa.Table, condition: str, zone: str, field: str) -> pa.Array:
    """(rows,): false where it is false; a missing value that leaves it open makes it true. Raises InvalidDataError.

    Times without an offset are of `zone`.
    """
    columns = columns_of_condition(condition, field)
    memory = int(_MEMORY_SHARE * machine_memory())
    with workspace(threads=1, memory=memory, zone=zone) as connection:
        connection.register("cases", table)
        try:
            found = connection.sql(
                f"select coalesce(cast(({condition}\n) as boolean), true) as holds from cases"
            ).to_arrow_table()["holds"]
        except duckdb.Error as error:
            raise InvalidDataError(
                f"{field}: {condition!r} can't be asked of the rows: {_first_line(error)}. It names "
                f"{', '.join(columns) or 'no column'}; correct it, or compute it as a column of true and false in "
                'data.query and check that with `allowed: ["true"]`'
            ) from error
    if len(found) != table.num_rows:
        raise InvalidDataError(
            f"{field}: {condition!r} gives {len(found):,} values for {table.num_rows:,} rows; write a condition of "
            "each row, without aggregates such as max(...)"
        )
    return pc.fill_null(found.combine_chunks(), True)


def _first_line(error: duckdb.Error) -> str:
    return in_words(error).partition("\n")[0]


def _names(tree: Any) -> Iterator[str]:
    left = [tree]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if part.get("class") == "COLUMN_REF" and part.get("column_names"):
                yield str(part["column_names"][-1])
            left += part.values()
        elif isinstance(part, list):
            left += part
