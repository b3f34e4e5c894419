"""Reading a log of assignments and outcomes: one row for each randomised unit, in the order of their names.

DuckDB groups the rows, so a log may be larger than memory; only numbers of units leave it. Sums within a unit are taken
in a fixed order, so that no order of rows changes the last digit.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from capstan.data.moments import TEXT, column_types, instant
from capstan.data.sources.cells import first_cells
from capstan.data.sources.csv import CsvReader
from capstan.data.sources.parquet import ParquetReader
from capstan.data.sources.reading import Reader, Reading
from capstan.data.text_types import literal, quote
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError, NotFoundError
from capstan.evaluation.experiments.columns import Aggregate, Block, Crossed, LogColumns, Missing
from capstan.features.values import MISSING_TEXTS
from capstan.spec.data import CsvSource, ParquetSource, Source

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

MOST_ARMS = 20
MOST_SLICES = 50
"""Values of a slice column above which it is no slice."""
SEVERAL = "(several)"
"""Slice of units whose rows say different things."""
NO_SLICE = "(none)"
_MEMORY = 384 * 2**20
"""Bytes for DuckDB's tables; beyond, it spills to disk."""
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


@dataclass(frozen=True)
class Units:
    """The randomised units of a log, each once; arrays have one place for each, in the order of their names."""

    rows: int
    arms: tuple[str, ...]
    """In alphabetical order."""
    arm: Codes
    """Place in `arms`."""
    metrics: dict[str, Floats]
    """NaN where a unit has no outcome."""
    covariate: Floats | None
    """NaN where a unit has none; None: no covariate was named."""
    slices: dict[str, tuple[tuple[str, ...], Codes]]
    """Column -> its values and each unit's place in them."""
    blocks: tuple[datetime, ...]
    """Beginnings of the blocks in which units were first seen, in order; empty without time."""
    block: Codes | None
    """Place in `blocks`."""
    crossed: int
    """Units that were seen in two arms."""
    crossed_left_out: int
    crossed_examples: tuple[str, ...]

    @property
    def count(self) -> int:
        """Units that belong to one arm."""
        return len(self.arm)


class _LogReading(Reading):
    @property
    def field(self) -> str:
        return "FILE"


def read_units(columns: LogColumns, by: Block = Block.UNIT) -> Units:
    """Read a log; raises NotFoundError or InvalidDataError that names column, value, rule and way out."""
    if not columns.path.exists():
        raise NotFoundError(f"FILE: {columns.path} does not exist; name a CSV or Parquet file")
    try:
        with workspace(threads=min(os.cpu_count() or 1, 4), memory=_MEMORY, zone=columns.zone) as connection:
            return _Log(connection, columns, by).units()
    except duckdb.Error as error:
        raise InvalidDataError(
            f"FILE: {columns.path} cannot be read: {str(error).splitlines()[0]}"
        ) from error


def _is_parquet(path: Path) -> bool:
    if path.is_dir():
        return any(path.rglob("*.parquet"))
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


