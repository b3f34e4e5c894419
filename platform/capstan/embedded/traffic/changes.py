"""How traffic differs from the rows that it is made of: shifted values, and values that are missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType

_ARITHMETIC = re.compile(r"([+*-])(\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Add:
    """A number is added; a missing value stays missing."""

    column: str
    amount: float


@dataclass(frozen=True)
class Multiply:
    """A number is multiplied; a missing value stays missing."""

    column: str
    factor: float


@dataclass(frozen=True)
class Write:
    """The same value stands in every row."""

    column: str
    value: str | float | bool


Shift = Add | Multiply | Write


@dataclass(frozen=True)
class Missing:
    """A share of the rows has no value."""

    column: str
    share: float


@dataclass(frozen=True)
class Changes:
    """All that is changed, in the order in which it was asked for; values go missing last."""

    shifts: tuple[Shift, ...] = ()
    missing: tuple[Missing, ...] = ()

    def of(self, row: Mapping[str, Any], *, rng: np.random.Generator) -> dict[str, Any]:
        """The row as it is sent."""
        changed = dict(row)
        for shift in self.shifts:
            changed[shift.column] = _shifted(changed.get(shift.column), shift)
        for missing in self.missing:
            if rng.random() < missing.share:
                changed[missing.column] = None
        return changed


def _shifted(value: Any, shift: Shift) -> Any:
    if isinstance(shift, Write):
        return shift.value
    # Missing, or a text in a column of numbers, which the service is to refuse.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return value + shift.amount if isinstance(shift, Add) else value * shift.factor


def read_changes(shifts: Sequence[str], missing: Sequence[str], columns: Mapping[str, ColumnType]) -> Changes:
    """Changes as a person writes them: `temp=+10`, `temp=*1.5`, `carrier=XX`, and `temp=0.2` for missing values.

    `columns` are those that requests carry. Raises InvalidDataError.
    """
    return Changes(
        tuple(_shift(text, columns) for text in shifts), tuple(_missing(text, columns) for text in missing)
    )


def _shift(text: str, columns: Mapping[str, ColumnType]) -> Shift:
    column, written = _parted("--shift", text, columns)
    type_ = columns[column]
    found = _ARITHMETIC.fullmatch(written)
    if type_ is ColumnType.NUMBER:
        if found is not None:
            number = float(found[2])
            if found[1] == "*":
                return Multiply(column, number)
            return Add(column, number if found[1] == "+" else -number)
        try:
            number = float(written)
        except ValueError:
            number = float("nan")
        if not np.isfinite(number):
            raise InvalidDataError(
                f"--shift {text}: {column} is a column of numbers; write +10, -10, *1.5 or a number"
            )
        return Write(column, number)
    if type_ is ColumnType.BOOLEAN:
        if written not in _BOOLEANS:
            raise InvalidDataError(f"--shift {text}: {column} is true or false; write one of them")
        return Write(column, _BOOLEANS[written])
    if found is not None:
        # It would be sent as a text, and nobody would see why nothing moved as it was meant to.
        raise InvalidDataError(
            f"--shift {text}: {column} is a column of texts, to which nothing can be added; write the text that every "
            "row is to have"
        )
    return Write(column, written)


def _missing(text: str, columns: Mapping[str, ColumnType]) -> Missing:
    column, written = _parted("--missing", text, columns)
    share = share_of(written)
    if share is None:
        raise InvalidDataError(f"--missing {text}: {written!r} is no share; write a number from 0 to 1")
    return Missing(column, share)


def share_of(written: str) -> float | None:
    """A number from 0 to 1; None for anything else."""
    try:
        share = float(written)
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def _parted(option: str, text: str, columns: Mapping[str, ColumnType]) -> tuple[str, str]:
    # A name may hold the sign, so the longest column that fits is meant.
    fitting = [name for name in columns if text.startswith(f"{name}=")]
    if fitting:
        column = max(fitting, key=len)
        return column, text[len(column) + 1 :]
    if "=" not in text:
        example = "temp=+10" if option == "--shift" else "temp=0.2"
        raise InvalidDataError(
            f"{option} {text}: write a column, = and what becomes of it, such as {example}"
        )
    raise InvalidDataError(
        f"{option} {text}: {text.partition('=')[0]!r} is no column of a request; they are {', '.join(columns)}"
    )
