"""Values with units as people write them: durations `7d`, shares `80%`, sizes `50Mi`, processors `500m`.

Inside, they are `timedelta`, a float between 0 and 1, whole bytes and a float of cores; in JSON and YAML they are text
again, in one canonical form, so that a system written and read back is the same system.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

DURATION_PATTERN = r"^[0-9]{1,13}(ms|s|m|h|d)$"
SHARE_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,6})?%$"
QUANTITY_PATTERN = r"^[0-9]{1,19}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
LONGEST_DURATION = timedelta(days=36_500)

_MILLISECOND = timedelta(milliseconds=1)
_DURATION_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": _MILLISECOND,
}
_BINARY = {"Pi": 2**50, "Ti": 2**40, "Gi": 2**30, "Mi": 2**20, "Ki": 2**10}
_DECIMAL = {"P": 10**15, "T": 10**12, "G": 10**9, "M": 10**6, "k": 10**3}
_FACTORS = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(factor) for suffix, factor in {**_BINARY, **_DECIMAL}.items()},
}


def parse_duration(value: Any) -> timedelta:
    """`90s` as a timedelta; raises ValueError unless it is a whole number with one of ms, s, m, h, d."""
    if isinstance(value, timedelta):
        duration = value
        if duration % _MILLISECOND:
            raise ValueError("is finer than a millisecond; round it to whole milliseconds")
    else:
        if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
            raise ValueError(
                "is not a duration; write a whole number and a unit, such as 30s, 10m, 12h or 7d"
            )
        number, unit = re.findall(r"[0-9]+|[a-z]+", value)
        # Compare before multiplying: timedelta overflows at 999,999,999 days and more.
        if int(number) > LONGEST_DURATION // _DURATION_UNITS[unit]:
            raise ValueError("is longer than a hundred years; write a shorter duration")
        duration = int(number) * _DURATION_UNITS[unit]
    if not timedelta(0) <= duration <= LONGEST_DURATION:
        raise ValueError("is not between 0s and a hundred years")
    return duration


def format_duration(duration: timedelta) -> str:
    """The duration in the largest unit that divides it: `timedelta(hours=36)` is `36h`."""
    for unit, length in _DURATION_UNITS.items():
        if duration and duration % length == timedelta(0):
            return f"{duration // length}{unit}"
    return "0s" if not duration else f"{duration // _MILLISECOND}ms"


def parse_share(value: Any) -> float:
    """`80%` as 0.8; raises ValueError for anything that is not a percentage between 0% and 100%."""
    if not isinstance(value, str) or not re.fullmatch(SHARE_PATTERN, value):
        example = "80%"
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100:
            example = f"{value * 100:g}%" if value <= 1 else f"{value:g}%"
        raise ValueError(f"is not a share; write a percentage such as {example}")
    share = Fraction(value[:-1]) / 100
    if share > 1:
        raise ValueError("is above 100%; write a percentage between 0% and 100%")
    return float(share)


def format_share(share: float) -> str:
    """0.8 as `80%`, with at most six decimals."""
    return f"{round(Decimal(repr(share)) * 100, 6).normalize():f}%"


def _quantity(value: Any, what: str) -> Fraction:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{Decimal(repr(value)):f}"
    if not isinstance(value, str) or not re.fullmatch(QUANTITY_PATTERN, value):
        raise ValueError(f"is not a quantity; write {what}")
    number, suffix = re.match(r"([0-9.]+)([A-Za-z]*)", value).groups()  # type: ignore[union-attr]
    return Fraction(number) * _FACTORS[suffix]


def parse_bytes(value: Any) -> int:
    """`50Mi` as 52,428,800; raises ValueError unless it is a Kubernetes quantity of whole bytes below 2^60."""
    size = _quantity(value, "a size such as 512Ki, 50Mi or 1Gi")
    if size.denominator != 1:
        raise ValueError("is not a whole number of bytes; write a size such as 50Mi")
    if size >= 2**60:
        raise ValueError("is above 1024Pi; write a smaller size")
    return int(size)


def format_bytes(size: int) -> str:
    """The size with the largest binary suffix that divides it."""
    for suffix, factor in _BINARY.items():
        if size and size % factor == 0:
            return f"{size // factor}{suffix}"
    return str(size)


def parse_cores(value: Any) -> float:
    """`500m` as 0.5 cores; raises ValueError unless it is a whole number of thousandths up to 10,000 cores."""
    cores = _quantity(value, "a number of cores such as 500m, 1 or 2.5")
    if (cores * 1000).denominator != 1:
        raise ValueError("is finer than a thousandth of a core; round it, such as 250m")
    if cores > 10_000:
        raise ValueError("is above 10000 cores; write a smaller number")
    return float(cores)


def format_cores(cores: float) -> str:
    """0.5 as `500m`, 2.0 as `2`."""
    thousandths = round(cores * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def _parse_date(value: Any) -> Any:
    # A datetime is a date to isinstance; its time of day would be dropped in silence.
    if type(value) is date:
        return value
    if isinstance(value, str) and re.fullmatch(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", value):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"is not a day of the calendar ({error}); write it as 2013-02-01") from None
    raise ValueError("is not a date; write it as 2013-02-01")


def _cell_text(value: Any) -> str:
    # The schema of a custom resource knows no other union, and rules of the API server see through none.
    if isinstance(value, bool | float):
        raise PydanticCustomError("cell", "is neither a text nor a whole number; put it in quotes")
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise PydanticCustomError("cell", "is neither a text nor a whole number")
    return value


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("must be longer than 0s")
    return duration


_INT_OR_STRING: dict[str, Any] = {"x-kubernetes-int-or-string": True}

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
"""A timedelta of whole milliseconds, 0 or longer; text such as `7d`."""
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
"""A Duration longer than 0."""
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(format_share, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": SHARE_PATTERN}),
]
"""A float between 0 and 1; text such as `80%`."""
Quantity = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(format_bytes, return_type=str, when_used="json"),
    WithJsonSchema({**_INT_OR_STRING, "pattern": QUANTITY_PATTERN}),
]
"""Whole bytes; text such as `50Mi`."""
Cores = Annotated[
    float,
    BeforeValidator(parse_cores),
    PlainSerializer(format_cores, return_type=str, when_used="json"),
    WithJsonSchema({**_INT_OR_STRING, "pattern": QUANTITY_PATTERN}),
]
"""Processor cores as a float; text such as `500m`."""
Day = Annotated[
    date,
    BeforeValidator(_parse_date),
    PlainSerializer(date.isoformat, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date"}),
]
"""A day of the calendar; text such as `2013-02-01`."""
CellText = Annotated[
    str,
    BeforeValidator(_cell_text),
    WithJsonSchema(_INT_OR_STRING),
]
"""A value of a table as text, which YAML may read as a whole number; others stand in quotes."""
Whole = Annotated[int, Strict()]
"""A whole number; neither `"5"` nor `true` nor 5.0."""
Number = Annotated[float, Strict()]
"""A finite number; neither text nor a boolean."""
Flag = Annotated[bool, Strict()]
"""`true` or `false`."""
