"""What type a column of text really has, judged by all of its values.

DuckDB's own sniffer looks at the start of the file, where rows from after `asOf` may stand; these types come only from
the rows that may be read.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from capstan.features.values import MISSING_TEXTS, ColumnType
from capstan.spec.data import DECIMAL_COMMA, GROUPED, NUMBER_FORMS

NUMBERS = ("BIGINT", "DOUBLE")
"""Types of a column whose values were written as numbers, as JSON can."""
MOMENTS = ("DATE", "TIMESTAMPTZ")
AS_WRITTEN = "VARCHAR"
"""The type of a column that stays text."""

_NUMBER = r"'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?'"
_NUMBER_FORM = {
    DECIMAL_COMMA: r"'[+-]?([0-9]+|[1-9][0-9]{0,2}(\.[0-9]{3})+)?(,[0-9]*)?([eE][+-]?[0-9]+)?'",
    GROUPED: r"'[+-]?([0-9]+|[1-9][0-9]{0,2}(,[0-9]{3})+)?(\.[0-9]*)?([eE][+-]?[0-9]+)?'",
}
_LEADING_ZERO = r"'[+-]?0[0-9].*'"
_WHOLE = r"'-?(0|[1-9][0-9]*)'"
_DIGITS = r"'[+-]?[0-9]+'"
_DATED = r"'\d{4}-\d{2}-\d{2}'"
# Only what a request can say too, `moment_of_text`: PST, which may mean several zones, is text.
_ZONE = r"Z|[+-]\d{2}(:?\d{2}){0,2}| (UTC|GMT|[A-Za-z]+/[-+/\w]+)"
_CLOCK = rf"[ T]\s*\d{{1,2}}:\d{{1,2}}(:\d{{1,2}}(\.\d*)?)?({_ZONE})?"
_INSTANT = rf"'\d{{4}}-\d{{2}}-\d{{2}}{_CLOCK}'"
_LOOSE_MOMENT = rf"'\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}}({_CLOCK})?'"
# As programs write floats: with a point or an exponent, in the fewest digits that are read as the same float.
_FLOAT = "$value = cast(try_cast($value as double) as varchar)"
# A whole number beside floats becomes one, which above 2^53 may be its neighbour.
_HELD = "try_cast(try_cast($value as double) as hugeint) = try_cast($value as hugeint)"
_WHOLE_FLOAT = f"regexp_full_match($value, {_WHOLE}) and $value <> '-0' and {_HELD}"
_TESTS = {
    "missing": "$missing",
    "BIGINT": f"regexp_full_match($value, {_WHOLE}) and $value <> '-0' and try_cast($value as bigint) is not null",
    # A leading zero says that it is a code, such as a postcode; a float cannot hold an integer beyond 64 bits.
    "DOUBLE": (
        f"regexp_full_match($value, {_NUMBER}) and isfinite(try_cast($value as double)) "
        f"and not regexp_full_match($value, {_LEADING_ZERO}) "
        f"and not (regexp_full_match($value, {_DIGITS}) and try_cast($value as bigint) is null)"
    ),
    "BOOLEAN": "lower($value) in ('true', 'false')",
    "DATE": f"regexp_full_match($value, {_DATED}) and try_cast($value as date) is not null",
    "TIMESTAMPTZ": f"regexp_full_match($value, {_INSTANT}) and try_cast($value as timestamptz) is not null",
    "held": f"regexp_full_match($value, {_NUMBER}) and (not regexp_full_match($value, {_DIGITS}) or {_HELD})",
    "as floats": _FLOAT,
    "as numbers": f"({_WHOLE_FLOAT}) or ({_FLOAT} and $value not like '%.0')",
}
_STATED_TESTS = {
    ColumnType.NUMBER: (f"regexp_full_match($value, {_NUMBER}) and isfinite(try_cast($value as double))"),
    ColumnType.BOOLEAN: "lower($value) in ('true', 'false', '1', '0', '1.0', '0.0')",
    ColumnType.TIME: f"try_cast($value as timestamptz) is not null and regexp_full_match($value, {_LOOSE_MOMENT})",
}
WORDS = {
    ColumnType.NUMBER: "a number",
    ColumnType.BOOLEAN: "true or false",
    ColumnType.TIME: "a moment such as 2013-02-01T05:00:00Z",
}


@dataclass(frozen=True)
class FoundType:
    """What a column of text holds."""

    column: str
    kind: str
    """DuckDB's type."""
    changes: str | None = None
    """A value that is written otherwise once it is a number or a moment, such as 1.10; None: all stay as they are."""
    changes_as_category: bool = False
    """Whether it is so too where 7 and 7.0 are one category."""
    written: str | None = None
    """How strptime reads its moments, or in which form its numbers are written; None: as they are."""

    def item(self, kind: str | None = None) -> str:
        """The column as a select item of that type, or of the one that was found."""
        return f"{value_as(self.column, kind or self.kind, self.written)} as {quote(self.column)}"


