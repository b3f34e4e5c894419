"""What the columns of a table hold, seen in all rows: what `capstan.spec.guessing` guesses from."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from capstan.data.inspection import column_type
from capstan.data.named_file import kind_of, source_of
from capstan.data.sources import Reading, open_source
from capstan.data.sources.plain_text import guessed_encoding, guessed_skip
from capstan.data.sources.reading import Delimited
from capstan.data.text_types import quote, value_as
from capstan.data.usage import plain_plans
from capstan.data.workspace import workspace
from capstan.features.values import MISSING_TEXTS, ColumnType
from capstan.spec.data import DECIMAL_COMMA, GROUPED, CsvSource
from capstan.spec.guessing import MOST_COLUMNS, ColumnProfile, Later, Length, TableProfile

_TABLE = "rows"
_SEEN = "_seen"
_MOST_COUNTED = MOST_COLUMNS + 1
_MOST_ODD = 5
_MOSTLY = 0.8
_FORMS = tuple(
    date + time
    for date in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d")
    for time in ("", " %H:%M", " %H:%M:%S")
)
"""Ways to write a moment that no source reads by itself."""
_MOST_MOMENTS = 6
"""Columns of times between which lengths are looked for."""
_UNITS = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
_FEWEST_LENGTHS = 30
_ALL_BUT_FEW = 0.98
_SPREAD = 20.0
"""Between the usual ones; numbers that hardly differ are lengths by chance."""
_LONGEST = 1e12
_COMMA = r"'-?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+),[0-9]+'"
_GROUPS = r"'-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?'"
_POINT = r"'-?[0-9]*\.[0-9]+'"


def profile_table(file: Path) -> TableProfile:
    """The profile of a CSV, Parquet or JSON lines file; raises InvalidDataError or duckdb.Error."""
    written = _written(file) if kind_of(file) == "csv" else None
    source = source_of(file, _TABLE, written=written)
    with workspace(threads=1, memory=2**30, zone="UTC") as connection, plain_plans(connection):
        reading = Reading(connection, source, None, file.parent, Path(), "UTC")
        reader = open_source(reading)
        names = list(reader.columns)
        semicolons = isinstance(reader, Delimited) and set(reader.delimiters) <= {";"}
        # What could not be written back as it was is still text here.
        unsettled = {found.column: found.kind for found in reader.read(names)}
        items = [
            f"try_cast({quote(name)} as {unsettled[name]}) as {quote(name)}"
            if name in unsettled
            else quote(name)
            for name in names
        ]
        connection.execute(f"create temp table {_SEEN} as select {', '.join(items)} from {reading.rows}")
        moments, unsure = _other_moments(connection, names)
        found = connection.sql(f"from {_SEEN}")
        types = {name: column_type(str(kind)) for name, kind in zip(found.columns, found.types, strict=True)}
        rows = _one(connection, f"select count(*) from {_SEEN}")[0]
        columns = tuple(
            replace(
                _column(connection, _SEEN, name, types[name], rows, semicolons=semicolons),
                written=moments.get(name, ""),
                unsure=unsure.get(name, ()),
            )
            for name in names
        )
        later = tuple(_later(connection, _SEEN, columns))
        lengths = tuple(_lengths(connection, columns))
    return TableProfile(
        file.name,
        kind_of(file),
        rows,
        columns,
        later,
        lengths,
        encoding=written.encoding if written is not None else None,
        skip_lines=written.skip_lines if written is not None else 0,
    )


def _written(file: Path) -> CsvSource:
    """How a CSV file seems to be written, where it does not say so itself."""
    encoding = guessed_encoding(file)
    return CsvSource(path=file.name, encoding=encoding, skip_lines=guessed_skip(file, encoding))


def _other_moments(
    connection: duckdb.DuckDBPyConnection, names: list[str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Makes moments of columns of dates that are written in another way; column -> how, and column -> several ways.

    Where day and month could change places in every row, nobody can say which is which, and the texts stay.
    """
    types = dict(zip(names, map(str, connection.sql(f"from {_SEEN}").types), strict=True))
    found, unsure = {}, {}
    for name in names:
        column = quote(name)
        if types[name] != "VARCHAR":
            continue
        counts = ", ".join(f"count(try_strptime(trim({column}), '{form}'))" for form in _FORMS)
        different = f"(select distinct {column} from {_SEEN})"
        there, *read = _one(connection, f"select count({column}), {counts} from {different}")
        fits = [form for form, count in zip(_FORMS, read, strict=True) if there and count == there]
        if len(fits) == 1:
            found[name] = fits[0]
        elif fits:
            unsure[name] = tuple(fits)
    items = [
        f"try_strptime(trim({quote(name)}), '{found[name]}') as {quote(name)}"
        if name in found
        else quote(name)
        for name in names
    ]
    connection.execute(f"create or replace temp table {_SEEN} as select {', '.join(items)} from {_SEEN}")
    return found, unsure


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] | None = connection.execute(query).fetchone()
    assert found is not None
    return found


