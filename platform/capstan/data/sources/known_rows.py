"""The rows of a source that were known at a moment."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from capstan.data.moments import AWARE, LOCAL, TEXT, clock_changes, instant, moment, ways_to_moments
from capstan.data.sources.cells import first_cells
from capstan.data.sources.reading import Reader, Reading
from capstan.data.text_types import literal, quote
from capstan.errors import InvalidDataError

_LOG = logging.getLogger(__name__)
_AT = quote("known at")


def require_time_column(reading: Reading, columns: Sequence[str]) -> None:
    """Raises InvalidDataError if the source lacks its time column."""
    wanted = reading.source.time_column
    if wanted is not None and wanted not in columns:
        raise InvalidDataError(
            f"{reading.field}.timeColumn: there is no column {wanted!r}; the columns are {', '.join(columns) or 'none'}"
        )


def copy_known_rows(
    reading: Reading, reader: Reader, relation: str, types: Mapping[str, str], target: str
) -> None:
    """Copy the relation's rows known by `as_of` to the new table `target`.

    `types` maps each column to the id of its type. The relation is read once, as it may be a large file.
    """
    connection = reading.connection
    time_column = reading.source.time_column
    require_time_column(reading, list(types))
    if time_column is None:
        connection.execute(f"create or replace temp table {target} as {relation}")
        return
    kind = types[time_column]
    if kind not in (*AWARE, *LOCAL, TEXT):
        raise InvalidDataError(
            f"{reading.field}.timeColumn: the values of {time_column!r} are of the type {kind.upper()}, not moments "
            f"({_cells(reading, reader, relation, time_column)}); {_ways_out(time_column)}"
        )
    at = instant(quote(time_column), kind, reading.zone)
    dated = f"select *, {at} as {_AT} from ({relation})"
    if reading.as_of is not None:
        dated = f"select * from ({dated}) where {_AT} is null or {_AT} <= {moment(reading.as_of)}"
    connection.execute(f"create or replace temp table {target} as {dated}")
    rows, readable = connection.execute(f"select count(*), count({_AT}) from {target}").fetchone() or (0, 0)
    if rows and not readable:
        require_moments(reading, reader, relation, at)
    for change in clock_changes(connection, target, {time_column: kind}, reading.zone):
        _LOG.warning("%s.timeColumn: %s", reading.field, change)
    if rows > readable and reading.as_of is not None:
        # Nobody can say whether such a row was known by then.
        shown = ""
        if kind == TEXT:
            unreadable = f"{instant('value', kind, reading.zone)} is null"
            shown = _cells(reading, reader, relation, time_column, unreadable)
        _LOG.warning(
            "%s: %d rows without a readable %s are not read%s",
            reading.field,
            rows - readable,
            time_column,
            f" ({shown})" if shown else "",
        )
        connection.execute(f"delete from {target} where {_AT} is null")
    connection.execute(f"alter table {target} drop column {_AT}")


def require_moments(reading: Reading, reader: Reader, relation: str, at: str) -> None:
    """Raises InvalidDataError with the first values if `at`, the time column as an instant, is null in all rows."""
    found = reading.connection.execute(
        f"select 1 from ({relation}) where {at} is not null limit 1"
    ).fetchone()
    if found is None:
        column = reading.source.time_column or ""
        shown = _cells(reading, reader, relation, column) or "no row has one"
        raise InvalidDataError(
            f"{reading.field}.timeColumn: no value of {column!r} is a moment ({shown}); {_ways_out(column)}"
        )


def numbered_texts(reading: Reading, column: str, files: Mapping[str, str], *, undated: bool) -> str:
    """What `Reader.numbered` gives of files of text; `files` maps a file to SQL of its rows, in their order."""
    rows = " union all ".join(
        f"select {literal(file)} as in_file, row_number() over () as row_number, * from ({texts})"
        for file, texts in files.items()
    )
    chosen = rows if undated else known(reading, rows, TEXT)
    return f"select in_file, row_number, {quote(column)} as value from ({chosen})"


def _ways_out(column: str) -> str:
    return (
        "write RFC 3339 such as 2013-02-01T05:00:00Z, name another column, or leave timeColumn out, so that all rows "
        f"are always read, and {ways_to_moments(column)}"
    )


def _cells(reading: Reading, reader: Reader, relation: str, column: str, which: str = "true") -> str:
    """The first filled cells of the column where `which`, SQL of the text `value`, holds."""
    return "; ".join(
        first_cells(reading, reader, column, lambda _: which, relation=f"({relation})", undated=True)
    )


def known(reading: Reading, relation: str, kind: str) -> str:
    """The relation without rows from after `as_of`; `kind` is the type of its time column."""
    if reading.as_of is None or reading.source.time_column is None:
        return relation
    at = instant(quote(reading.source.time_column), kind, reading.zone)
    return f"select * from ({relation}) where {at} <= {moment(reading.as_of)}"
