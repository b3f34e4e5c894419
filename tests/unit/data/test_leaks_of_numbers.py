"""A feature that is the label in disguise is found where the label is a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from capstan.data import find_leaks, refuse_leaks
from capstan.errors import LeakageError
from capstan.spec import MLSystem, parse

ROWS = 2000
RNG = np.random.default_rng(5)
TRUTH = np.round(RNG.lognormal(2, 1.5, ROWS), 2)


def system(**feature: Any) -> MLSystem:
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "minutes"},
            "spec": {
                "objective": {"task": "Regression", "target": "minutes", "losses": {"maximumError": 100}},
                "data": {
                    "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "minutes", "availableAt": "known_at"},
                },
                "features": [{"name": "feature", **(feature or {"numeric": {}})}],
            },
        },
        base_dir=Path(),
    )


def table(values: Any) -> pa.Table:
    return pa.table({"minutes": TRUTH, "feature": values, "at": np.arange(ROWS)})


@pytest.mark.parametrize(
    "disguised",
    [TRUTH * 60, -TRUTH, np.log(TRUTH + 1), 1 / (TRUTH + 1), TRUTH**3],
    ids=["another unit", "reversed", "logarithm", "reciprocal", "cube"],
)
def test_what_only_rises_or_falls_with_the_label_is_the_label(disguised: np.ndarray[Any, Any]) -> None:
    with pytest.raises(
        LeakageError, match=r"alone tells every label of 2,000 rows.*leaks: \{allow: \[feature\]\}"
    ):
        refuse_leaks(table(disguised), system())


def test_a_rounded_label_is_told_and_not_refused() -> None:
    (leak,) = refuse_leaks(table(np.round(TRUTH / 2)), system())
    assert not leak.is_certain
    assert "alone tells the label with R2" in str(leak)


SPREAD = TRUTH.std()
SELDOM = np.where(RNG.random(ROWS) < 0.9, np.nan, TRUTH + RNG.normal(0, SPREAD, ROWS))


@pytest.mark.parametrize(
    "honest",
    [RNG.normal(size=ROWS), TRUTH + RNG.normal(0, SPREAD / 2, ROWS), SELDOM],
    ids=["noise", "a good feature", "seldom there"],
)
def test_a_good_feature_is_no_leak(honest: np.ndarray[Any, Any]) -> None:
    assert find_leaks(table(honest), system()) == ()


def test_a_category_that_differs_in_every_row_gives_nothing_away() -> None:
    names = [f"row {index}" for index in range(ROWS)]
    assert find_leaks(table(names), system(categorical={})) == ()


def test_a_part_of_a_moment_that_is_the_label_is_found_and_time_itself_is_not() -> None:
    hours = RNG.integers(0, 24, ROWS)
    days = np.datetime64("2024-01-01", "h") + 24 * np.arange(ROWS)
    dated = system(date={"parts": ["Weekday", "Hour"]})

    def found(label: Any) -> Any:
        moments = pa.array((days + hours).astype("datetime64[us]"), pa.timestamp("us", "UTC"))
        return find_leaks(table(moments).set_column(0, "minutes", pa.array(label, pa.float64())), dated)

    (leak,) = found(hours)
    assert "alone tells the label with R2 0.999" in str(leak)
    assert found(np.arange(ROWS)) == ()
