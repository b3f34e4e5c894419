"""Requests made from a table's own rows: what lies inside of training, and what lies outside of it.

A row inside holds in each column a value of the table, or a number between the least and the most of it; columns are
drawn apart from each other, so that most rows are new. A row outside differs from one inside in one column: a number
beyond all of the table, a category that it does not hold, nothing where something always stood, or a value of another
kind. What a model must not do with it is told by `Tally.faults`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Ask = Callable[[Row], tuple[int, Any]]
"""Status and body of the answer for one row."""
RARE = "is none of the categories that the model knows"
"""A category of a few rows is read as others are: that is marked, inside too."""


@dataclass(frozen=True)
class Seen:
    """What training saw of one column."""

    name: str
    values: tuple[Any, ...]
    """Different ones; None among them where some are missing."""
    is_number: bool

    @property
    def filled(self) -> tuple[Any, ...]:
        return tuple(value for value in self.values if value is not None)

    def inside(self, draw: random.Random) -> Any:
        """A value that training saw, or a number between two of them."""
        value = draw.choice(self.values)
        if self.is_number and value is not None and draw.random() < 0.3:
            low, high = min(self.filled), max(self.filled)
            between = draw.uniform(low, high)
            return min(max(round(between), low), high) if type(value) is int else min(max(between, low), high)
        return value

    def outside(self, draw: random.Random) -> Iterator[Any]:
        """Values that training never saw."""
        if None not in self.values:
            yield None
        if not self.filled:
            yield 1.0 if self.is_number else "something"
        elif self.is_number:
            low, high = min(self.filled), max(self.filled)
            span = (high - low) or 1
            yield high + span * draw.choice((1e-6, 0.1, 1, 1000))
            yield low - span * draw.choice((1e-6, 0.1, 1, 1000))
            yield draw.choice(("a text", "", [low], {}))
        else:
            known = {str(value) for value in self.filled}
            made = draw.choice(self.filled)
            yield draw.choice(([made], {}, 1e300))
            yield next(
                text for text in (f"{made} ", f"{made}x", "something else", "ÿ") if text.strip() not in known
            )


@dataclass
class Tally:
    """What was asked, and what should not have been answered so."""

    inside: int = 0
    outside: int = 0
    marked: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)


def asked(columns: Sequence[Seen], ask: Ask, *, rows: int, seed: int = 0) -> Tally:
    """Ask rows inside, and for each of them a row outside by each of two columns."""
    draw, tally = random.Random(seed), Tally()
    for _ in range(rows):
        row = {column.name: column.inside(draw) for column in columns}
        tally.inside += 1
        status, body = ask(row)
        if status != 200:
            tally.faults.append(f"inside, answered {status}: {row}: {body}")
            continue
        for mark in _marks(body):
            if not mark["rule"].startswith(RARE):
                tally.faults.append(f"inside, marked: {row}: {mark}")
        for column in draw.sample(list(columns), min(2, len(columns))):
            for value in column.outside(draw):
                tally.outside += 1
                _outside({**row, column.name: value}, column.name, ask, tally)
    return tally


def _outside(row: Row, name: str, ask: Ask, tally: Tally) -> None:
    status, body = ask(row)
    if status == 200 and any(mark["field"] == name for mark in _marks(body)):
        tally.marked += 1
    elif status == 422 and any(error["field"] == name for error in body["errors"]):
        tally.refused += 1
    else:
        tally.faults.append(f"outside by {name}: {row[name]!r}: {status}: {body}")


def _marks(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [mark for answer in body["predictions"] for mark in answer.get("outside", ())]


def seen_in(table: Any, manifest: Mapping[str, Any]) -> list[Seen]:
    """Of the columns that a model reads, what the Arrow table holds; `manifest` says how it reads them."""
    found = []
    for column in manifest["columns"]:
        values = table[column["name"]].unique().to_pylist()
        is_number = column["kind"] == "numeric"
        if not is_number:
            values = [None if value in (None, "") else value for value in values]
        found.append(
            Seen(
                column["name"],
                tuple(dict.fromkeys(map(_as_sent, values))),
                is_number and not _is_boolean(values),
            )
        )
    return found


def _as_sent(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _is_boolean(values: Sequence[Any]) -> bool:
    return all(value is None or type(value) is bool for value in values)


def by_gateway(port: int) -> Ask:
    """Asks a running gateway."""

    def ask(row: Row) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict", json.dumps(row).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return ask


def main() -> int:
    """Ask the gateway of the system in a folder; 1 if it answered something as it should not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--rows", type=int, default=100)
    options = parser.parse_args()
    from capstan.data import extract
    from capstan.spec import load

    system = load(options.folder / "system.yaml")
    manifest_file = next((options.folder / ".capstan" / "bentos").rglob("manifest.json"))
    manifest = json.loads(manifest_file.read_text())
    table = extract(system, as_of=None, labels_as_of=None)
    # Nothing is learnt from a row without a label.
    table = table.filter(table[system.spec.data.label.column].is_valid())
    tally = asked(seen_in(table, manifest), by_gateway(options.port), rows=options.rows)
    told = f"{tally.inside} inside, {tally.outside} outside: {tally.marked} marked, {tally.refused} refused"
    print(f"{told}; {len(tally.faults)} faults")
    for fault in tally.faults[:20]:
        print(fault[:1000])
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