def quote(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def value_as(column: str, kind: str, written: str | None = None) -> str:
    """The column of text as an SQL expression of that type; texts that mean missing are null but in text.

    `written`: how strptime reads its moments, or the form of its numbers.
    """
    if kind == AS_WRITTEN:
        return quote(column)
    value = f"trim({quote(column)})"
    given = f"case when {_is_missing(value)} then null else {value} end"
    if kind == "BOOLEAN":
        return f"(lower({given}) in ('true', '1', '1.0'))"
    if written in NUMBER_FORMS:
        return f"cast({_plain_number(given, written)} as {kind})"
    if written is not None:
        return f"cast(strptime({given}, {literal(written)}) as {kind})"
    return f"cast({given} as {kind})"


def _plain_number(value: str, written: str) -> str:
    """The SQL text of a number in one of NUMBER_FORMS as SQL reads numbers."""
    if written == DECIMAL_COMMA:
        return f"replace(replace({value}, '.', ''), ',', '.')"
    return f"replace({value}, ',', '')"


def number_of_text(text: str, written: str) -> float | None:
    """The number that is written so in one of NUMBER_FORMS; None: it is none, or is written in another form."""
    if not re.fullmatch(_NUMBER_FORM[written].strip("'"), text):
        return None
    plain = text.replace(".", "").replace(",", ".") if written == DECIMAL_COMMA else text.replace(",", "")
    try:
        number = float(plain)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_number(column: str, *, coded: bool = False) -> str:
    """Whether the SQL expression of a text is written as a number, or means missing; with `coded` 007 is one too."""
    value = f"trim({column})"
    wanted = [_STATED_TESTS[ColumnType.NUMBER]] if coded else [_TESTS[name] for name in NUMBERS]
    tests = " or ".join(f"({test.replace('$value', value)})" for test in wanted)
    return f"coalesce({tests} or {_is_missing(value)}, false)"


def keeps_text(column: str, *, whole: bool = False) -> str:
    """Whether a number, or a missing value, would keep the text, which is an SQL expression; `whole`: an integer."""
    value = f"trim({column})"
    forms = ("BIGINT",) if whole else ("as numbers", "as floats")
    tests = " or ".join(f"({_TESTS[name].replace('$value', value)})" for name in forms)
    return f"coalesce({tests} or {_is_missing(value)}, false)"


def typed(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, tuple[str, ...] | None]
) -> list[FoundType]:
    """The narrowest type of each column of text that all its values have.

    `columns` maps a column to the types that it may get, None for all. Texts that mean missing fit each type but text.
    Instants without an offset are of the connection's time zone.
    """
    found = []
    for name, allowed in columns.items():
        # Whether all values pass is whether all different ones do, and most columns repeat theirs.
        column = quote(name)
        counts = ", ".join(f"count({column}) filter ({_test(test, name)})" for test in _TESTS.values())
        different = f"(select distinct {column} from {table})"
        row = connection.execute(f"select count({column}), {counts} from {different}").fetchone()
        assert row is not None
        present, *passed = row
        numbers = dict(zip(_TESTS, passed, strict=True))
        filled = present - numbers["missing"]
        kind = next(
            (
                kind
                for kind in (*NUMBERS, "BOOLEAN", *MOMENTS)
                if numbers[kind] == filled and (allowed is None or kind in allowed)
            ),
            AS_WRITTEN,
        )
        if not filled:
            # An empty column adds up and compares best as a number.
            kind = "DOUBLE" if allowed is None or "DOUBLE" in allowed or not present else kind
            found.append(FoundType(name, kind))
        elif kind == "DOUBLE":
            stays = filled in (numbers["as floats"], numbers["as numbers"])
            # JSON tells a number from a text; 7 and 7.0 are one number there.
            stays = stays or (allowed is not None and "DOUBLE" in allowed and numbers["held"] == filled)
            found.append(FoundType(name, kind, _example(connection, table, name, stays), not stays))
        elif kind == "TIMESTAMPTZ":
            found.append(FoundType(name, kind, _example(connection, table, name, True)))
        else:
            found.append(FoundType(name, kind))
    return found


