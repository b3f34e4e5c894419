"""How the values of each column are spread in each part: counted by DuckDB over all rows, in memory that stays small.

Only the edges of bins and the quartiles come from evenly spaced rows; up to `MOST_SPACED` rows those are all rows.
"""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.data.memory import table_memory
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.features.columns import type_of
from capstan.features.values import ColumnType
from capstan.spec.system import MLSystem

MOST_COLUMNS = 200
"""Of which a report tells; of wider tables the first."""
MOST_SPACED = 100_000
BINS = 20
MOST_CATEGORIES = 12
LONGEST_SHOWN = 60
"""Characters of a category."""
MOSTLY_DIFFERENT = 0.5
"""Share of different texts from which on none is shown: such a column holds ids, names or prose."""
FEW_TEXTS = 50
"""Up to so many different texts are shown in any case."""
_PART = "part of a run"
_TAILS = (0.01, 0.99)


def describe_columns(
    table: pa.Table, columns: Sequence[str], parts: Mapping[str, npt.NDArray[np.int64]], system: MLSystem
) -> list[dict[str, Any]]:
    """Of each column its type and, part by part, its rows, missing values, numbers and shares; JSON."""
    names = list(parts)
    of_row = np.full(table.num_rows, -1, dtype=np.int8)
    for place, rows in enumerate(parts.values()):
        of_row[rows] = place
    training = system.spec.training
    seen = table.select(list(columns[:MOST_COLUMNS]))
    with workspace(
        threads=training.threads, memory=table_memory(training.resources), zone="UTC"
    ) as connection:
        connection.register("cases", seen.append_column(_PART, pa.array(of_row)))
        return [_described(connection, seen[name], name, names) for name in seen.column_names]


def spaced(rows: int, most: int = MOST_SPACED) -> npt.NDArray[np.int64]:
    """Numbers of at most so many rows, evenly spaced."""
    if rows <= most:
        return np.arange(rows, dtype=np.int64)
    return np.linspace(0, rows - 1, most).round().astype(np.int64)


def _described(
    connection: duckdb.DuckDBPyConnection, values: pa.ChunkedArray, name: str, parts: Sequence[str]
) -> dict[str, Any]:
    kind = type_of(values)
    found: dict[str, Any] = {"name": name, "type": kind.value}
    if kind in (ColumnType.NUMBER, ColumnType.TIME) and not pa.types.is_null(values.type):
        number = _as_number(values.type, name)
        counted = connection.execute(
            f"select {quote(_PART)}, count(*), count(x), avg(x), stddev_samp(x), min(x), max(x) from "
            f"(select {quote(_PART)}, {number} as x from cases where {quote(_PART)} >= 0) group by 1 order by 1"
        ).fetchall()
        found["parts"] = {
            parts[place]: {"rows": rows, "missing": rows - there, **_plain(mean, deviation, low, high)}
            for place, rows, there, mean, deviation, low, high in counted
        }
        return found | _binned(connection, values, number, parts)
    counted = connection.execute(
        f"select {quote(_PART)}, count(*), count({quote(name)}) from cases where {quote(_PART)} >= 0 "
        "group by 1 order by 1"
    ).fetchall()
    found["parts"] = {parts[place]: {"rows": rows, "missing": rows - there} for place, rows, there in counted}
    return found | _categories(connection, name, parts, sum(there for _, _, there in counted))


def _as_number(kind: pa.DataType, name: str) -> str:
    """SQL of the column as a double, null where it is missing; moments as seconds since 1970."""
    if pa.types.is_temporal(kind):
        return f"epoch(cast({quote(name)} as timestamptz))"
    double = f"cast({quote(name)} as double)"
    return f"case when isfinite({double}) then {double} end"


def _plain(
    mean: float | None, deviation: float | None, low: float | None, high: float | None
) -> dict[str, Any]:
    return {"mean": mean, "deviation": deviation, "min": low, "max": high}


def _binned(
    connection: duckdb.DuckDBPyConnection, values: pa.ChunkedArray, number: str, parts: Sequence[str]
) -> dict[str, Any]:
    """Quartiles of evenly spaced rows, and how many rows of each part fall into bins between its tails."""
    few = values.take(pa.array(spaced(len(values))))
    if pa.types.is_temporal(few.type):
        few = few.cast(pa.timestamp("us", getattr(few.type, "tz", None)), safe=False).cast(pa.int64())
        scale = 1e-6
    else:
        few, scale = few.cast(pa.float64(), safe=False), 1.0
    seen = few.to_numpy() * scale
    seen = seen[np.isfinite(seen)]
    if not len(seen):
        return {}
    quartiles = [float(one) for one in np.quantile(seen, (0.25, 0.5, 0.75))]
    low, high = (float(one) for one in np.quantile(seen, _TAILS))
    different = np.unique(seen)
    if len(different) <= BINS and (different == np.rint(different)).all() and np.ptp(different) < BINS:
        # One bin for each whole number.
        low, bins, width = float(different[0]) - 0.5, int(np.ptp(different)) + 1, 1.0
    else:
        if high <= low:
            low, high = float(seen.min()), float(seen.max())
        bins, width = BINS, (high - low) / BINS
        if width <= 0 or not math.isfinite(width):
            bins, width = 1, 1.0
    rows = connection.execute(
        f"select {quote(_PART)}, cast(least(greatest(floor((x - $low) / $width), 0), $last) as integer) as bin, "
        f"count(*) from (select {quote(_PART)}, {number} as x from cases where {quote(_PART)} >= 0) "
        "where x is not null group by 1, 2",
        {"low": low, "width": width, "last": bins - 1},
    ).fetchall()
    counts = {part: [0] * bins for part in parts}
    for place, at, count in rows:
        counts[parts[place]][at] += count
    return {"quartiles": quartiles, "bins": {"from": low, "width": width, "counts": counts}}


def _categories(
    connection: duckdb.DuckDBPyConnection, name: str, parts: Sequence[str], there: int
) -> dict[str, Any]:
    """The most frequent values; none where nearly every row has its own."""
    column = quote(name)
    known = f"from cases where {quote(_PART)} >= 0 and {column} is not null"
    row = connection.execute(f"select approx_count_distinct({column}) {known}").fetchone()
    different = 0 if row is None else int(row[0])
    if different > FEW_TEXTS and different > MOSTLY_DIFFERENT * there:
        return {"different": different, "hidden": True}
    text = f"left(cast({column} as varchar), {LONGEST_SHOWN})"
    frequent = connection.execute(
        f"select {text} as value, count(*) as n {known} group by 1 order by n desc, 1 limit {MOST_CATEGORIES}"
    ).fetchall()
    names = [value for value, _ in frequent]
    places = {value: place for place, value in enumerate(names)}
    counts = {part: [0] * len(names) for part in parts}
    others = dict.fromkeys(parts, 0)
    marks = ", ".join("?" for _ in names) or "null"
    rows = connection.execute(
        f"select {quote(_PART)}, case when {text} in ({marks}) then {text} end as value, count(*) {known} "
        "group by 1, 2",
        names,
    ).fetchall()
    for place, value, count in rows:
        if value is None:
            others[parts[place]] += count
        else:
            counts[parts[place]][places[value]] += count
    return {"different": different, "categories": {"names": names, "counts": counts, "others": others}}
