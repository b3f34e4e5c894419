"""Days of validation and test that a table gets whose rows come in few short seasons."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from capstan.spec import parse
from capstan.spec.guessing import ColumnProfile, TableProfile, guess
from capstan.verbs.describing import _uneven_parts

ROWS = 1000
FIRST, LAST = datetime(2019, 6, 1, tzinfo=UTC), datetime(2021, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shares", "parts"),
    [
        pytest.param((0.4, 0.35, 0.25), (365, 1), id="each_season_is_a_part"),
        # The test would get the last two, the validation the first, and a training nothing.
        pytest.param((0.05, 0.85, 0.1), None, id="nearly_all_in_one"),
        pytest.param((0.0, 0.85, 0.15), None, id="two_seasons"),
    ],
)
def test_seasons_are_parts_where_one_is_left_to_learn_from(
    shares: tuple[float, ...], parts: tuple[int, int] | None
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

    assert _uneven_parts(table, parse(document, base_dir=Path())) == parts
