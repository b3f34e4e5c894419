"""`capstan feedback`: the labels of a table, handed in to the collector of the running system."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, err, honest_errors, out, print_json
from capstan.errors import InvalidDataError, NotFoundError

if TYPE_CHECKING:
    from capstan.spec import MLSystem

app = App()

REFUSED = 3
"""Exit code where rows were refused and the others handed in."""
AT_ONCE = 5000
MOST_TOLD = 100
"""Refused rows, and ids of each kind, that are told."""
WORDS = {
    "matched": "belong to answered requests",
    "waiting": "wait for requests that are on their way",
    "neverAsked": "name ids that nobody asked for; they are kept, should a request come",
    "unknown": "could not be looked up; they are kept",
}


@app.command(epilog="Example: capstan feedback system.yaml outcomes.csv")
def feedback(
    file: File,
    rows: Annotated[
        Path, typer.Argument(help="A table of labels: CSV, JSON lines or Parquet.", show_default=False)
    ],
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Hand in the labels of a table, and say which requests they belong to.

    The table has the columns that the file names: data.keys.id and data.label.column, and data.label.availableAt if it
    knows the moment. A row without a label is left out: its label is not known yet. What is refused is told by row, and
    the exit code is 3.
    """
    with honest_errors(json):
        from capstan.embedded.layout import StateDir
        from capstan.embedded.wiring import collector_of
        from capstan.spec import load

        system, where = load(file), StateDir(state.resolve())
        tally = _Tally()
        with collector_of(where) as collector:
            entries = _entries(system, rows, tally)
            while part := list(itertools.islice(entries, AT_ONCE)):
                tally.add(collector.match_labels(part, system=system.metadata.name))
    if json:
        print_json(tally.document())
    else:
        tally.print()
    if tally.refused_rows:
        raise typer.Exit(REFUSED)


@dataclass
class _Tally:
    """What came of the rows."""

    new: int = 0
    known: int = 0
    without: int = 0
    found: Counter[str] = field(default_factory=Counter)
    ids: dict[str, list[str]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)
    refused_rows: int = 0

    def refuse(self, row: int, column: str, value: object, rule: str) -> None:
        self.refused_rows += 1
        if len(self.refused) < MOST_TOLD:
            self.refused.append({"row": row, "field": column, "value": value, "rule": rule})

    def add(self, answer: Mapping[str, Any]) -> None:
        self.new += answer["accepted"]
        self.known += answer["duplicates"]
        for kind in WORDS:
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
                for kind in WORDS
            },
            "refused": self.refused_rows,
            "refusals": self.refused,
        }

    def print(self) -> None:
        def say(text: str) -> None:
            out.print(text, markup=False, soft_wrap=True)

        for one in self.refused:
            value = "" if one["value"] is None else f" {one['value']!r}"
            err.print(
                f"refused: row {one['row']}, {one['field']}:{value} {one['rule']}",
                markup=False,
                soft_wrap=True,
            )
        if self.refused_rows > len(self.refused):
            err.print(f"refused: {self.refused_rows - len(self.refused):,} rows more", markup=False)
        say(f"labels: {self.new:,} new, {self.known:,} known already")
        for kind, words in WORDS.items():
            if self.found[kind]:
                first = "" if kind == "matched" else f": {', '.join(self.ids[kind][:5])}"
                more = ", ..." if kind != "matched" and self.found[kind] > 5 else ""
                say(f"  {self.found[kind]:,} {words}{first}{more}")
        if self.without:
            say(f"rows left out, as they have no label yet: {self.without:,}")
        say(f"rows refused: {self.refused_rows:,}")


def _entries(system: MLSystem, rows: Path, tally: _Tally) -> Iterator[dict[str, Any]]:
    """The rows as the collector takes them; what it would refuse is told to the tally, since it takes all or none."""
    from capstan.data.asked_rows import asked_rows
    from capstan.domain.payload_limits import id_rule, moment_rule
    from capstan.features.values import ColumnType
    from capstan.spec.tasks import TASK_FACTS
    from capstan.tasks.labels import LABELS

    if not rows.is_file():
        raise NotFoundError(f"{rows}: is no file")
    data = system.spec.data
    kind = TASK_FACTS[system.spec.objective.task].label
    form, column, moment = LABELS[kind], data.label.column, data.label.available_at
    named = data.keys.id
    if named is None:
        raise InvalidDataError(
            "data.keys.id: the file names no id, so a table cannot say which rows its labels are of; name the column, "
            "or POST labels with the requestId of an answer to /feedback"
        )
    # What is not stated to be text is read as a training reads it.
    inferred = ColumnType.NUMBER if form.column == "label_number" else ColumnType.BOOLEAN
    wanted = {named: None, column: inferred} | ({moment: ColumnType.TIME} if moment else {})
    for number, row in enumerate(
        asked_rows(rows, wanted, zone=data.time_zone, sources=data.sources), start=1
    ):
        if number == 1 and (absent := [name for name in (named, column) if name not in row]):
            raise InvalidDataError(f"{rows.name}: has no column {absent[0]!r}, which the file names")
        identity, label = row[named], row[column]
        identity = str(identity) if isinstance(identity, int) else identity
        known = row.get(moment) if moment else None
        known = known.isoformat() if isinstance(known, date) else known
        if label is None:
            tally.without += 1
        elif (rule := id_rule(identity)) is not None:
            tally.refuse(number, named, identity, rule)
        elif form.parse(label) is None:
            tally.refuse(number, column, label, f"is no label; write {form.forms}")
        elif known is not None and (rule := moment_rule(known, zone=data.time_zone)) is not None:
            tally.refuse(number, str(moment), str(known), rule)
        else:
            when = {} if known is None else {"availableAt": _in_utc(known, data.time_zone)}
            yield {"id": identity, "label": label, **when}


def _in_utc(moment: str, zone: str) -> str:
    from capstan.domain.local_times import in_zone

    return in_zone(datetime.fromisoformat(moment), zone).isoformat()
