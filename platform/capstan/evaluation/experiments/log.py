"""Reading a log of assignments and outcomes: one row for each randomised unit, in the order of their names.

DuckDB groups the rows, so a log may be larger than memory; only numbers of units leave it. Sums within a unit are taken
in a fixed order, so that no order of rows changes the last digit.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import os
from datetime import datetime, timedelta

import duckdb
import numpy as np

from capstan.data.text_types import literal
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError, NotFoundError
from capstan.evaluation.experiments.cells import parse_cells
from capstan.evaluation.experiments.columns import Aggregate, Block, Crossed, LogColumns, Missing
from capstan.evaluation.experiments.units import SEVERAL, Units

MOST_ARMS = 20
MOST_SLICES = 50
"""Values of a slice column above which it is no slice."""
_MEMORY = 384 * 2**20
"""Bytes for DuckDB's tables; beyond, it spills to disk."""


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


class _Log:
    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: LogColumns, by: Block) -> None:
        self._connection, self._columns, self._by = connection, columns, by

    def units(self) -> Units:
        rows = parse_cells(self._connection, self._columns)
        arms = self._arms()
        slices = {
            column: self._slice_values(column, f"s{index}")
            for index, column in enumerate(self._columns.slices)
        }
        self._group()
        self._require_one_value()
        return self._fetched(rows, arms, slices)

    def _number(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

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
