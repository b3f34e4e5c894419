"""What stands for the values of a marked column, the same in tables and in requests.

A treated value that is treated again stays as it is, so that rows of a table can be sent as requests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from capstan.errors import InvalidDataError, InvalidRequestError
from capstan.features.pseudonyms import PseudonymKeys, read_pseudonym_keys
from capstan.features.values import ColumnType, category, is_missing, moment_of_text, truth_of

_WHOLE = re.compile(r"-?[0-9]*")
HIDDEN = "***"
OTHER = "other"
"""As `capstan.spec.privacy` says it."""
_MONTHS = {"Year": 12, "Quarter": 3, "Month": 1}


class UntreatableError(Exception):
    """The rule that a value breaks; it never holds the value."""


@dataclass(frozen=True)
class Reads:
    """How the raw values of a column are read."""

    type: ColumnType
    """What the table of training holds in the column before the treatment."""
    is_id: bool = False
    """Whether it is a key, which may be a text or a whole number."""
    unquoted: bool = False
    """Whether texts of training stood without quotes as well."""
    zone: str = "UTC"
    written: str | None = None
    """How strptime reads its moments besides."""


Treat = Callable[[object], object]
"""What stands for a value; None for none. Raises UntreatableError."""


def treat_of(
    document: Mapping[str, Any], reads: Reads, keys: PseudonymKeys | None, number: int | None
) -> Treat:
    """The treatment that the file's words, as JSON, ask for; `number` of the key of pseudonyms."""
    if "pseudonymise" in document:
        if keys is None or number is None:
            raise ValueError("a pseudonym needs a key")
        return _of_text(reads, lambda text: keys.pseudonym(text, number))
    if "mask" in document:
        keep = int(document["mask"].get("keep") or 0)
        return _of_text(reads, lambda text: _masked(text, keep))
    made = document["generalise"]
    if "prefix" in made:
        length = int(made["prefix"])
        return _of_text(reads, lambda text: _prefix(text, length, reads.type))
    if "parents" in made:
        return _of_text(reads, _parents(made["parents"], reads))
    if "width" in made:
        return _band(float(made["width"]))
    return _beginning(str(made["date"]), reads)


def _of_text(reads: Reads, made: Callable[[str], str]) -> Treat:
    def treat(value: object) -> object:
        text = _text_of(value, reads)
        return None if text is None else made(text)

    return treat


def _text_of(value: object, reads: Reads) -> str | None:
    """The one text that stands for the raw value."""
    if is_missing(value) or (isinstance(value, float) and math.isnan(value)):
        return None
    kind = type(value)
    if reads.is_id or reads.type is ColumnType.TEXT:
        if isinstance(value, str):
            return value or None
        if reads.is_id and kind is int:
            return str(value)
        if reads.unquoted and isinstance(value, int | float):
            return category(value)
        raise UntreatableError(
            "must be a text or a whole number" if reads.is_id else "must be a text, as it was in training"
        )
    if reads.type is ColumnType.NUMBER:
        if kind is bool or not isinstance(value, str | int | float):
            raise UntreatableError("must be a number")
        return category(value, ColumnType.NUMBER)
    if reads.type is ColumnType.BOOLEAN:
        truth = truth_of(value)
        if truth is None and category(value, ColumnType.BOOLEAN) is not None:
            # What stands for a value is text, and comes here as such where it is treated again.
            return value if isinstance(value, str) else None
        return None if truth is None else "true" if truth else "false"
    if isinstance(value, str):
        moment = moment_of_text(value.strip(), reads.zone, reads.written)
        return category(value if moment is None else moment, ColumnType.TIME, reads.zone)
    if isinstance(value, datetime):
        return category(value, ColumnType.TIME, reads.zone)
    raise UntreatableError("must be a day or a moment")


def _masked(text: str, keep: int) -> str:
    if text.endswith(HIDDEN) and len(text) <= keep + len(HIDDEN):
        return text
    return (text[:keep] if len(text) > keep else "") + HIDDEN


def _prefix(text: str, length: int, kind: ColumnType) -> str:
    """Of decimals and moments a part may be written in several ways, of which the second would be another value."""
    if kind is ColumnType.NUMBER and not _WHOLE.fullmatch(text):
        raise UntreatableError("must be a text or a whole number")
    if kind is ColumnType.TIME:
        raise UntreatableError("must be no moment; write generalise: {date: Month}")
    return text[:length]


def _parents(lists: list[Mapping[str, Any]], reads: Reads) -> Callable[[str], str]:
    found: dict[str, str] = {}
    for one in lists:
        for value in one["values"]:
            text = category(str(value), ColumnType.TEXT if reads.is_id else reads.type, reads.zone)
            if text is not None:
                found[text] = str(one["name"])
    for one in lists:
        # A parent that is treated again stays.
        found.setdefault(str(one["name"]), str(one["name"]))
    return lambda text: found.get(text, OTHER)


