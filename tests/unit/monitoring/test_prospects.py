"""What a file's own rows say about its windows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from capstan.monitoring.prospects import prospect

WEEK = timedelta(days=7)


def every(hours: float, rows: int) -> np.ndarray:
    steps = (np.arange(rows) * hours * 3600e6).astype(np.int64)
    return np.datetime64("2026-01-01", "us") + steps.astype("timedelta64[us]")


def test_a_row_in_two_hours_is_never_a_thousand_a_week() -> None:
    found = prospect(every(2, 1600), WEEK, 1000)
    assert (found.windows, found.judged, found.rows) == (19, 0, 84)
    # 12 weeks have 1,008 rows; 84 are too few to be proposed as they are, the 168 of two weeks are not.
    assert (found.longer, found.fewer, found.between) == (12 * WEEK, None, (2 * WEEK, 150))


def test_a_smaller_min_rows_is_proposed_where_it_still_says_something() -> None:
    found = prospect(every(0.25, 8000), WEEK, 1000)
    assert (found.judged, found.rows, found.fewer, found.longer) == (0, 672, 650, 2 * WEEK)


def test_enough_rows_need_no_proposal() -> None:
    found = prospect(every(0.1, 30_000), WEEK, 1000)
    assert found.judged == found.windows == 17
    assert (found.longer, found.fewer) == (None, None)


def test_a_quiet_season_counts() -> None:
    busy, quiet = every(0.1, 5 * 1680), every(2, 15 * 84)
    times = np.concatenate([busy, busy[-1] + (quiet - quiet[0])])
    found = prospect(times, WEEK, 1000)
    assert (found.judged, found.windows) == (5, 19) or found.judged < found.windows / 2
    assert found.longer == 12 * WEEK


def test_no_whole_window_is_no_verdict() -> None:
    found = prospect(every(1, 20), WEEK, 10)
    assert (found.windows, found.judged, found.longer, found.fewer) == (0, 0, None, None)
