"""Runs the file's query by Polars or Spark, and gives its rows the types that DuckDB would give them."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import duckdb

from capstan.data.etl.engines import Engine, parquet_files
from capstan.data.etl.polars_engine import polars_engine
from capstan.data.etl.spark_engine import spark_engine
from capstan.data.sources.files import sql_file, sql_list
from capstan.data.text_types import quote
from capstan.errors import InvalidDataError
from capstan.spec.etl import Transform

EngineName = Literal["DuckDB", "Polars", "Spark"]
_STEP = "query"


def run_elsewhere(
    connection: duckdb.DuckDBPyConnection,
    engine: EngineName,
    zone: str,
    tables: Sequence[str],
    query: str,
    columns: Sequence[str],
    target: str,
) -> None:
    """Create the table `target` with these columns of the query over `tables`, which go to the engine as files.

    Raises InvalidDataError for what the engine refuses, and for types that no file holds; MissingExtraError.
    """
    items = ", ".join(map(quote, columns))
    planned = connection.sql(f"select {items} from ({query})")
    kinds = dict(zip(planned.columns, map(str, planned.types), strict=True))
    running: AbstractContextManager[Engine] = (
        polars_engine(zone) if engine == "Polars" else spark_engine(zone)
    )
    # Rows may hold what the file marks as private: a folder of TemporaryDirectory is the owner's alone.
    with TemporaryDirectory(prefix="capstan-query-") as folder:
        files = {name: Path(folder) / f"{name}.parquet" for name in tables}
        for name, file in files.items():
            _require_files_hold(connection, name)
            connection.execute(f"copy (from {quote(name)}) to {sql_file(str(file))} (format parquet)")
        made = Path(folder) / "made.parquet"
        try:
            with running as by:
                by.transform(Transform(name=_STEP, sql=query), None, files, made)
        except InvalidDataError as error:
            raise InvalidDataError(str(error).replace(f"transform.{_STEP}", "data.query", 1)) from error
        cast = ", ".join(f"cast({quote(name)} as {kind}) as {quote(name)}" for name, kind in kinds.items())
        connection.execute(
            f"create temp table {target} as select {cast} from read_parquet({sql_list(parquet_files(made))})"
        )


def _require_files_hold(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    found = connection.sql(f"from {quote(name)}")
    for column, kind in zip(found.columns, map(str, found.types), strict=True):
        if kind in ("HUGEINT", "UHUGEINT"):
            raise InvalidDataError(
                f"data.sources.{name}: column {column!r} has whole numbers of more than 64 bits, which only DuckDB "
                "keeps; drop data.engine, or say in types that it is Text"
            )
