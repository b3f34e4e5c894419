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
from capstan.data.syntax import nodes
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError

_MEMORY_SHARE = 0.1
_ORDERS = (
    *("COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO"),
    *("COMPARE_BETWEEN", "COMPARE_NOT_BETWEEN"),
)
_OPERANDS = ("left", "right", "input", "lower", "upper")


def columns_of_condition(condition: str, field: str) -> tuple[str, ...]:
    """Columns that it names, each once as it is written; raises InvalidDataError for what is no single condition."""
    return tuple(dict.fromkeys(_names(_tree(condition, field))))


def _tree(condition: str, field: str) -> Any:
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
    return tree


def ordered_by_condition(condition: str, field: str) -> tuple[str, ...]:
    """Columns that it compares by size, each once; none that it casts or computes with. Raises InvalidDataError.

    Beside a text such as 'b' a column is text by the condition's word.
    """
    found: list[str] = []
    for part in nodes(_tree(condition, field)):
        if part.get("type") in _ORDERS:
            operands = [part[name] for name in _OPERANDS if name in part]
            if not any(map(_is_word, operands)):
                found += [str(one["column_names"][-1]) for one in operands if one["class"] == "COLUMN_REF"]
    return tuple(dict.fromkeys(found))


def condition_holds(table: pa.Table, condition: str, zone: str, field: str) -> pa.Array:
    """(rows,): false where it is false; a missing value that leaves it open makes it true. Raises InvalidDataError.

    Times without an offset are of `zone`.
    """
    columns = columns_of_condition(condition, field)
    place = "place"
    while place in {name.casefold() for name in table.column_names}:
        place += "_"
    cases = without_nan(table).append_column(place, pa.array(range(table.num_rows), pa.int64()))
    memory = int(_MEMORY_SHARE * machine_memory())
    with workspace(threads=1, memory=memory, zone=zone) as connection:
        connection.register("cases", cases)
        try:
            # A window function gives the rows in an order of its own.
            found = connection.sql(
                f"select holds from (select {quote(place)}, coalesce(cast(({condition}\n) as boolean), true) as holds "
                f"from cases) order by {quote(place)}"
            ).to_arrow_table()["holds"]
        except duckdb.Error as error:
            if "must appear in the GROUP BY" in str(error):
                raise InvalidDataError(
                    f"{field}: {condition!r} gives one value for {table.num_rows:,} rows; write a condition of each "
                    "row, without aggregates such as max(...)"
                ) from error
            raise InvalidDataError(
                f"{field}: {condition!r} can't be asked of the rows: {_first_line(error)}. It names "
                f"{', '.join(columns) or 'no column'}; correct it, or compute it as a column of true and false in "
                'data.query and check that with `allowed: ["true"]`'
            ) from error
    if len(found) != table.num_rows:
        raise InvalidDataError(
            f"{field}: {condition!r} gives {len(found):,} values for {table.num_rows:,} rows; write a condition of "
            "each row, without functions such as unnest(...)"
        )
    return pc.fill_null(found.combine_chunks(), True)


def without_nan(table: pa.Table) -> pa.Table:
    """NaN is a missing value, and DuckDB takes it for the largest number."""
    for index, name in enumerate(table.column_names):
        values = table.column(index)
        if pa.types.is_floating(values.type):
            missing = pc.is_null(values, nan_is_null=True)
            table = table.set_column(index, name, pc.if_else(missing, pa.scalar(None, values.type), values))
    return table


def _first_line(error: duckdb.Error) -> str:
    return in_words(error).partition("\n")[0]


def _names(tree: Any) -> Iterator[str]:
    for part in nodes(tree):
        if part.get("class") == "COLUMN_REF" and part.get("column_names"):
            yield str(part["column_names"][-1])


def _is_word(operand: Any) -> bool:
    """Whether it is a text that is no number."""
    literal = operand.get("literal") or {}
    if literal.get("kind") != "STRING":
        return False
    try:
        float(literal["text"])
    except ValueError:
        return True
    return False