class _Log:
    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: LogColumns, by: Block) -> None:
        self._connection, self._columns, self._by = connection, columns, by
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

    def units(self) -> Units:
        self._parse()
        rows = self._require_cells()
        arms = self._arms()
        slices = {
            column: self._slice_values(column, f"s{index}")
            for index, column in enumerate(self._columns.slices)
        }
        self._group()
        self._require_one_value()
        return self._fetched(rows, arms, slices)

    def _parse(self) -> None:
        """Make the table `parsed` of typed cells; a cell that is no number is NaN there."""
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

    def _require_cells(self) -> int:
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

    def _number(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

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

    def _arms(self) -> tuple[str, ...]:
        found = self._connection.execute(
            f"select distinct a from parsed order by a limit {MOST_ARMS + 1}"
        ).fetchall()
        arms = tuple(row[0] for row in found)
        if len(arms) > MOST_ARMS:
            raise InvalidDataError(
                f"--arm: {self._columns.arm!r} has more than {MOST_ARMS} values, such as {arms[0]!r} and {arms[1]!r}; "
                "is it the column of units? Name the one that says to which arm a unit was assigned"
            )
        if len(arms) == 1:
            raise InvalidDataError(
                f"--arm: {self._columns.arm!r} holds {arms[0]!r} alone, and an effect is a difference of two arms; "
                "add the rows of the other arm"
            )
        return tuple(sorted(arms))

    def _slice_values(self, column: str, cell: str) -> tuple[str, ...]:
        found = self._connection.execute(
            f"select distinct {cell} from parsed limit {MOST_SLICES + 1}"
        ).fetchall()
        if len(found) > MOST_SLICES:
            raise InvalidDataError(
                f"--slice: {column!r} has more than {MOST_SLICES} values, such as {found[0][0]!r}; a slice needs "
                "enough units to compare arms: group its values first, or name another column"
            )
        return (*sorted(row[0] for row in found), SEVERAL)

    def _group(self) -> None:
        """Make the table `units`: what all rows of a unit say together."""
        columns = self._columns
        adds = columns.aggregate in (Aggregate.SUM, Aggregate.MEAN)
        # What is not added up may be seen twice; sums must see a repeated row once.
        seen = f"select {'distinct ' if adds else ''}* from parsed"
        if adds and columns.event is not None:
            seen = f"select distinct on (u, a, e) * from ({seen}) order by all"
        self._connection.execute(f"create temp view seen as {seen}")
        found = ["u", "min(a) as a", "min(a) <> max(a) as crossed"]
        if columns.time is not None:
            found.append("min(t) as t")
        for index in range(len(columns.metrics)):
            one = f"m{index}"
            if adds:
                function = "sum" if columns.aggregate is Aggregate.SUM else "avg"
                found.append(f"{function}({one} order by {one}) as {one}")
            else:
                found += [f"max({one}) as {one}", f"min({one}) as least{index}"]
        if columns.covariate is not None:
            found += ["max(x) as x", "min(x) as leastx"]
        found += [
            f"case when min(s{i}) = max(s{i}) then min(s{i}) else {literal(SEVERAL)} end as s{i}"
            for i in range(len(columns.slices))
        ]
        self._connection.execute(f"create temp table units as select {', '.join(found)} from seen group by u")

    def _require_one_value(self) -> None:
        checks = []
        if self._columns.aggregate is Aggregate.ONE:
            ways = "say how they become one (--aggregate Sum, Mean or Max)"
            checks += [
                ("--metric", name, f"m{i}", f"least{i}", ways) for i, name in enumerate(self._columns.metrics)
            ]
        if self._columns.covariate is not None:
            ways = "take a value from before the unit was assigned"
            checks.append(("--covariate", self._columns.covariate, "x", "leastx", ways))
        for option, name, most, least, ways in checks:
            differ = f"from units where {least} <> {most}"
            found = self._connection.execute(
                f"select u, {least}, {most} {differ} order by u limit 1"
            ).fetchone()
            if found is not None:
                count = self._number(f"select count(*) {differ}")
                raise InvalidDataError(
                    f"{option}: {count:,} units have several values of {name!r}, such as unit {found[0]!r} with "
                    f"{found[1]:g} and {found[2]:g}; a unit counts once: {ways}"
                )

    def _settle_crossed(self) -> tuple[int, int, tuple[str, ...]]:
        """Units in two arms: how many, how many of them are left out, and examples."""
        crossed = self._number("select count(*) from units where crossed")
        examples = self._connection.execute("select u from units where crossed order by u limit 3").fetchall()
        named = tuple(row[0] for row in examples)
        rule = self._columns.crossed
        if crossed and rule is Crossed.REFUSE:
            raise InvalidDataError(
                f"--arm: {crossed:,} units are in two arms, such as {', '.join(map(repr, named))}, and --crossed "
                "Refuse allows none; correct the log, or choose Exclude or, with --time, First"
            )
        left = crossed
        if crossed and rule is Crossed.FIRST:
            self._connection.execute(
                "create temp table first_arm as select u, min(seen.a) as a from seen join units using (u) "
                "where crossed and seen.t = units.t group by u having min(seen.a) = max(seen.a)"
            )
            self._connection.execute(
                "update units set a = first_arm.a, crossed = false from first_arm where units.u = first_arm.u"
            )
            left = self._number("select count(*) from units where crossed")
        return crossed, left, named

    def _fetched(self, rows: int, arms: tuple[str, ...], slices: dict[str, tuple[str, ...]]) -> Units:
        crossed, left, named = self._settle_crossed()
        columns = self._columns
        absent = "0" if columns.missing is Missing.ZERO else "'nan'::double"
        items = [f"{_place('a', arms)} as a"]
        items += [f"coalesce(m{i}, {absent}) as m{i}" for i in range(len(columns.metrics))]
        if columns.covariate is not None:
            items.append("coalesce(x, 'nan'::double) as x")
        items += [f"{_place(f's{i}', values)} as s{i}" for i, values in enumerate(slices.values())]
        if columns.time is not None:
            items.append(f"epoch_us(date_trunc('{self._unit}', timezone({literal(columns.zone)}, t))) as b")
        found = self._connection.execute(
            f"select {', '.join(items)} from units where not crossed order by u"
        ).fetchnumpy()
        blocks: tuple[datetime, ...] = ()
        block = None
        if columns.time is not None:
            starts, block = np.unique(np.asarray(found["b"], dtype=np.int64), return_inverse=True)
            blocks = tuple(_moment(int(start)) for start in starts)
        return Units(
            rows=rows,
            arms=arms,
            arm=np.asarray(found["a"], dtype=np.int64),
            metrics={
                name: np.asarray(found[f"m{i}"], dtype=np.float64) for i, name in enumerate(columns.metrics)
            },
            covariate=None if columns.covariate is None else np.asarray(found["x"], dtype=np.float64),
            slices={
                name: (values, np.asarray(found[f"s{i}"], dtype=np.int64))
                for i, (name, values) in enumerate(slices.items())
            },
            blocks=blocks,
            block=block,
            crossed=crossed,
            crossed_left_out=left,
            crossed_examples=named,
        )

    @property
    def _unit(self) -> str:
        return "hour" if self._by is Block.HOUR else "day"


def _place(column: str, values: tuple[str, ...]) -> str:
    return f"list_position([{', '.join(map(literal, values))}], {column}) - 1"


def _moment(microseconds: int) -> datetime:
    """Local time of the zone, written as if of no zone: a block is named by its own calendar."""
    return datetime(1970, 1, 1) + timedelta(microseconds=microseconds)  # noqa: DTZ001


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
