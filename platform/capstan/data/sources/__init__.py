"""The sources of the file, brought into DuckDB without any row from after `asOf`.

A source is copied before the query runs, so that not even the query's plan can depend on rows that were not yet there.
"""

from __future__ import annotations

from capstan.data.sources.csv import CsvReader
from capstan.data.sources.database import DatabaseReader
from capstan.data.sources.json_lines import JsonLinesReader
from capstan.data.sources.parquet import ParquetReader
from capstan.data.sources.reading import Reader, Reading

__all__ = ["Reader", "Reading", "open_source"]


def open_source(reading: Reading) -> Reader:
    """The reader of the source's kind; raises InvalidDataError if there is nothing to read."""
    source = reading.source
    if source.csv is not None:
        return CsvReader(reading, source.csv)
    if source.parquet is not None:
        return ParquetReader(reading, source.parquet)
    if source.json_lines is not None:
        return JsonLinesReader(reading, source.json_lines)
    assert source.database is not None
    return DatabaseReader(reading, source.database)
