"""Stretches of as many rows as a window by rows has, by which its thresholds are found."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.monitoring.drift.fitting import fit
from capstan.monitoring.drift.stretches import STEPS, full_blocks, strides_by_rows, usual_length
from capstan.monitoring.prospects import windows_by_rows
from capstan.spec import load

DAY = 86_400_000_000


def blocks(times: np.ndarray, rows: int, longest: float) -> list[int]:
    """Rows of each stretch."""
    strides = strides_by_rows(times, rows, longest)
    per_stride = np.bincount(strides.of_row[strides.of_row >= 0], minlength=strides.whole).reshape(-1, 1)
    return [int(per_stride[first : first + STEPS].sum()) for first in full_blocks(per_stride)]


def test_stretches_have_as_many_rows_whether_traffic_is_dense_or_sparse() -> None:
    dense, sparse = np.arange(7000) * 1000, 7_000_000 + np.arange(7000) * 50_000
    found = blocks(np.concatenate([dense, sparse]), 700, 7 * DAY)
    assert set(found) == {700}
    assert len(found) == 14_000 // 100 - STEPS + 1
    assert strides_by_rows(dense, 700, 7 * DAY).independent_blocks == 10


def test_where_rows_are_few_a_stretch_ends_by_time() -> None:
    hourly = np.arange(24 * 70) * (DAY // 24)
    # Seven days have 168 rows, and a window of 1,000 rows never fills.
    assert set(blocks(hourly, 1000, 7 * DAY)) == {168}
    assert usual_length(hourly, 1000, 7.0 * DAY) == 7 * DAY
    assert usual_length(hourly, 48, 7.0 * DAY) == pytest.approx(2 * DAY)
    assert usual_length(hourly, None, 7.0 * DAY) == 7 * DAY


@given(
    st.lists(st.integers(0, 3 * DAY), min_size=1, max_size=300), st.integers(1, 60), st.integers(1, 40 * DAY)
)
def test_no_stretch_is_longer_or_larger_than_a_window(steps: list[int], rows: int, longest: int) -> None:
    times = np.cumsum(np.array(steps, dtype=np.int64))
    strides = strides_by_rows(times, rows, float(longest))
    size = -(-rows // STEPS)
    used = strides.of_row[strides.of_row >= 0]
    assert (np.diff(used) <= 0).all()
    for number in range(strides.whole):
        own = times[strides.of_row == number]
        assert 0 < len(own) <= size
        assert own[-1] - own[0] <= longest / STEPS


def test_the_windows_that_data_would_have_are_those_of_the_monitor() -> None:
    moments = np.array([0, 1, 2, 2, 2, 3, 100, 101, 300, 301, 302], dtype="datetime64[us]")
    cut = windows_by_rows(moments, 3, timedelta(microseconds=50))
    # The third row is there three times; from 3 on time ends windows of too few.
    assert cut[0] == (5, timedelta(microseconds=3))
    assert cut[1] == (1, timedelta(microseconds=50))
    assert sum(rows for rows, _ in cut) == 11
    assert cut[-1][0] == 3
    assert windows_by_rows(moments[:0], 3, timedelta(days=1)) == []
    assert windows_by_rows(moments[:2], 3, timedelta(days=1)) == []


def test_thresholds_are_those_of_windows_with_as_many_rows(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    rng = np.random.default_rng(0)
    n = 20_000
    table = pa.table(
        {
            "at": pa.array(np.arange(n) * DAY // 200, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
            "x": rng.normal(size=n),
        }
    )

    def threshold(window: str) -> tuple[float, float]:
        file.write_text(
            "apiVersion: capstan.dev/v1alpha1\nkind: MLSystem\nmetadata: {name: toy}\nspec:\n"
            "  objective: {task: BinaryClassification, target: late}\n"
            "  data:\n    sources: [{name: a, csv: {path: a.csv, timeColumn: at}}]\n"
            "    keys: {id: i, time: at}\n    label: {column: late, availableAt: later, maximumDelay: 1d}\n"
            f"  features: [{{name: x, numeric: {{}}}}]\n  monitoring: {{window: {window}}}\n"
        )

        [feature] = fit(table, load(file)).features
        return feature.distance.value, feature.distance_noise

    small, large = (
        threshold("{rows: 300, minRows: 100}"),
        threshold("{rows: 3000, duration: 30d, minRows: 100}"),
    )
    # Without drift two samples are as far apart as their sizes let them be.
    assert small[0] > large[0]
    assert small[1] > 2 * large[1]
    by_time = threshold("{duration: 15d, minRows: 100}")
    assert large[1] == pytest.approx(by_time[1], rel=0.05)
