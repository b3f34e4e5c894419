"""What a single value means: its number and its category, whatever wrote it.

Training, requests, payloads, checks and the monitor all ask here, by the type that training found in the column, so
that one value is one category for all of them. Plain Python and numpy, so that serving need not import what training
reads with.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

import numpy as np

from capstan.domain.local_times import in_zone, zone_named
from capstan.errors import InvalidDataError

MISSING_TEXTS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"})
"""Texts that mean "no value" in columns of numbers, booleans and times; in one of texts only the empty one does."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")
# What tables read and Python does not: 2024/3/1, 5:00, 24:00:00, 05:00:00 Europe/Berlin.
_WRITTEN = re.compile(
    r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})"
    r"(?:[ T]\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?)?"
    r"(Z|[+-]\d{2}(?::?\d{2}){0,2}| [A-Za-z][-+/\w]{1,60})?)?",
    re.ASCII,
)
_EXACT = 2.0**64
"""Whole floats below it are written as whole numbers, as the integers of all tables are."""
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


class ColumnType(StrEnum):
    """What kind of values a column has."""

    TEXT = "Text"
    NUMBER = "Number"
    BOOLEAN = "Boolean"
    TIME = "Time"


def category(value: object, kind: ColumnType = ColumnType.TEXT, zone: str = "UTC") -> str | None:
    """The one text that stands for the value in a column of that type; None if it is missing.

    Text: what was written. Number: 7, 7.0 and "7" are "7". Boolean: true, "True" and 1 are "true". Time: the instant
    in UTC, "2013-02-01T05:00:00Z"; a day is its beginning, and what has no offset is of the IANA zone `zone`, the
    file's. A text that its column's type cannot read stays as it is: a category that training never saw.
    """
    if isinstance(value, str):
        if kind is ColumnType.TEXT:
            return value or None
        return _category_of_text(value, kind, zone)
    if is_missing(value):
        return None
    if isinstance(value, bool | np.bool_):
        if kind is ColumnType.NUMBER:
            return "1" if value else "0"
        return "true" if value else "false"
    if isinstance(value, int | float | np.integer | np.floating | Decimal):
        if kind is ColumnType.BOOLEAN and value in (0, 1):
            return "true" if value else "false"
        return _number_text(value)
    if isinstance(value, date | np.datetime64):
        return _moment_text(value, zone)
    return str(value) or None


def number(value: object, column: str, kind: ColumnType = ColumnType.NUMBER) -> float:
    """The value as a float, 1 and 0 for a boolean; nan if it is missing or not finite.

    Raises InvalidDataError for what is no number.
    """
    if isinstance(value, int | float | np.number | np.bool_ | Decimal):
        try:
            result = float(value)
        except OverflowError:
            return math.nan
        return result if math.isfinite(result) else math.nan
    if is_missing(value) or value == "":
        return math.nan
    if kind is ColumnType.BOOLEAN and isinstance(value, str):
        truth = truth_of(value)
        if truth is not None:
            return float(truth)
        if value.strip() in MISSING_TEXTS:
            return math.nan
    raise InvalidDataError(
        f"column {column!r}: {value!r} is not a number; make the feature categorical or cast the column in data.query"
    )


def is_missing(value: object) -> bool:
    """Whether it is no value: None, or what pandas writes for it."""
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def truth_of(value: object) -> bool | None:
    """true, "True", 1, "0", …: what it means in a column of booleans; None if it is no boolean."""
    if isinstance(value, str):
        return _TRUTH.get(value.strip().lower())
    if isinstance(value, bool | int | float | np.bool_ | np.number):
        return bool(value) if value in (0, 1) else None
    return None


def number_of_text(text: str) -> int | float | None:
    """The number that is written so, if it can be written back as it was: None for 007, 1.10, 1e5 or 20 digits."""
    if _INTEGER.fullmatch(text):
        whole = int(text)
        return whole if -(2**63) <= whole < 2**63 and text != "-0" else None
    if not _DECIMAL.fullmatch(text):
        return None
    found = float(text)
    if not math.isfinite(found):
        return None
    return found if _digits(text) == _digits(repr(found)) else None


def moment_of_text(text: str, zone: str = "UTC", form: str | None = None) -> datetime | None:
    """The instant that is written so, in UTC; a day is its beginning, and what has no offset is of the IANA `zone`.

    Read is what tables read: 24:00 is the next day's beginning, and a zone may be named behind the time. `form`: how
    strptime reads moments of the column, besides.
    """
    try:
        if _DATED.match(text):
            return in_zone(datetime.fromisoformat(text), zone)
    except OverflowError:
        return None
    except ValueError:
        pass
    written = _WRITTEN.fullmatch(text)
    found = None if written is None else _moment_of_parts(written, zone)
    if found is not None or form is None:
        return found
    try:
        return in_zone(datetime.strptime(text, form), zone)  # noqa: DTZ007 - of the zone
    except (ValueError, OverflowError):
        return None


def _moment_of_parts(written: re.Match[str], zone: str) -> datetime | None:
    year, _, month, day, hour, minute, second, fraction, place = written.groups(default="0")
    midnight = int(hour) == 24
    if midnight and (int(minute) or int(second) or fraction.strip("0")):
        return None
    named = zone_named(place[1:]) if place.startswith(" ") else zone
    if named is None:
        return None
    offset = place if place[0] in "Z+-" else ""
    clock = f"{0 if midnight else int(hour):02}:{int(minute):02}:{int(second):02}.{fraction[:6]:0<6}"
    try:
        moment = datetime.fromisoformat(f"{year}-{int(month):02}-{int(day):02}T{clock}{offset}")
        return in_zone(moment + timedelta(days=midnight), named)
    except (ValueError, OverflowError):
        return None


def _category_of_text(text: str, kind: ColumnType, zone: str) -> str | None:
    stripped = text.strip()
    if stripped in MISSING_TEXTS:
        return None
    if kind is ColumnType.NUMBER:
        found = number_of_text(stripped)
        return text if found is None else _number_text(found)
    if kind is ColumnType.BOOLEAN:
        truth = truth_of(stripped)
        return text if truth is None else "true" if truth else "false"
    moment = moment_of_text(stripped, zone)
    return text if moment is None else _moment_text(moment, zone)


def _number_text(value: Any) -> str | None:
    if isinstance(value, int | np.integer) and abs(int(value)) < _EXACT:
        return str(int(value))
    try:
        found = float(value)
    except OverflowError:
        return str(value)
    if not math.isfinite(found):
        return None
    return str(int(found)) if found.is_integer() and abs(found) < _EXACT else repr(found)


def _moment_text(value: date | np.datetime64, zone: str) -> str | None:
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        value = datetime.fromisoformat(str(value.astype("datetime64[us]")))
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    return f"{in_zone(moment, zone).replace(tzinfo=None).isoformat()}Z"


def _digits(text: str) -> tuple[object, ...] | None:
    try:
        return tuple(Decimal(text).as_tuple())
    except InvalidOperation:
        return None
