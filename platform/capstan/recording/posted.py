"""What clients post about requests, such as labels: bodies that are taken whole or not at all.

A body with one bad entry changes nothing, so the sender can mend it and send it again. Of many bad ones MOST_PROBLEMS
are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import orjson
import pyarrow as pa

from capstan.content_encoding import PACKED_UNTOLD, is_packed
from capstan.domain.payload_limits import id_rule, moment_rule, parse_moment
from capstan.errors import InvalidRequestError

MOST_ENTRIES = 100_000
"""Entries of one body."""
MOST_PROBLEMS = 100
"""Bad entries that one answer lists."""
SUBJECTS: Mapping[str, str] = {"id": "i", "requestId": "r", "unit": "u"}
"""How an entry names what it is about -> first letter of its case."""


class Entry(Protocol):
    """One thing that was posted."""

    @property
    def case(self) -> str:
        """What it is about: the letter of `SUBJECTS`, then the id."""
        ...


@dataclass(frozen=True)
class Form:
    """One kind of what is posted."""

    name: str
    """Of the list in a body, of the folder that it is stored in, and of its records in the log."""
    noun: str
    """One entry, in words."""
    example: str
    """A small body."""
    read: Callable[[list[Any], Any], list[Any]]
    """The entries of a body, given what the system's file said; raises InvalidRequestError that names the bad ones."""
    table: Callable[[Iterable[tuple[Any, datetime]]], pa.Table]
    """Entries with the moments of their receipt as one table, which has the column `available_at`."""

    def parse(self, body: bytes) -> Posted:
        """What a body says, without the entries themselves; raises InvalidRequestError that names the field."""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if is_packed(body):
                raise InvalidRequestError("body", None, PACKED_UNTOLD) from None
            raise InvalidRequestError("body", body, f"is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise InvalidRequestError("body", document, f"must be an object: {self.example}")
        if not isinstance(document.get(self.name), list):
            raise InvalidRequestError(self.name, document.get(self.name), f"must be a list: {self.example}")
        entries = document[self.name]
        if len(entries) > MOST_ENTRIES:
            raise InvalidRequestError(
                self.name, len(entries), f"holds more than {MOST_ENTRIES}; send fewer at once"
            )
        require_known(document, (self.name, "system", "match"))
        system, match = document.get("system"), document.get("match", True)
        if system is not None and not isinstance(system, str):
            raise InvalidRequestError("system", system, "must be the name of a system")
        if not isinstance(match, bool):
            raise InvalidRequestError("match", match, "must be true or false")
        return Posted(system, entries, match)


class Posted(NamedTuple):
    """One body, whose entries are read as soon as it is known which system they are of."""

    system: str | None
    """None: the body names none."""
    entries: list[Any]
    match: bool
    """Whether the sender wants to hear which requests they are about."""


def read_each(name: str, entries: list[Any], read: Callable[[str, dict[str, Any]], Any]) -> list[Any]:
    """All entries, read one by one as `read(where, entry)`; raises InvalidRequestError that names the bad ones."""
    found: list[Any] = []
    problems: list[InvalidRequestError] = []
    for index, entry in enumerate(entries):
        where = f"{name}[{index}]"
        try:
            if not isinstance(entry, dict):
                raise InvalidRequestError(where, entry, "must be an object")
            found.append(read(where, entry))
        except InvalidRequestError as error:
            problems.append(error)
            if len(problems) >= MOST_PROBLEMS:
                break
    raise_all(problems)
    return found


def raise_all(problems: list[InvalidRequestError]) -> None:
    """Raise the problems as one error; nothing if there are none."""
    if problems:
        first, *others = problems[:MOST_PROBLEMS]
        raise InvalidRequestError(first.field, first.value, first.rule, others)


def require_known(entry: Mapping[str, Any], fields: tuple[str, ...], where: str = "") -> None:
    """Raises InvalidRequestError if the entry has another field."""
    unknown = min(set(entry) - set(fields), default=None)
    if unknown is not None:
        field = f"{where}.{unknown}" if where else unknown
        raise InvalidRequestError(field, entry[unknown], f"is unknown; known: {', '.join(fields)}")


def subject_of(where: str, entry: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, str]:
    """What the entry is about: which of `names` it has, and the id there; raises InvalidRequestError."""
    given = [name for name in names if entry.get(name) is not None]
    if len(given) != 1:
        raise InvalidRequestError(where, entry, f"must have one of {', '.join(names[:-1])} and {names[-1]}")
    return given[0], identity_of(where, entry, given[0])


def identity_of(where: str, entry: Mapping[str, Any], name: str) -> str:
    """An id as text, for which a whole number is taken too; raises InvalidRequestError."""
    identity = entry.get(name)
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    rule = id_rule(identity)
    if rule is not None or not isinstance(identity, str):
        raise InvalidRequestError(f"{where}.{name}", identity, rule or "must be a text")
    return identity


def moment_of(where: str, entry: Mapping[str, Any], name: str) -> datetime | None:
    """The moment in UTC; None: the entry has none. Raises InvalidRequestError."""
    value = entry.get(name)
    if value is None:
        return None
    rule = moment_rule(value)
    if rule is not None:
        raise InvalidRequestError(f"{where}.{name}", value, rule)
    return parse_moment(value)
