"""Columns that add up to the label are found, and no others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from capstan.data import parts_of_label
from capstan.spec import parse
from capstan.spec.guessing import ColumnProfile, TableProfile, guess

ROWS = 400
A, B, C = np.random.default_rng(0).normal(size=(3, ROWS))
LARGEST = np.where(np.arange(ROWS) % 50, C, np.finfo(np.float64).max)
"""The largest number there is, as some programs write what is missing."""


@pytest.mark.parametrize(
    ("c", "y", "parts"),
    [
        pytest.param(C, A + B, ("a", "b"), id="sum"),
        pytest.param(C, 60 * A - 60 * B, ("a", "b"), id="difference_in_another_unit"),
        pytest.param(C, 2 * A - 0.5 * B, (), id="a_line_of_a_textbook"),
        pytest.param(C, A + B + 0.01 * C**2, (), id="more_than_a_sum"),
        pytest.param(C, 3 * A, (), id="one_alone"),
        pytest.param(LARGEST, A + B, ("a", "b"), id="beside_the_largest_number"),
        pytest.param(C, LARGEST, (), id="a_label_of_the_largest_number"),
        pytest.param(C, np.where(np.arange(ROWS) == 3, np.inf, A + B), (), id="an_infinite_label"),
    ],
)
def test_columns_that_add_up_to_the_label_are_its_parts(c: Any, y: Any, parts: tuple[str, ...]) -> None:
    columns = tuple(
        ColumnProfile(name, "Number", ROWS, distinct=300, low=-1.0, high=9.0, usual_low=0.0, usual_high=8.0)
        for name in "abcy"
    )
    document = guess(TableProfile("rows.csv", "csv", ROWS, columns), "y", now=datetime.now(UTC)).document
    system = parse(document, base_dir=Path())

    assert parts_of_label(pa.table({"a": A, "b": B, "c": c, "y": y}), system) == parts
