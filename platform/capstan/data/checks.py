"""Whether a table of cases keeps the file's rules, and which rows do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.conditions import condition_holds
from capstan.data.decimal_marks import plain_name, way_to_number
from capstan.data.extraction import LABEL_AVAILABLE_AT
from capstan.data.mapped_tables import filtered
from capstan.data.moments import ways_to_moments
from capstan.domain.payload_limits import LONGEST_ID, LONGEST_TEXT
from capstan.errors import InvalidDataError
from capstan.features.columns import codes, type_of
from capstan.features.values import ColumnType, category
from capstan.spec.data import Check
from capstan.spec.system import MLSystem
from capstan.spec.units import format_duration

Severity = Literal["Stop", "Drop", "Warn"]
Booleans = npt.NDArray[np.bool_]
MOST_LISTED = 10_000
"""Rows of one rule that are kept with the run."""
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
    severity: Severity = "Stop"
    listed: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    """Id and value of the rows that break it, at most `MOST_LISTED`."""
    broken: Booleans | None = field(default=None, compare=False, repr=False)
    """(rows of the table,): which rows break it; None: the rule is about the whole table."""

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
    """That are not left out."""
    newest: datetime | None
    """Event time of the newest row; None for an empty table."""
    violations: tuple[Violation, ...]
    missing: dict[str, float] = field(default_factory=dict)
    """Column -> share of rows without a value, for columns that lack any."""

    @property
    def dropped(self) -> Booleans | None:
        """(rows of the table that was checked,): those that rules of `severity: Drop` leave out; None: none."""
        masks = [one.broken for one in self.violations if one.severity == "Drop" and one.broken is not None]
        return np.logical_or.reduce(masks) if masks else None

    def kept(self, table: pa.Table) -> pa.Table:
        """The checked table without the rows that are dropped; raises InvalidDataError if none is left."""
        dropped = self.dropped
        if dropped is None:
            return table
        if dropped.all():
            rules = "; ".join(str(one) for one in self.violations if one.severity == "Drop")
            raise InvalidDataError(
                f"data.checks: `severity: Drop` leaves none of {len(dropped):,} rows: {rules}. Correct the rows, or "
                "change the rule"
            )
        return filtered(table, pa.array(~dropped))

    @property
    def told(self) -> list[str]:
        """A line for each rule that is broken and does not stop."""
        words = {"Drop": "such rows are left out", "Warn": "a warning only"}
        return [
            f"data.checks: {one}; {words[one.severity]}" for one in self.violations if one.severity in words
        ]

    def require(self) -> None:
        """Raises InvalidDataError that lists all broken rules that stop, their rows and values."""
        stopping = [one for one in self.violations if one.severity == "Stop"]
        if stopping:
            listed = "\n".join(f"  {violation}" for violation in stopping)
            count = len(stopping)
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
    for index, check in enumerate(data.checks):
        violations += _broken(check, table[check.column], ids, data.time_zone)
        if check.condition is not None:
            field_of = f"data.checks[{index}].condition"
            asked = _with_moment_of_label(table, system)
            broken = pc.invert(condition_holds(asked, check.condition, data.time_zone, field_of))
            rule = f"breaks {check.condition}"
            violations += _violation(check.column, rule, broken, table[check.column], ids, check.severity)
    # What is left out need not keep the rules that everything else must.
    checked = CheckReport(table.num_rows, None, tuple(violations))
    table = checked.kept(table)
    ids = table[data.keys.id_column]
    for check in data.checks:
        violations += _of_all_rows(check, table[check.column], as_of)
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


def _with_moment_of_label(table: pa.Table, system: MLSystem) -> pa.Table:
    """The cases, and the moment at which each label became known by the name that the query gives it."""
    name = system.spec.data.label.available_at
    if name is None or name in table.column_names or LABEL_AVAILABLE_AT not in table.column_names:
        return table
    return table.append_column(name, table[LABEL_AVAILABLE_AT])


def _broken(check: Check, values: pa.ChunkedArray, ids: pa.ChunkedArray, zone: str) -> Iterator[Violation]:
    if not check.nullable:
        yield from _violation(
            check.column,
            "must not be missing",
            pc.is_null(values, nan_is_null=True),
            values,
            ids,
            check.severity,
        )
    if check.unique:
        yield from _violation(
            check.column,
            "is there more than once" if check.severity != "Drop" else "was there in an earlier row",
            _repeated(values, also_first=check.severity != "Drop"),
            values,
            ids,
            check.severity,
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
            yield from _violation(
                check.column, f"is below the minimum {check.min:g}", low, values, ids, check.severity
            )
        if check.max is not None:
            high = pc.greater(plain, check.max)
            yield from _violation(
                check.column, f"is above the maximum {check.max:g}", high, values, ids, check.severity
            )
    if check.allowed is not None:
        kind = type_of(values)
        allowed = {category(text, kind, zone) for text in check.allowed} | {None}
        strange = pa.chunked_array(
            [pa.array(codes(values, lambda text: int(text not in allowed), kind) == 1)]
        )
        shown = ", ".join(check.allowed[:20])
        rule = f"is not allowed; allowed: {shown}"
        yield from _violation(check.column, rule, strange, values, ids, check.severity)


def _repeated(values: pa.ChunkedArray, *, also_first: bool) -> pa.Array:
    """Rows whose value another row has too; the first of them only where it is asked for. A missing one is none."""
    found = codes(values, _numbering(), type_of(values))
    _, first, place, count = np.unique(found, return_index=True, return_inverse=True, return_counts=True)
    repeated = count[place] > 1
    if not also_first:
        repeated[first] = False
    return pa.array(repeated & ~np.asarray(pc.is_null(values, nan_is_null=True)))


def _numbering() -> Callable[[str | None], int]:
    order: dict[str | None, int] = {}
    return lambda text: order.setdefault(text, len(order))


def _of_all_rows(check: Check, values: pa.ChunkedArray, as_of: datetime | None) -> Iterator[Violation]:
    """How fresh the column is, and how many values it has."""
    count = len(values) - (pc.sum(pc.is_null(values, nan_is_null=True)).as_py() or 0)
    if check.volume is not None and count < check.volume:
        rule = f"{count:,} rows have a value, and {check.volume:,} must; is a source cut short?"
        yield Violation(check.column, rule, count, severity=check.severity)
    if check.freshness is None or as_of is None:
        return
    if count and type_of(values) is not ColumnType.TIME:
        rule = f"is {type_of(values)} and no Time, which freshness needs; {ways_to_moments(check.column)}"
        yield Violation(check.column, rule, count)
        return
    # A moment that is still to come, such as 9999-12-31, says nothing of how fresh the rows are.
    past = values.filter(pc.less_equal(values, pa.scalar(as_of, values.type))) if count else values
    newest = pc.max(past).as_py() if len(past) else None
    if newest is None or newest < as_of - check.freshness:
        oldest = format_duration(check.freshness)
        rule = f"the newest value is of {newest}, more than {oldest} before {as_of}; is a source not written any more?"
        if newest is None:
            rule = f"no value is of {as_of} or before; correct the moments, or name another column"
        yield Violation(check.column, rule, len(values), severity=check.severity)


def _violation(
    column: str,
    rule: str,
    broken: pa.ChunkedArray,
    values: pa.ChunkedArray,
    ids: pa.ChunkedArray,
    severity: Severity = "Stop",
) -> Iterator[Violation]:
    count = pc.sum(broken).as_py() or 0
    if count:
        broken = pc.fill_null(broken, False)
        where = pc.indices_nonzero(broken)[:MOST_LISTED]
        named = tuple(str(name) for name in ids.take(where).to_pylist())
        told = tuple(map(_in_words, values.take(where).to_pylist()))
        yield Violation(
            column,
            rule,
            count,
            named[:_SHOWN],
            told[:_SHOWN],
            severity,
            tuple(zip(named, told, strict=True)),
            np.asarray(broken, dtype=np.bool_),
        )


def _in_words(value: object) -> str:
    """As a message shows it: of a long text its beginning, since logs are no place for whole texts."""
    is_long = isinstance(value, str) and len(value) > _SHOWN_TEXT
    return repr(f"{value[:_SHOWN_TEXT]}…" if is_long else value)  # type: ignore[index]


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
    longest = {
        feature.column: LONGEST_TEXT for feature in system.spec.features if not feature.settings.needs_images
    }
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
