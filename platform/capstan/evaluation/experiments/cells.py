"""The cells of a log, typed: every one that cannot be used is refused by column, value and way out."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from pathlib import Path

import duckdb

from capstan.data.moments import TEXT, column_types, instant
from capstan.data.sources.cells import first_cells
from capstan.data.sources.csv import CsvReader
from capstan.data.sources.parquet import ParquetReader
from capstan.data.sources.reading import Reader, Reading
from capstan.data.text_types import literal, quote
from capstan.errors import InvalidDataError
from capstan.evaluation.experiments.columns import LogColumns
from capstan.evaluation.experiments.units import NO_SLICE
from capstan.features.values import MISSING_TEXTS
from capstan.spec.data import CsvSource, ParquetSource, Source

_WAY_TO_MOMENTS = "write RFC 3339 such as 2026-02-01T05:00:00Z or a date, or leave --time out"
_NUMBERS = {
    *("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint"),
    *("uhugeint", "float", "double", "decimal", "boolean"),
}
_MOMENTS = {
    *(
        "timestamp with time zone",
        "timestamptz_ns",
        "timestamp",
        "timestamp_s",
        "timestamp_ms",
        "timestamp_ns",
    ),
    "date",
    TEXT,
}


class _LogReading(Reading):
    @property
    def field(self) -> str:
        return "FILE"


def parse_cells(connection: duckdb.DuckDBPyConnection, columns: LogColumns) -> int:
    """Make the table `parsed` of typed cells, and return its rows; raises InvalidDataError that names the cell.

    Its columns: u unit, a arm, t moment, m0, m1, ... metrics, x covariate, e event, s0, s1, ... slices.
    """
    log = _Cells(connection, columns)
    log.parse()
    return log.require_cells()


def _is_parquet(path: Path) -> bool:
    if path.is_dir():
        return any(path.rglob("*.parquet"))
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


class _Cells:
    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: LogColumns) -> None:
        self._connection, self._columns = connection, columns
        path = str(columns.path.resolve())
        names = list(columns.options)
        # Text costs least to read, and every wrong cell is still there to be shown.
        texts = [{"column": name, "type": "Text"} for name in names]
        source: Source
        if _is_parquet(columns.path):
            source = Source(name="log", parquet=ParquetSource(path=path))
        else:
            source = Source.model_validate({"name": "log", "types": texts, "csv": {"path": path}})
        self._reading = _LogReading(connection, source, None, Path("/"), Path("/"), columns.zone)
        self._reader: Reader
        if source.parquet is not None:
            self._reader = ParquetReader(self._reading, source.parquet)
        else:
            assert isinstance(source.csv, CsvSource)
            self._reader = CsvReader(self._reading, source.csv)
        self._require_columns()
        self._reader.require_distinct(names)
        self._reader.read(names)
        self._rows = self._reading.rows
        self._types = column_types(connection, f"from {self._rows}")

    def parse(self) -> None:
        """A cell that is no number is NaN."""
        columns = self._columns
        items = [
            f"trim(cast({quote(columns.unit)} as varchar)) as u",
            f"trim(cast({quote(columns.arm)} as varchar)) as a",
        ]
        if columns.time is not None:
            if self._types[columns.time] not in _MOMENTS:
                self._refuse_moments("holds no moments", "true")
            at = instant(quote(columns.time), self._types[columns.time], columns.zone)
            items += [f"{at} as t", f"{quote(columns.time)} is not null as dated"]
        items += [f"{self._as_number('--metric', name)} as m{i}" for i, name in enumerate(columns.metrics)]
        if columns.covariate is not None:
            items.append(f"{self._as_number('--covariate', columns.covariate)} as x")
        if columns.event is not None:
            items.append(f"cast({quote(columns.event)} as varchar) as e")
        items += [
            f"coalesce(cast({quote(name)} as varchar), {literal(NO_SLICE)}) as s{index}"
            for index, name in enumerate(columns.slices)
        ]
        self._connection.execute(f"create temp table parsed as select {', '.join(items)} from {self._rows}")
        self._connection.execute(f"drop table {self._rows}")

    def require_cells(self) -> int:
        """Rows of the log; raises InvalidDataError for the first kind of cell that can't be used."""
        columns = self._columns
        numbers = [("--metric", name, f"m{index}") for index, name in enumerate(columns.metrics)]
        if columns.covariate is not None:
            numbers.append(("--covariate", columns.covariate, "x"))
        counts = [f"count(*) filter (coalesce({cell}, '') = '')" for cell in ("u", "a")]
        for _, _, cell in numbers:
            counts += [f"count(*) filter (not isfinite({cell}))", f"count({cell})"]
        if columns.time is not None:
            counts += ["count(*) filter (dated and t is null)", "count(*) filter (not dated)"]
        found = self._connection.execute(f"select count(*), {', '.join(counts)} from parsed").fetchone() or ()
        rows, units, arms, *others = (int(number) for number in found)
        if not rows:
            raise InvalidDataError(f"FILE: {columns.path} has no rows; it needs one for each assigned unit")
        for option, column, empty in (("--unit", columns.unit, units), ("--arm", columns.arm, arms)):
            if empty:
                raise InvalidDataError(
                    f"{option}: {empty:,} rows have no {column!r}, and each must name its {option[2:]}; fill or remove "
                    "them"
                )
        for place, (option, column, _) in enumerate(numbers):
            odd, filled = others[2 * place : 2 * place + 2]
            if odd:
                self._refuse_numbers(option, column, odd)
            if not filled:
                raise InvalidDataError(
                    f"{option}: {column!r} is empty in every row; name a column that is filled"
                )
        if columns.time is not None:
            unreadable, undated = others[-2:]
            if unreadable:
                self._refuse_moments(
                    "has values that are no moments", "try_cast($value as timestamptz) is null"
                )
            if undated:
                raise InvalidDataError(
                    f"--time: {undated:,} rows have no {columns.time!r}, so nobody can say when they happened; fill "
                    f"them, or {_WAY_TO_MOMENTS}"
                )
        return rows

    def _require_columns(self) -> None:
        there = list(self._reader.columns)
        for name, option in self._columns.options.items():
            if name not in there:
                raise InvalidDataError(
                    f"{option}: {self._columns.path} has no column {name!r}; its columns are {', '.join(there)}"
                )

    def _cells(self, column: str, odd: str) -> str:
        return "; ".join(
            first_cells(self._reading, self._reader, column, lambda value: odd.replace("$value", value))
        )

    def _refuse_numbers(self, option: str, column: str, count: int) -> None:
        odd = _ODD if self._types[column] == TEXT else "not isfinite(try_cast($value as double))"
        raise InvalidDataError(
            f"{option}: {count:,} values of {column!r} are no finite numbers ({self._cells(column, odd)}); correct "
            "them, leave a cell empty where there is no outcome, or name another column"
        )

    def _refuse_moments(self, what: str, odd: str) -> None:
        column = self._columns.time or ""
        shown = self._cells(column, odd)
        raise InvalidDataError(f"--time: {column!r} {what} ({shown}); {_WAY_TO_MOMENTS}")

    def _as_number(self, option: str, column: str) -> str:
        kind = self._types[column]
        if kind == TEXT:
            return _number_of(quote(column))
        if kind not in _NUMBERS:
            raise InvalidDataError(
                f"{option}: column {column!r} is of the type {kind.upper()}; it must hold numbers (or true and false): "
                "name another column"
            )
        return f"cast({quote(column)} as double)"


def _is_missing(text: str) -> str:
    # NaN that a program wrote is a result that went wrong, not an outcome that is not there.
    texts = ", ".join(literal(one) for one in sorted(MISSING_TEXTS - {"NaN", "nan"}))
    return f"coalesce(trim({text}) in ({texts}), true)"


def _number_of(text: str) -> str:
    """The SQL expression of a text as a number; null where it is missing, NaN where it is none."""
    value = f"trim({text})"
    words = f"case lower({value}) when 'true' then 1.0::double when 'false' then 0.0::double end"
    read = f"coalesce(try_cast({value} as double), {words}, 'nan'::double)"
    return f"case when {_is_missing(text)} then null else {read} end"


_ODD = f"not {_is_missing('$value')} and not isfinite({_number_of('$value')})"
