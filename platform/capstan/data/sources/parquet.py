"""Parquet files as a source."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb

from capstan.data.sources.files import files_of, sql_list
from capstan.data.sources.known_rows import copy_known_rows
from capstan.spec.data import ParquetSource, Source


def load_parquet(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    settings: ParquetSource,
    *,
    as_of: datetime | None,
    base_dir: Path,
) -> None:
    """Create the table `source.name` of all rows known by `as_of`."""
    files = files_of(source, settings.path, base_dir, "parquet")
    relation = f"select * from read_parquet({sql_list(files)}, union_by_name = true)"
    columns = [row[0] for row in connection.execute(f"describe {relation}").fetchall()]
    copy_known_rows(connection, source, relation, columns, as_of)
