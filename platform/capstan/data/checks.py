"""Whether a table of cases keeps the file's rules, and which rows do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.decimal_marks import plain_name, way_to_number
from capstan.data.moments import ways_to_moments
from capstan.domain.payload_limits import LONGEST_ID, LONGEST_TEXT
from capstan.errors import InvalidDataError
from capstan.features.columns import codes, type_of
from capstan.features.values import ColumnType, category
from capstan.spec.data import Check
from capstan.spec.system import MLSystem

_SHOWN = 5
_SHOWN_TEXT = 60


@dataclass(frozen=True)
class Violation:
    """One broken rule."""

    column: str
    rule: str
    """`is below the minimum 1`."""
    rows: int
    ids: tuple[str, ...] = ()
    """The first rows that break it, at most five; empty if the rule is about the whole table."""
    values: tuple[str, ...] = ()
    """Their values."""

    def __str__(self) -> str:
        if not self.ids:
            return f"{self.column}: {self.rule}"
        more = ", …" if self.rows > len(self.ids) else ""
        shown = ", ".join(f"{name} has {value}" for name, value in zip(self.ids, self.values, strict=True))
        return f"{self.column}: {self.rows} rows: {self.rule} ({shown}{more})"


@dataclass(frozen=True)
class CheckReport:
    """What the checks found."""

    rows: int
    newest: datetime | None
    """Event time of the newest row; None for an empty table."""
    violations: tuple[Violation, ...]
    missing: dict[str, float] = field(default_factory=dict)
    """Column -> share of rows without a value, for columns that lack any."""

    def require(self) -> None:
        """Raises InvalidDataError that lists all broken rules, their rows and values."""
        if self.violations:
            listed = "\n".join(f"  {violation}" for violation in self.violations)
            count = len(self.violations)
            raise InvalidDataError(
                f"data.checks: {count} {'rule is' if count == 1 else 'rules are'} broken:\n{listed}\n"
                "Correct the rows or filter them in data.query, or change the rule."
            )


def check_table(
    table: pa.Table,
    system: MLSystem,
    *,
    as_of: datetime | None = None,
    oldest: timedelta | None = None,
    least_rows: int = 1,
) -> CheckReport:
    """All rules of the file on an extracted table.

    Besides `data.checks`: unique ids, numbers where features need numbers, no infinite number, at least `least_rows`
    rows, and, if `oldest` is given, a newest row that is not older than that at `as_of`. NaN is a missing value.
    """
    data = system.spec.data
    ids = table[data.keys.id_column]
    violations: list[Violation] = []
    for check in data.checks:
        violations += _broken(check, table[check.column], ids, data.time_zone)
    violations += _duplicates(data.keys.id_column, ids)
    violations += _types(table, system)
    violations += _infinite(table, ids)
    violations += _lengths(table, system)
    dated = table.num_rows and data.keys.time is not None
    newest = pc.max(table[data.keys.time_column]).as_py() if dated else None
    if table.num_rows < least_rows:
        violations.append(
            Violation(
                data.keys.id_column, f"{table.num_rows} rows are fewer than {least_rows}", table.num_rows
            )
        )
    if (
        data.keys.time is not None
        and oldest is not None
        and as_of is not None
        and (newest is None or newest < as_of - oldest)
    ):
        rule = f"the newest row is of {newest}, more than {oldest} before {as_of}; is a source not written any more?"
        violations.append(Violation(data.keys.time, rule, table.num_rows))
    missing = {
        name: table[name].null_count / table.num_rows
        for name in table.column_names
        if table.num_rows and table[name].null_count
    }
    return CheckReport(table.num_rows, newest, tuple(violations), missing)


def _broken(check: Check, values: pa.ChunkedArray, ids: pa.ChunkedArray, zone: str) -> Iterator[Violation]:
    if not check.nullable:
        yield from _violation(
            check.column, "must not be missing", pc.is_null(values, nan_is_null=True), values, ids
        )
    if check.min is not None or check.max is not None:
        if not _is_number(values.type):
            kind = type_of(values)
            ways = _ways_to_numbers(check.column, kind, values)
            rule = f"is {kind} and no Number, which min and max need; {ways}, or drop min and max"
            yield from _violation(check.column, rule, pc.is_valid(values), values, ids)
            return
        plain = values.cast(pa.float64(), safe=False)
        if check.min is not None:
            low = pc.less(plain, check.min)
            yield from _violation(check.column, f"is below the minimum {check.min:g}", low, values, ids)
        if check.max is not None:
            high = pc.greater(plain, check.max)
            yield from _violation(check.column, f"is above the maximum {check.max:g}", high, values, ids)
    if check.allowed is not None:
        kind = type_of(values)
        allowed = {category(text, kind, zone) for text in check.allowed} | {None}
        strange = pa.chunked_array(
            [pa.array(codes(values, lambda text: int(text not in allowed), kind) == 1)]
        )
        shown = ", ".join(check.allowed[:20])
        rule = f"is not allowed; allowed: {shown}"
        yield from _violation(check.column, rule, strange, values, ids)


def _violation(
    column: str, rule: str, broken: pa.ChunkedArray, values: pa.ChunkedArray, ids: pa.ChunkedArray
) -> Iterator[Violation]:
    count = pc.sum(broken).as_py() or 0
    if count:
        where = pc.indices_nonzero(pc.fill_null(broken, False))[:_SHOWN]
        yield Violation(
            column,
            rule,
            count,
            tuple(str(name) for name in ids.take(where).to_pylist()),
            tuple(repr(value) for value in values.take(where).to_pylist()),
        )


def _duplicates(name: str, ids: pa.ChunkedArray) -> Iterator[Violation]:
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counted = pc.value_counts(ids.combine_chunks())
    twice = [(item["values"], item["counts"]) for item in counted.to_pylist() if item["counts"] > 1]
    yield Violation(
        name,
        "must be unique",
        sum(count for _, count in twice),
        tuple(str(value) for value, _ in twice[:_SHOWN]),
        tuple(f"{count} rows" for _, count in twice[:_SHOWN]),
    )


def _types(table: pa.Table, system: MLSystem) -> Iterator[Violation]:
    for feature in system.spec.features:
        values = table[feature.column]
        if feature.reading == "numeric" and not (_is_number(values.type) or pa.types.is_null(values.type)):
            kind = type_of(values)
            ways = _ways_to_numbers(feature.column, kind, values)
            rule = (
                f"is {kind}, but feature {feature.name!r} is numeric; {ways}, or make the feature categorical"
            )
            yield from _violation(
                feature.column, rule, pc.is_valid(values), values, table[system.spec.data.keys.id_column]
            )
        if feature.settings.needs_moments and type_of(values) is not ColumnType.TIME:
            rule = (
                f"is {type_of(values)}, but feature {feature.name!r} needs moments; state the column as Time under "
                "`types` of its source, with `written` where its days are written in another way than 2024-03-01, "
                f"or {ways_to_moments(feature.column)}"
            )
            yield from _violation(
                feature.column, rule, pc.is_valid(values), values, table[system.spec.data.keys.id_column]
            )


def _infinite(table: pa.Table, ids: pa.ChunkedArray) -> Iterator[Violation]:
    """What is trained on must be servable: JSON has no infinite number, so no request could hold it."""
    for name in table.column_names:
        values = table[name]
        if pa.types.is_floating(values.type):
            rule = (
                "is infinite, which no request may hold; correct it, divide by nullif(..., 0), or make it missing in "
                f"data.query, such as case when isfinite({name}) then {name} end"
            )
            yield from _violation(name, rule, pc.is_inf(values), values, ids)


def _ways_to_numbers(column: str, kind: ColumnType, values: pa.ChunkedArray) -> str:
    if kind is not ColumnType.TEXT:
        return "derive a number from it in data.query, such as hour(ordered)"
    texts = pc.unique(values).to_pylist()
    marked = [text for text in texts if isinstance(text, str) and ("," in text or "." in text)]
    return (
        "correct the values, state the column as Number under `types` of its source, list texts that mean missing "
        "under `missing` of a csv source, or "
        + (
            way_to_number(column, marked, of_query=True)
            or f"cast it in data.query, such as try_cast({plain_name(column)} as double)"
        )
    )


def _lengths(table: pa.Table, system: MLSystem) -> Iterator[Violation]:
    """What is trained on must be servable: a request may hold no longer texts."""
    keys = system.spec.data.keys
    longest = {feature.column: LONGEST_TEXT for feature in system.spec.features}
    longest |= {name: LONGEST_ID for name in (keys.id, keys.sticky_by) if name is not None}
    for name, most in longest.items():
        values = table[name]
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            rule = f"is longer than the {most} characters that a request may hold; shorten it in data.query"
            shown = pc.utf8_slice_codeunits(values, 0, _SHOWN_TEXT)
            yield from _violation(
                name, rule, pc.greater(pc.utf8_length(values), most), shown, table[keys.id_column]
            )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )
