"""A table of Delta Lake as a source, by delta-rs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.sources.database import DatabaseReader
from capstan.data.sources.lake_tables import BatchedRows, latest_moment
from capstan.data.sources.reading import Reading
from capstan.data.sources.storages import client_options, status_words
from capstan.errors import InvalidDataError, MissingExtraError
from capstan.spec.data import DeltaSource, is_in_storage


def open_delta(reading: Reading, settings: DeltaSource) -> DatabaseReader:
    """The reader of the table; raises InvalidDataError if there is nothing to read, MissingExtraError."""
    if find_spec("deltalake") is None:
        raise MissingExtraError(f"{reading.field}: a table of Delta Lake", "delta")
    return DatabaseReader(reading, settings.path, DeltaTableRows(reading, settings))


class DeltaTableRows:
    """As `Database`: of its files only the columns and days leave that may be needed."""

    booleans: frozenset[str] = frozenset()

    def __init__(self, reading: Reading, settings: DeltaSource) -> None:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        self._reading, self._settings = reading, settings
        self._rows = BatchedRows(reading, self._words)
        if is_in_storage(settings.path):
            place, options = settings.path, client_options(reading, settings)
        else:
            folder = reading.base_dir / settings.path
            if not folder.is_dir():
                raise InvalidDataError(
                    f"{reading.field}: {folder} does not exist; write the table there or correct {reading.field}.path"
                )
            place, options = str(folder), {}
        try:
            table = DeltaTable(place, version=settings.version, storage_options=options)
            self._dataset: Any = table.to_pyarrow_dataset()
        except (DeltaError, OSError, ValueError) as error:
            raise self._rows.refused(error) from None
        self.columns = list(self._dataset.schema.names)

    def rows(self, columns: Sequence[str], limit: int | None = None) -> pa.RecordBatchReader:
        """In batches."""
        dataset, names = self._dataset, list(columns)
        latest = latest_moment(self._reading, dataset.schema)
        known = None
        if latest is not None:
            at = pc.field(self._reading.source.time_column)
            kind = dataset.schema.field(self._reading.source.time_column).type
            # A row without a moment is told.
            known = at.is_null() | (at <= pa.scalar(latest, kind))
        scanner = dataset.scanner(columns=names, filter=known)
        if limit is None:
            return self._rows.streamed(scanner.to_batches(), scanner.projected_schema)
        return self._rows.streamed(_first(scanner, limit), scanner.projected_schema)

    def require_read(self) -> None:
        """Raises InvalidDataError."""
        self._rows.require_read()

    def _words(self, error: Exception) -> str:
        from deltalake.exceptions import DeltaProtocolError, TableNotFoundError

        path = self._settings.path
        if isinstance(error, TableNotFoundError):
            return f"{path} holds no table of Delta Lake; correct the path: it is the folder that holds _delta_log"
        if isinstance(error, DeltaProtocolError):
            return (
                f"{path} is written in a way that is not read, such as by deletion vectors or column mapping; write it "
                "anew without them, or export it to Parquet and name it under `parquet`"
            )
        if (version := self._settings.version) is not None and "version" in str(error).lower():
            return f"{path} has no version {version}; correct or drop {self._reading.field}.version"
        if isinstance(error, FileNotFoundError):
            return f"{path}: a file of the table is not there; do not delete files by hand, or name an older version"
        if not is_in_storage(path):
            return f"{path} cannot be read ({type(error).__name__}); check the table by its own tools"
        return f"{path} cannot be read: {status_words(error)}"


def _first(scanner: Any, rows: int) -> Iterator[pa.RecordBatch]:
    yield from scanner.head(rows).to_batches()