def _column(
    connection: duckdb.DuckDBPyConnection, table: str, name: str, kind: str, rows: int, *, semicolons: bool
) -> ColumnProfile:
    column = quote(name)
    there, distinct = _one(connection, f"select count({column}), count(distinct {column}) from {table}")
    # In columns of numbers DuckDB knows them by their double; in all others by their text.
    counted = connection.execute(
        f"select cast({column} as varchar), count(*) as n from {table} where {column} is not null "
        f"group by 1 order by n desc, 1 limit {_MOST_COUNTED}"
    ).fetchall()
    known = {"rows": rows, "missing": rows - there, "distinct": distinct, "counts": dict(counted)}
    if kind == ColumnType.NUMBER:
        number = f"cast({column} as double)"
        low, high, usual_low, usual_high, whole = _one(
            connection,
            f"select min({number}), max({number}), quantile_cont({number}, 0.01), quantile_cont({number}, 0.99), "
            f"bool_and({number} = trunc({number})) from {table} where {column} is not null",
        )
        return ColumnProfile(
            name, "Number", is_whole=bool(whole), low=low, high=high,
            usual_low=usual_low, usual_high=usual_high, **known,
        )  # fmt: skip
    if kind == ColumnType.TIME:
        first, last = _one(
            connection,
            f"select epoch_us(min(cast({column} as timestamptz))), epoch_us(max(cast({column} as timestamptz))) "
            f"from {table}",
        )
        return ColumnProfile(name, "Time", first=_moment(first), last=_moment(last), **known)
    if kind == ColumnType.BOOLEAN:
        return ColumnProfile(name, "Boolean", **known)
    return _texts(connection, table, name, there, known, semicolons=semicolons)


def _texts(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    name: str,
    there: int,
    known: dict[str, Any],
    *,
    semicolons: bool,
) -> ColumnProfile:
    """Texts, and whether they would be numbers but for a few."""
    column = quote(name)
    missing = ", ".join(f"'{text}'" for text in sorted(MISSING_TEXTS))
    number = f"try_cast(trim({column}) as double)"
    comma, groups, point = (
        f"regexp_full_match(trim({column}), {form})" for form in (_COMMA, _GROUPS, _POINT)
    )
    numbers, commas, grouped, points, whole_texts = _one(
        connection,
        f"select count({number}), count(*) filter ({comma}), count(*) filter ({groups}), "
        f"count(*) filter ({point}), "
        f"count(*) filter (regexp_full_match(trim({column}), '-?[0-9]+') or {column} in ({missing})) "
        f"from {table} where {column} is not null",
    )
    is_decimal = bool(commas) and commas + whole_texts == there
    is_grouped = bool(grouped) and grouped + points + whole_texts == there
    # Where 1,234 may be both, the file says by what stands between its columns.
    form = GROUPED if is_grouped and not (is_decimal and semicolons) else DECIMAL_COMMA if is_decimal else ""
    value = value_as(name, "double", form) if form else number
    low, high = _one(
        connection, f"select quantile_cont({value}, 0.01), quantile_cont({value}, 0.99) from {table}"
    )
    odd: list[tuple[str]] = []
    infinite: list[tuple[int, str]] = []
    if numbers and numbers >= _MOSTLY * there:
        infinite = connection.execute(
            f"select rowid + 1, {column} from {table} where isinf({number}) order by 1 limit 1"
        ).fetchall()
    if numbers and numbers < there and numbers >= _MOSTLY * there and not form:
        odd = connection.execute(
            f"select distinct {column} from {table} where {column} is not null and {number} is null "
            f"and {column} not in ({missing}) order by 1 limit {_MOST_ODD + 1}"
        ).fetchall()
    return ColumnProfile(
        name,
        "Text",
        odd=tuple(text for (text,) in odd),
        infinite=infinite[0] if infinite else None,
        number_form=form,
        usual_low=low,
        usual_high=high,
        **known,
    )


def _later(
    connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[ColumnProfile, ...]
) -> Iterator[Later]:
    moments = [column.name for column in columns if column.kind == "Time"]
    for earlier in moments:
        for later in moments:
            if earlier == later:
                continue
            apart = f"epoch_us(cast({quote(later)} as timestamptz)) - epoch_us(cast({quote(earlier)} as timestamptz))"
            share, longest = _one(
                connection,
                f"select avg(case when {apart} >= 0 then 1.0 else 0.0 end), max({apart}) from {table} "
                f"where {quote(earlier)} is not null and {quote(later)} is not null",
            )
            if share is not None:
                yield Later(earlier, later, share, timedelta(microseconds=max(0, longest)))


def _lengths(connection: duckdb.DuckDBPyConnection, columns: tuple[ColumnProfile, ...]) -> Iterator[Length]:
    """Numbers that are the time between two moments, to one unit in nearly every row that has all three."""
    moments = [column.name for column in columns if column.kind == "Time"][:_MOST_MOMENTS]
    named = [column.name for column in columns if _may_be_length(column)]
    found = set[str]()
    for earlier, later in itertools.permutations(moments, 2):
        seconds = f"epoch(cast({quote(later)} as timestamptz)) - epoch(cast({quote(earlier)} as timestamptz))"
        for unit, length in _UNITS.items():
            left = [name for name in named if name not in found]
            items = [
                f"count({quote(name)}), count(*) filter (abs({quote(name)} * {length} - apart) <= {length})"
                for name in left
            ]
            if not items:
                return
            told = _one(
                connection,
                f"select {', '.join(items)} from (select *, {seconds} as apart from {_SEEN}) where apart is not null",
            )
            for name, rows, fits in zip(left, told[::2], told[1::2], strict=True):
                if rows >= _FEWEST_LENGTHS and fits >= _ALL_BUT_FEW * rows:
                    found.add(name)
                    yield Length(name, earlier, later, unit)


def _may_be_length(column: ColumnProfile) -> bool:
    """Whether it holds numbers that are no moment's distance by chance, nor too large for one."""
    low, high = column.usual_low, column.usual_high
    if column.kind != "Number" or low is None or high is None or column.low is None or column.high is None:
        return False
    return high - low > _SPREAD and max(-column.low, column.high) < _LONGEST


def _moment(microseconds: int | None) -> datetime | None:
    return (
        None
        if microseconds is None
        else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    )