def contradicts(column: str, kind: ColumnType, written: str | None = None) -> str:
    """Whether the SQL expression of a text, which is not null, is no value of a type that the file states."""
    value = f"trim({column})"
    if kind is ColumnType.TEXT:
        return "false"
    test = _STATED_TESTS[kind].replace("$value", value)
    if written in NUMBER_FORMS:
        plain = _plain_number(value, written)
        test = (
            f"regexp_full_match({value}, {_NUMBER_FORM[written]}) and isfinite(try_cast({plain} as double))"
        )
    elif written is not None:
        # DuckDB takes 24 for the year 24, which nobody means.
        test = f"year(try_strptime({value}, {literal(written)})) >= 1000"
    return f"not coalesce({test}, false) and not {_is_missing(value)}"


def stated(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, ColumnType],
    written: Mapping[str, str],
) -> list[FoundType]:
    """The columns of text with the types that the file states; no value may contradict them.

    `written`: column -> how strptime reads its moments, which are local times, as those of other tables are, or the
    form of its numbers.
    """
    found = []
    for name, kind in columns.items():
        if kind is ColumnType.TEXT:
            found.append(FoundType(name, AS_WRITTEN))
            continue
        if written.get(name) in NUMBER_FORMS:
            found.append(FoundType(name, "DOUBLE", written=written[name]))
            continue
        if name in written:
            clock = "%H" in written[name]
            found.append(FoundType(name, "TIMESTAMP" if clock else "DATE", written=written[name]))
            continue
        narrow = {found.column: found.kind for found in typed(connection, table, {name: None})}[name]
        wanted = {
            ColumnType.NUMBER: narrow if narrow in NUMBERS else "DOUBLE",
            ColumnType.BOOLEAN: "BOOLEAN",
            ColumnType.TIME: narrow if narrow in MOMENTS else "TIMESTAMPTZ",
        }
        found.append(FoundType(name, wanted[kind]))
    return found


def _test(test: str, name: str) -> str:
    value = f"trim({quote(name)})"
    return test.replace("$missing", _is_missing(value)).replace("$value", value)


def _is_missing(value: str) -> str:
    return f"{value} in ({', '.join(literal(text) for text in sorted(MISSING_TEXTS))})"


def _example(connection: duckdb.DuckDBPyConnection, table: str, name: str, stays: bool) -> str:
    """A value that changes when it is read; where none does as a category, any."""
    column = quote(name)
    value = f"trim({column})"
    other = f"not ({_test(_TESTS['as numbers'], name)}) and not ({_test(_TESTS['as floats'], name)})"
    where = f"{column} is not null and not {_is_missing(value)}" + ("" if stays else f" and {other}")
    row = connection.execute(f"select {column} from {table} where {where} limit 1").fetchone()
    if row is None and not stays:
        # Each value would stay by itself, but 7 and 7.0 stand in one column.
        return _example(connection, table, name, True)
    return str(row[0]) if row else ""
