"""The labels of a table, handed in: which of them belong to answered requests, and which are refused."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from capstan.data.asked_rows import asked_rows
from capstan.domain.local_times import in_zone
from capstan.domain.payload_limits import id_rule, moment_rule
from capstan.errors import InvalidDataError, NotFoundError
from capstan.features.values import ColumnType, moment_of_text
from capstan.spec import MLSystem
from capstan.tasks import task_of
from capstan.tasks.labels import Label

AT_ONCE = 5000
MOST_TOLD = 100
"""Refused rows, and ids of each kind, that are told."""
REQUEST_ID = "request_id"
"""Column of a table of answers that names the request, for rows without an id."""
SEVERAL = "stands for several rows, so that nobody knows which this label is of; ask each row by itself"
KINDS = ("matched", "waiting", "neverAsked", "unknown")
"""What may be known of the request that a label is about."""


@dataclass
class Tally:
    """What came of the rows."""

    new: int = 0
    known: int = 0
    without: int = 0
    found: Counter[str] = field(default_factory=Counter)
    ids: dict[str, list[str]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)
    refused_rows: int = 0
    refused_by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By column and rule."""

    def refuse(self, row: int, column: str, value: object, rule: str) -> None:
        self.refused_rows += 1
        self.refused_by_rule[column, rule] += 1
        if len(self.refused) < MOST_TOLD:
            self.refused.append({"row": row, "field": column, "value": value, "rule": rule})

    def add(self, answer: Mapping[str, Any]) -> None:
        self.new += answer["accepted"]
        self.known += answer["duplicates"]
        for kind in KINDS:
            said = answer[kind]
            self.found[kind] += said["count"]
            ids = self.ids.setdefault(kind, [])
            ids += said["ids"][: MOST_TOLD - len(ids)]
            if "why" in said:
                self.why[kind] = said["why"]

    def document(self) -> dict[str, Any]:
        return {
            "accepted": self.new,
            "duplicates": self.known,
            "without_label": self.without,
            **{
                kind: {"count": self.found[kind], "ids": self.ids.get(kind, []), "why": self.why.get(kind)}
                for kind in KINDS
            },
            "refused": self.refused_rows,
            "refusals": self.refused,
        }


def hand_in(
    entries: Iterator[dict[str, Any]],
    tally: Tally,
    match: Callable[[list[dict[str, Any]]], Mapping[str, Any]],
) -> None:
    """Hand the labels of `entries` in by `match`, in parts, and count what came of them."""
    while part := list(itertools.islice(entries, AT_ONCE)):
        tally.add(match(part))


def label_entries(system: MLSystem, rows: Path, tally: Tally) -> Iterator[dict[str, Any]]:
    """The rows as the collector takes them; what it would refuse is told to the tally, since it takes all or none.

    A table names its rows by the column `data.keys.id`, or by `request_id`, as answers have it. Raises
    InvalidDataError, NotFoundError.
    """
    if not rows.is_file():
        raise NotFoundError(f"{rows}: there is no such file")
    data = system.spec.data
    form, column, moment = task_of(system.spec).label, data.label.column, data.label.available_at
    # What is not stated to be text is read as a training reads it.
    inferred = ColumnType.NUMBER if form.column == "label_number" else ColumnType.BOOLEAN
    subjects = [data.keys.id, REQUEST_ID if form.is_of_request else None]
    wanted: dict[str, ColumnType | None] = {
        **{name: None for name in subjects if name},
        column: inferred,
        **({moment: ColumnType.TIME} if moment else {}),
    }
    is_made = data.query and form.column == "label_boolean" and system.spec.objective.words is None
    by_query = ", as data.query of the system's file makes them" if is_made else ""
    named, several, seen = "", set[str](), set[str]()

    def read() -> Iterator[dict[str, Any]]:
        return asked_rows(rows, wanted, zone=data.time_zone, sources=data.sources)

    for number, row in enumerate(read(), start=1):
        if number == 1:
            named = _subject(system, row, subjects, rows.name)
            if column not in row:
                raise InvalidDataError(
                    f"{rows.name}: has no column {column!r}, which is data.label.column of the system's file"
                )
            if named != data.keys.id:
                several = _with_several_labels(read(), named, column, form)
        identity, label = _text(row[named]), row[column]
        known = row.get(moment) if moment else None
        known = known.isoformat() if isinstance(known, date) else known
        if isinstance(known, str) and moment_rule(known, zone=data.time_zone) is not None:
            read_so = moment_of_text(known.strip(), data.time_zone, data.written.get(str(moment)))
            known = known if read_so is None else read_so.isoformat()
        if label is None:
            tally.without += 1
        elif (rule := id_rule(identity)) is not None:
            tally.refuse(number, named, identity, rule)
        elif named != data.keys.id and identity in several:
            tally.refuse(number, named, identity, SEVERAL)
        elif form.parse(label) is None:
            tally.refuse(number, column, label, f"is no label; write {form.forms}{by_query}")
        elif known is not None and (rule := moment_rule(known, zone=data.time_zone)) is not None:
            tally.refuse(number, str(moment), str(known), rule)
        elif identity not in seen:
            when = {} if known is None else {"availableAt": _in_utc(known, data.time_zone)}
            seen |= set() if named == data.keys.id else {identity}
            yield {"id" if named == data.keys.id else "requestId": identity, "label": label, **when}


def _with_several_labels(rows: Iterator[dict[str, Any]], named: str, column: str, form: Label) -> set[str]:
    """Requests whose rows have different labels, or some a label and some none.

    The whole table is read for it, since the first row of such a request looks like any other.
    """
    labels: dict[str, object] = {}
    several = set[str]()
    for row in rows:
        identity, label = _text(row[named]), row[column]
        if id_rule(identity) is not None:
            continue
        parsed = None if label is None else form.parse(label)
        label = label if parsed is None else parsed
        if labels.setdefault(identity, label) != label:
            several.add(identity)
    return several


def _text(identity: Any) -> Any:
    return str(identity) if isinstance(identity, int) else identity


def _subject(system: MLSystem, row: Mapping[str, Any], subjects: Sequence[str | None], table: str) -> str:
    """The column that says what labels are about: the id where the table has it."""
    for name in subjects:
        if name is not None and name in row:
            return name
    named = system.spec.data.keys.id
    if named is not None:
        raise InvalidDataError(
            f"{table}: has no column {named!r}, which is data.keys.id of the system's file"
        )
    raise InvalidDataError(
        f"{table}: nothing says which answer a label is of. Copy the column {REQUEST_ID!r} from the answers of "
        "`capstan predict` into this table, or name a column of ids in data.keys.id and train again"
    )


def _in_utc(moment: str, zone: str) -> str:
    return in_zone(datetime.fromisoformat(moment), zone).isoformat()
