"""Brings each source of the file into DuckDB, without any row from after `asOf`.

A source is copied before the query runs, so that not even the query's plan can depend on rows that were not yet there.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb

from capstan.data.sources.csv import load_csv
from capstan.data.sources.database import load_database
from capstan.data.sources.json_lines import load_json_lines
from capstan.data.sources.parquet import load_parquet
from capstan.errors import InvalidDataError
from capstan.spec.data import Source

__all__ = ["load_source"]


def load_source(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    as_of: datetime | None,
    base_dir: Path,
    secrets: Path,
) -> None:
    """Create the table `source.name` of all rows known by `as_of`; raises InvalidDataError.

    The connection's time zone must be UTC.
    """
    try:
        if source.parquet is not None:
            load_parquet(connection, source, source.parquet, as_of=as_of, base_dir=base_dir)
        elif source.csv is not None:
            load_csv(connection, source, source.csv, as_of=as_of, base_dir=base_dir)
        elif source.json_lines is not None:
            load_json_lines(connection, source, source.json_lines, as_of=as_of, base_dir=base_dir)
        elif source.database is not None:
            load_database(
                connection, source, source.database, as_of=as_of, base_dir=base_dir, secrets=secrets
            )
    except (duckdb.Error, OSError) as error:
        raise InvalidDataError(f"data.sources.{source.name}: cannot be read: {error}") from error