def _band(width: float) -> Treat:
    def treat(value: object) -> object:
        if is_missing(value):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UntreatableError("must be a number")
        try:
            found = float(value)
        except OverflowError:
            raise UntreatableError("must be a finite number") from None
        if math.isnan(found):
            return None
        if math.isinf(found):
            raise UntreatableError("must be a finite number")
        band = float(math.floor(found / width))
        # The quotient is rounded: the band is the one whose ends say that it holds the number.
        if (band + 1) * width <= found:
            band += 1
        elif band * width > found:
            band -= 1
        return band * width

    return treat


def _beginning(part: str, reads: Reads) -> Treat:
    zone = ZoneInfo(reads.zone)

    def treat(value: object) -> object:
        if is_missing(value) or (isinstance(value, str) and category(value, ColumnType.TIME) is None):
            return None
        moment = (
            value
            if isinstance(value, datetime)
            else moment_of_text(value.strip(), reads.zone, reads.written)
            if isinstance(value, str)
            else None
        )
        if moment is None:
            raise UntreatableError("must be a day or a moment, such as 2013-02-01 or 2013-02-01T05:00:00Z")
        local = moment.astimezone(zone)
        if part == "Day":
            month, day = local.month, local.day
        else:
            step = _MONTHS[part]
            month, day = (local.month - 1) // step * step + 1, 1
        begun = datetime(local.year, month, day, tzinfo=zone).astimezone(UTC)
        return begun if isinstance(value, datetime) else f"{begun.replace(tzinfo=None).isoformat()}Z"

    return treat


@dataclass(frozen=True)
class Treated:
    """A marked column of a table, and what a request needs to know to be treated alike."""

    name: str
    document: Mapping[str, Any]
    """The file's words for it, as JSON."""
    reads: Reads
    number: int | None = None
    """Of the key of its pseudonyms; None: it has none."""

    def treat(self, keys: PseudonymKeys | None) -> Treat | None:
        """None: the column is left out. Raises InvalidDataError if the key is not there any more."""
        if "drop" in self.document:
            return None
        if self.number is not None and (keys is None or self.number not in keys.keys):
            raise InvalidDataError(
                f"data.privacy: key {self.number} of the pseudonyms of {self.name!r} is not in its secret any more, "
                "and the model has learnt with it; put the key back, or train again"
            )
        return treat_of(self.document, self.reads, keys, self.number)

    def keys(self, secrets: Path) -> PseudonymKeys | None:
        """The keys of its pseudonyms; None: it has none. Raises InvalidDataError."""
        if "pseudonymise" not in self.document:
            return None
        reference = self.document["pseudonymise"]["keyFrom"]["secretKeyRef"]
        return read_pseudonym_keys(secrets, str(reference["name"]), str(reference["key"]))

    def as_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {
            "name": self.name, "document": dict(self.document), "reads": asdict(self.reads), "number": self.number,
        }  # fmt: skip

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Treated:
        """Raises KeyError, TypeError or ValueError for what is none."""
        reads = dict(found["reads"])
        return cls(
            str(found["name"]),
            dict(found["document"]),
            Reads(**{**reads, "type": ColumnType(reads["type"])}),
            None if found["number"] is None else int(found["number"]),
        )


class RowTreatments:
    """Treats the rows of requests as the table was treated that the model has learnt from."""

    def __init__(self, columns: tuple[Treated, ...], secrets: Path) -> None:
        """Raises InvalidDataError for keys that are not there."""
        self._treats = {one.name: one.treat(one.keys(secrets)) for one in columns}

    @property
    def columns(self) -> frozenset[str]:
        """All marked columns."""
        return frozenset(self._treats)

    def apply(self, row: MutableMapping[str, Any], where: str = "") -> None:
        """Put what stands for them in the place of raw values; raises InvalidRequestError, which tells no value."""
        problems = []
        for name in self._treats.keys() & row.keys():
            treat = self._treats[name]
            if treat is None:
                del row[name]
                continue
            try:
                row[name] = treat(row[name])
            except UntreatableError as broken:
                problems.append(InvalidRequestError(f"{where}{name}", None, str(broken)))
        if problems:
            first, *others = sorted(problems, key=lambda one: one.field)
            raise InvalidRequestError(first.field, None, first.rule, others)

    def unit(self, column: str | None, unit: str | None) -> str | None:
        """What stands for the key of a user that came in a header; `column`: where rows hold it."""
        treat = self._treats.get(column) if column is not None else None
        return unit if treat is None or unit is None else str(treat(unit))
