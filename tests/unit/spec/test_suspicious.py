"""What looks wrong in a column is told with its values, and what is usual is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from capstan.spec.guessing import ColumnProfile, Kind
from capstan.spec.suspicious import suspicions


def column(kind: Kind, counts: dict[str, int], **known: Any) -> ColumnProfile:
    rows = sum(counts.values()) + known.get("missing", 0)
    return ColumnProfile("c", kind, rows, **{"distinct": len(counts), "counts": counts, **known})


def numbers(counts: dict[str, int], usual: tuple[float, float] | None = None) -> ColumnProfile:
    values = [float(text) for text in counts]
    low, high = usual or (min(values), max(values))
    return column("Number", counts, low=min(values), high=max(values), usual_low=low, usual_high=high)


CASES = [
    ("no value at all", ColumnProfile("c", "Text", 7, missing=7), "no row has a value"),
    ("one value", column("Text", {"x": 9}), "every row has the same value, 'x'"),
    (
        "a text among numbers",
        replace(column("Text", {"1": 5, "2": 5}), odd=("n/k",)),
        "numbers, but for 'n/k'",
    ),
    ("decimal comma", replace(column("Text", {"1,5": 2, "2,5": 2}), number_form="1.234,5"), "decimal comma"),
    ("a date's own form", replace(column("Time", {}), written="%d.%m.%Y"), "times are written as %d.%m.%Y"),
    ("a word for missing", column("Text", {"Bonn": 5, "?": 2, "unknown": 1}), "'?', 'unknown' may mean"),
    (
        "capitals and blanks",
        column("Text", {"pro": 5, " Pro": 2}),
        "'pro' and ' Pro' are two values, and may mean one",
    ),
    (
        "a number for missing",
        numbers({"-999.0": 40, "31": 300, "35": 300, "40": 300}),
        "-999 may mean that the value",
    ),
    (
        "far above",
        numbers({"1": 500, "2": 500, "70000": 1}, (1, 2)),
        "the largest, 70000, lies far away: 98 of 100",
    ),
    ("far below", numbers({"1": 500, "2": 500, "-70000": 1}, (1, 2)), "the smallest, -70000, lies far away"),
]


@pytest.mark.parametrize(("seen", "told"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_what_looks_wrong_is_told(seen: ColumnProfile, told: str) -> None:
    (text,) = suspicions(seen)
    assert told in text


USUAL = [
    ("texts", column("Text", {"basic": 5, "pro": 4})),
    ("numbers", numbers({"1": 5, "2": 4, "3": 1})),
    ("a long tail", numbers({"1": 500, "9": 400, "60": 1}, (1, 9))),
    ("99 at the end of a scale", numbers({"97": 30, "98": 40, "99": 30})),
    ("-1 beside its neighbours", numbers({"-1": 30, "0": 40, "1": 30})),
    ("two values", column("Boolean", {"true": 3, "false": 3})),
    ("some missing", column("Text", {"a": 3, "b": 3}, missing=4)),
    ("an empty table", ColumnProfile("c", "Text", 0)),
]


@pytest.mark.parametrize("seen", [pytest.param(seen, id=name) for name, seen in USUAL])
def test_what_is_usual_is_not(seen: ColumnProfile) -> None:
    assert suspicions(seen) == ()
