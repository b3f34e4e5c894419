"""What is guessed of a table once its rows are looked at: the days of its parts, and what tells most of the label."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from capstan.data.profiling import profile_table
from capstan.errors import InvalidSpecError
from capstan.spec import parse
from capstan.spec.guessing import ColumnProfile, Guessed, TableProfile, Wishes, guess
from capstan.verbs.describing import _days, described

ROWS = 1000
FIRST, LAST = datetime(2019, 6, 1, tzinfo=UTC), datetime(2021, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shares", "crowded", "parts"),
    [
        pytest.param((0.4, 0.35, 0.25), "", (365, 1), id="each_season_is_a_part"),
        # The test would get the last two, the validation the first, and a training nothing.
        pytest.param((0.05, 0.85, 0.1), "85% of the rows are of one day", None, id="nearly_all_in_one"),
        pytest.param((0.0, 0.85, 0.15), "85% of the rows are of one day", None, id="two_seasons"),
    ],
)
def test_seasons_are_parts_where_one_is_left_to_learn_from(
    shares: tuple[float, ...], crowded: str, parts: tuple[int, int] | None
) -> None:
    columns = (
        ColumnProfile("day", "Time", ROWS, distinct=3, first=FIRST, last=LAST),
        ColumnProfile("a", "Number", ROWS, distinct=900, low=-1.0, high=9.0),
        ColumnProfile("y", "Text", ROWS, distinct=2, counts={"no": 700, "yes": 300}),
    )
    document = guess(
        TableProfile("rows.csv", "csv", ROWS, columns), "y", now=datetime(2026, 1, 1, tzinfo=UTC)
    ).document
    seasons = np.array(["2019-06-01", "2020-06-01", "2021-06-01"], "datetime64[us]")
    days = np.repeat(seasons, [round(share * ROWS) for share in shares])
    table = pa.table({"day": pa.array(days), "y": pa.array(["no"] * ROWS)})

    found, days = _days(table, parse(document, base_dir=Path()))
    assert found.startswith(crowded)
    assert bool(found) is bool(crowded)
    assert days == parts


def values_of(guessed: Guessed, field: str) -> list[str]:
    return [one.value for one in guessed.guesses if one.field == field]


def described_file(folder: Path, lines: list[str], target: str = "y", **wishes: Any) -> Guessed:
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    profile = profile_table(folder / "rows.csv")
    return described(profile, target, folder, Wishes(**wishes), now=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_day_that_holds_nearly_all_rows_is_no_time(tmp_path: Path) -> None:
    days = [*(f"2024-0{month}-01" for month in range(1, 6)), *["2024-06-01"] * 195]
    rows = [f"{day},{index % 7},{index % 2}" for index, day in enumerate(days)]
    found = described_file(tmp_path, ["seen,a,y", *rows])
    assert "keys" not in found.document["spec"]["data"]
    assert next(iter(found.document["spec"]["data"]["split"])) == "stratified"
    assert values_of(found, "data.keys.time") == ["not seen", "none"]
    said = described_file(tmp_path, ["seen,a,y", *rows], time="seen")
    assert said.document["spec"]["data"]["keys"] == {"time": "seen"}


def test_what_tells_most_of_the_label_alone_is_named_and_what_is_kept_is_allowed(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [
        f"{label},{label},{label + rng.normal():.3f},{label + 9 * rng.normal():.3f}"
        for label in rng.integers(0, 2, 300)
    ]
    found = described_file(tmp_path, ["y,same,close,far", *rows])
    assert values_of(found, "data.leaks") == ["check close, far"]
    assert [one["name"] for one in found.document["spec"]["features"]] == ["close", "far"]
    kept = described_file(tmp_path, ["y,same,close,far", *rows], kept=frozenset({"same"}))
    assert values_of(kept, "data.leaks") == ["check same, close, far"]
    assert kept.document["spec"]["data"]["leaks"] == {"allow": ["same"]}
    assert [one["name"] for one in kept.document["spec"]["features"]] == ["same", "close", "far"]


def test_numbers_of_any_size_are_looked_at_without_a_warning(tmp_path: Path) -> None:
    rows = [f"{'-' if index % 3 else ''}1.7e308,{index}.5,{index % 2}" for index in range(200)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        described_file(tmp_path, ["a,b,y", *rows])


def test_a_column_that_counts_the_days_between_two_others_is_found(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        f"{start + timedelta(days=index):%Y-%m-%d},{start + timedelta(days=index + index % 90):%Y-%m-%d},"
        f"{index % 90},{index % 50},{index % 2}"
        for index in range(300)
    ]
    found = described_file(tmp_path, ["began,ended,took,age,y", *rows])
    assert [one["name"] for one in found.document["spec"]["features"]] == ["age"]


def test_an_infinite_number_is_told_by_its_row(tmp_path: Path) -> None:
    rows = [f"{index},{'inf' if index == 41 else index / 7}" for index in range(100)]
    with pytest.raises(InvalidSpecError, match="'y' holds numbers, but 'inf' in row 42"):
        described_file(tmp_path, ["a,y", *rows])
