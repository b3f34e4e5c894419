"""What runs a transform: DuckDB, or another engine by the same SQL. Tables go in and out as Parquet files."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from capstan.data.sources.files import sql_file, sql_list
from capstan.data.sql_errors import in_words, is_no_space
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.errors import DiskFullError, InvalidDataError
from capstan.spec.etl import Dropping, Transform

SELECT = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
REASON = "capstan_dropped_because"
"""Column with the place of the first reason that holds."""
Made = tuple[int, list[int]]
"""Rows that a step gave, and how many were dropped for each reason."""
Tables = Mapping[str, Path]
"""Name -> a Parquet file, or a folder of them."""
Function = Callable[[Mapping[str, Any]], Any]


class Engine(Protocol):
    """Raises InvalidDataError that names the step."""

    def transform(self, step: Transform, function: Function | None, tables: Tables, target: Path) -> Made:
        """Make the step's table at `target`, without the rows that are dropped; `function` is that of `python`."""
        ...


def parquet_files(table: Path) -> list[str]:
    """Those of a table, in their order."""
    return sorted(map(str, table.glob("*.parquet"))) if table.is_dir() else [str(table)]


@contextmanager
def duckdb_engine(zone: str, memory: int, threads: int) -> Iterator[Engine]:
    """DuckDB in this process."""
    yield _DuckDB(zone, memory, threads)


class _DuckDB:
    def __init__(self, zone: str, memory: int, threads: int) -> None:
        self._zone, self._memory, self._threads = zone, memory, threads

    def transform(self, step: Transform, function: Function | None, tables: Tables, target: Path) -> Made:
        with workspace(threads=self._threads, memory=self._memory, zone=self._zone) as connection:
            for name, table in tables.items():
                files = sql_list(parquet_files(table))
                connection.execute(f"create view {quote(name)} as select * from read_parquet({files})")
            with told(f"transform.{step.name}"):
                if function is None:
                    _require_select(connection, step)
                    connection.execute(f"create temp table result as {step.sql}")
                else:
                    connection.register("given", called(step, function, _arrow_tables(connection, tables)))
                    connection.execute("create temp table result as from given")
                _require_room_for_reason(connection, step)
                columns = f"*{_whole_numbers(connection)}, {reasons(step.drop)} as {REASON}"
                connection.execute(f"create temp table marked as select {columns} from result")
                counts = dict(
                    connection.execute(f"select {REASON}, count(*) from marked group by all").fetchall()
                )
                connection.execute(
                    f"copy (select * exclude ({REASON}) from marked where {REASON} is null) "
                    f"to {sql_file(str(target))} (format parquet)"
                )
        return made_of(step, counts)


def _arrow_tables(connection: duckdb.DuckDBPyConnection, tables: Tables) -> dict[str, pa.Table]:
    return {name: connection.sql(f"from {quote(name)}").to_arrow_table() for name in tables}


def _require_room_for_reason(connection: duckdb.DuckDBPyConnection, step: Transform) -> None:
    if REASON in map(str.casefold, connection.sql("from result").columns):
        raise InvalidDataError(
            f"transform.{step.name}: {REASON!r} is a column of Capstan's own; give it another name"
        )


def _whole_numbers(connection: duckdb.DuckDBPyConnection) -> str:
    """SQL that lets sums of whole numbers stay whole: DuckDB gives them 128 bits, of which Parquet makes floats."""
    found = connection.sql("from result")
    replaced = []
    for name, kind in zip(found.columns, map(str, found.types), strict=True):
        if kind not in ("HUGEINT", "UHUGEINT"):
            continue
        column = quote(name)
        fits = connection.execute(
            f"select coalesce(bool_and({column} between {-(2**63)} and {2**63 - 1}), true) from result"
        ).fetchall()[0][0]
        replaced.append(f"cast({column} as {'bigint' if fits else 'decimal(38, 0)'}) as {column}")
    return f" replace ({', '.join(replaced)})" if replaced else ""


def _require_select(connection: duckdb.DuckDBPyConnection, step: Transform) -> None:
    statements = connection.extract_statements(step.sql or "")
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise InvalidDataError(f"transform.{step.name}: sql must be one select statement")


def called(step: Transform, function: Function, tables: Mapping[str, Any]) -> Any:
    assert step.python is not None
    try:
        made = function(tables)
    except Exception as error:
        raise InvalidDataError(
            f"transform.{step.name}: {step.python.factory}: {type(error).__name__}: {error}"
        ) from error
    if not any(
        hasattr(made, name)
        for name in ("createOrReplaceTempView", "collect_schema", "to_pandas", "iloc", "read_next_batch")
    ):
        raise InvalidDataError(
            f"transform.{step.name}: {step.python.factory} gave {type(made).__name__}; let its function give a table "
            "of pyarrow, a DataFrame of pandas, or one of the engine"
        )
    return made


def reasons(drop: Sequence[Dropping]) -> str:
    """SQL of the place of the first reason that holds, which all engines speak."""
    cases = " ".join(f"when ({one.where}) then {place}" for place, one in enumerate(drop))
    return f"case {cases} end" if cases else "cast(null as int)"


def made_of(step: Transform, counts: Mapping[int | None, int]) -> Made:
    return sum(counts.values()), [counts.get(place, 0) for place in range(len(step.drop))]


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def told(field: str) -> Iterator[None]:
    """DuckDB's errors as Capstan's."""
    try:
        yield
    except duckdb.Error as error:
        if is_no_space(error):
            raise DiskFullError(f"{field}: no room left for temporary files: {in_words(error)}") from error
        raise InvalidDataError(f"{field}: {in_words(error)}") from error
