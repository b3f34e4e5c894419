"""What tables of Delta Lake and Iceberg share: rows come in batches, and what stops them is told in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from capstan.data.sources.reading import Reading
from capstan.errors import InvalidDataError

_MARGIN = timedelta(days=1)
"""What a moment without a zone may be away from UTC; the rows are cut exactly afterwards."""


class BatchedRows:
    """Rows of a table as DuckDB takes them; errors of the table's library become InvalidDataError."""

    def __init__(self, reading: Reading, words: Callable[[Exception], str]) -> None:
        self._reading, self._words = reading, words
        self._failure: InvalidDataError | None = None

    def streamed(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatchReader:
        """The batches; what they raise is raised again by `require_read`."""
        self._failure = None
        return pa.RecordBatchReader.from_batches(schema, self._told(batches))

    def require_read(self) -> None:
        """Raises InvalidDataError for what stopped the last `streamed`."""
        if self._failure is not None:
            raise self._failure from None

    def refused(self, error: Exception) -> InvalidDataError:
        """The error in words."""
        return InvalidDataError(f"{self._reading.field}: {self._words(error)}")

    def _told(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except GeneratorExit:
            raise
        except Exception as error:
            # Libraries of tables share no base of their errors, and each has its own words, which may hold keys.
            self._failure = self.refused(error)
            raise self._failure from None


def latest_moment(reading: Reading, schema: pa.Schema) -> datetime | date | None:
    """Rows from after it need not leave the table; None where its values or the reading set no such bound.

    It is a day later than `as_of`, as a time without an offset may be of any zone.
    """
    name = reading.source.time_column
    if reading.as_of is None or name is None or name not in schema.names:
        return None
    kind = schema.field(name).type
    latest = (reading.as_of + _MARGIN).astimezone(UTC)
    if pa.types.is_date(kind):
        return latest.date()
    if not pa.types.is_timestamp(kind):
        return None
    return latest if kind.tz else latest.replace(tzinfo=None)
