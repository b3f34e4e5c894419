"""How often the windows of a file could be judged, had its own rows come as requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

ENOUGH = 0.9
"""Share of windows that should have a verdict."""
LEAST_ROWS = 100
"""With fewer rows only coarse drift can be told from chance, so that less is never proposed."""
MOST_WINDOWS_IN_ONE = 12
"""A proposed window is at most so many of the file's."""


@dataclass(frozen=True)
class Prospect:
    """What the windows of a file would have had."""

    windows: int
    """Whole windows in the data."""
    judged: int
    """With at least `minRows` rows."""
    rows: int
    """Of the window in the middle."""
    longer: timedelta | None
    """The shortest multiple of the window in which nine of ten have `minRows`; None: none, or not needed."""
    fewer: int | None
    """`minRows` that nine of ten windows of the file's length have; None: too few rows for that, or not needed."""
    between: tuple[timedelta, int] | None = None
    """Where the file's length has too few rows for any: the shortest multiple that has enough, and its `minRows`."""


def prospect(times: NDArray[np.datetime64], window: timedelta, min_rows: int) -> Prospect:
    """From the moments of rows, in any order."""
    moments = np.sort(times.astype("datetime64[us]").astype(np.int64))
    counts = _rows_per_window(moments, window)
    judged = int((counts >= min_rows).sum())
    middle = int(np.median(counts)) if len(counts) else 0
    if len(counts) and judged >= ENOUGH * len(counts):
        return Prospect(len(counts), judged, middle, None, None)
    longer = next(
        (
            window * times_longer
            for times_longer in range(2, MOST_WINDOWS_IN_ONE + 1)
            if _usual(_rows_per_window(moments, window * times_longer)) >= min_rows
        ),
        None,
    )
    fewer = _round_below(_usual(counts))
    if fewer >= LEAST_ROWS:
        return Prospect(len(counts), judged, middle, longer, fewer)
    multiples = (window * times_longer for times_longer in range(2, MOST_WINDOWS_IN_ONE + 1))
    rows = ((length, _round_below(_usual(_rows_per_window(moments, length)))) for length in multiples)
    between = next((found for found in rows if found[1] >= LEAST_ROWS), None)
    return Prospect(len(counts), judged, middle, longer, None, between)


def windows_by_rows(
    times: NDArray[np.datetime64], rows: int, longest: timedelta
) -> list[tuple[int, timedelta]]:
    """Rows and length of each whole window that ends with so many rows, or after the longest time."""
    moments = np.sort(times.astype("datetime64[us]").astype(np.int64))
    length, begin, found = longest // timedelta(microseconds=1), 0, []
    start = int(moments[0]) if len(moments) else 0
    while begin < len(moments):
        latest = int(np.searchsorted(moments, start + length, side="left"))
        if begin + rows <= latest:
            # Rows of one moment belong to one window.
            end = int(np.searchsorted(moments, moments[begin + rows - 1], side="right"))
            until = int(moments[end - 1]) + 1
        elif latest < len(moments):
            end, until = latest, start + length
        else:
            break
        found.append((end - begin, timedelta(microseconds=until - start)))
        begin, start = end, until
    return found


def _rows_per_window(moments: NDArray[np.int64], window: timedelta) -> NDArray[np.int64]:
    """Rows of each whole window, counted back from the newest row."""
    length = window // timedelta(microseconds=1)
    if not len(moments):
        return np.empty(0, dtype=np.int64)
    whole = int((moments[-1] - moments[0] + 1) // length)
    number = (moments[-1] - moments) // length
    return np.bincount(number[number < whole], minlength=whole).astype(np.int64)


def _round_below(rows: int) -> int:
    step = 50 if rows < 1000 else 100
    return rows // step * step


def _usual(counts: NDArray[np.int64]) -> int:
    """What nine of ten windows have at least; 0 without a window."""
    return int(np.quantile(counts, 1 - ENOUGH, method="lower")) if len(counts) else 0
