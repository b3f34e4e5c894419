"""Sources of the file, one module per kind, listed here: brought into DuckDB without any row from after `asOf`.

A source is copied before the query runs, so that not even the query's plan can depend on rows that were not yet there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from capstan.data.sources.annotated import AnnotatedReader
from capstan.data.sources.csv import CsvReader
from capstan.data.sources.databases import open_database
from capstan.data.sources.delta import open_delta
from capstan.data.sources.iceberg import open_iceberg
from capstan.data.sources.json_lines import JsonLinesReader
from capstan.data.sources.parquet import ParquetReader
from capstan.data.sources.reading import Reader, Reading
from capstan.spec.data import (
    CsvSource,
    DatabaseSource,
    DeltaSource,
    IcebergSource,
    JsonLinesSource,
    ParquetSource,
    SourceSettings,
)

__all__ = ["SOURCES", "Open", "Reader", "Reading", "open_source"]

Open = Callable[[Reading, Any], Reader]
"""Opens a source by its settings; raises InvalidDataError if there is nothing to read."""
SOURCES: Mapping[type[SourceSettings], Open] = {
    CsvSource: CsvReader,
    ParquetSource: ParquetReader,
    JsonLinesSource: JsonLinesReader,
    DeltaSource: open_delta,
    IcebergSource: open_iceberg,
    DatabaseSource: open_database,
}
"""Settings of the grammar -> what opens such a source."""


def open_source(reading: Reading) -> Reader:
    """The reader of the source's kind; raises InvalidDataError if there is nothing to read."""
    settings, annotations = reading.source.settings, reading.source.annotations
    reader = SOURCES[type(settings)](reading, settings)
    return reader if annotations is None else AnnotatedReader(reading, reader, annotations)
