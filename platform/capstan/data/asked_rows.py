"""Rows of a table as requests carry them, read as a training reads them and given out in parts.

DuckDB holds the table and spills to disk, so that memory does not grow with the number of rows.
"""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from capstan.data.named_file import kind_of, source_of
from capstan.data.sources import Reading, open_source
from capstan.data.sources.plain_text import guessed_encoding
from capstan.data.sql_errors import in_words
from capstan.data.text_types import number_of_text, quote
from capstan.data.usage import plain_plans
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError
from capstan.features.values import MISSING_TEXTS, ColumnType
from capstan.spec.data import CsvSource, Source

MEMORY_BYTES = 2**29
PART_ROWS = 2000
_EXACT = 2**53
_NAME = "rows"
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


def asked_rows(
    file: Path, wanted: Mapping[str, ColumnType | None], *, zone: str, sources: Sequence[Source]
) -> Iterator[dict[str, Any]]:
    """The rows of a CSV, Parquet or JSON lines file in its order, with those of the wanted columns that it has.

    `wanted`: column -> what a model was trained on; None: a key, which is kept as it is written. Cells of a column
    of numbers that are none stay text, so that the model's schema names the row. What means missing in a CSV file of
    the system's `sources` does here too. Raises InvalidDataError.
    """
    try:
        yield from _rows(file, wanted, zone, sources)
    except InvalidDataError as error:
        # The person named a file. The field of a source would be looked for in vain.
        raise InvalidDataError(str(error).removeprefix(f"data.sources.{_NAME}: ")) from error
    except duckdb.Error as error:
        raise InvalidDataError(f"{file.name}: cannot be read: {in_words(error)}") from error


def _as_written(sources: Sequence[CsvSource], file: Path) -> CsvSource | None:
    """How the system's CSV files are written, where all are written alike; a file in UTF-8 is that."""
    alike = {(one.encoding, one.delimiter, one.quote, one.skip_lines) for one in sources}
    if len(alike) != 1:
        return None
    ((encoding, delimiter, quote_, skip_lines),) = alike
    return CsvSource(
        path=file.name,
        encoding=encoding if encoding is None or guessed_encoding(file) is not None else None,
        delimiter=delimiter,
        quote=quote_,
        skip_lines=skip_lines,
    )


def _rows(
    file: Path, wanted: Mapping[str, ColumnType | None], zone: str, sources: Sequence[Source]
) -> Iterator[dict[str, Any]]:
    settings = [source.settings for source in sources]
    missing = dict.fromkeys(text for one in settings if isinstance(one, CsvSource) for text in one.missing)
    # A key that was read as a number could lose its zeros, and labels would not find it.
    texts = [name for name, type_ in wanted.items() if type_ in (None, ColumnType.TEXT)]
    # Moments that are written 20240301 are no numbers, and of numbers with a comma the file says what it means.
    stated = [one for source in sources for one in source.types if one.written is not None]
    kinds = {one.column: ColumnType(one.type) for one in stated}
    texts += [name for name, type_ in wanted.items() if type_ is not None and kinds.get(name) is type_]
    forms = {
        one.column: one.written or ""
        for one in stated
        if one.type == "Number"
        and wanted.get(one.column) is ColumnType.NUMBER
        and all(other.written == one.written for other in stated if other.column == one.column)
    }
    with workspace(threads=1, memory=MEMORY_BYTES, zone=zone) as connection, plain_plans(connection):
        is_csv = kind_of(file) == "csv"
        written = (
            _as_written([one for one in settings if isinstance(one, CsvSource)], file) if is_csv else None
        )
        source = source_of(
            file, _NAME, texts=texts if is_csv else (), missing=tuple(missing), written=written
        )
        reading = Reading(connection, source, None, file.parent, Path(), zone)
        reader = open_source(reading)
        names = [name for name in wanted if name in reader.columns]
        if not names:
            raise InvalidDataError(
                f"{file.name}: has none of the columns that the model reads; they are {', '.join(wanted)}"
            )
        reader.require_distinct(names)
        reader.read(names)
        found = connection.sql(f"select {', '.join(map(quote, names))} from {reading.rows}")
        for part in found.to_arrow_reader(PART_ROWS):
            for row in part.to_pylist():
                yield {
                    name: _written_number(value, forms[name])
                    if name in forms
                    else _value(value, wanted[name])
                    for name, value in row.items()
                }


def _value(value: Any, wanted: ColumnType | None) -> Any:
    """As a person writes it in JSON: missing is null, and a number is a number."""
    if wanted is None and isinstance(value, float | Decimal):
        return _key(value)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        # An infinite number is not missing. JSON would write it as null, so it goes on as a text, which is refused.
        return None if math.isnan(value) else str(value)
    if wanted in (ColumnType.NUMBER, ColumnType.TIME) and isinstance(value, str):
        text = value.strip()
        if text in MISSING_TEXTS:
            return None
        if wanted is ColumnType.TIME:
            return value
        return float(text) if _NUMBER.fullmatch(text) else value
    return value


def _written_number(value: Any, form: str) -> Any:
    """A text that is a number in the form of the training table as that number; any other is not guessed at."""
    if not isinstance(value, str):
        return _value(value, ColumnType.NUMBER)
    text = value.strip()
    if text in MISSING_TEXTS:
        return None
    number = number_of_text(text, form)
    return value if number is None else number


def _key(value: float | Decimal) -> Any:
    """An id of whole numbers, which pandas writes as floats where one is missing, and databases as decimals."""
    if not math.isfinite(value) or value != int(value):
        return None if math.isnan(value) else str(value)
    whole = int(value)
    if isinstance(value, float):
        # Beyond this a float stands for several whole numbers, so that nobody knows the id. It is refused.
        return whole if abs(whole) < _EXACT else value
    # JSON's integers end at 64 bits.
    return whole if -(2**63) <= whole < 2**63 else str(whole)
