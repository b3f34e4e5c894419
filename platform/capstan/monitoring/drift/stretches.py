"""The rows of training in order of time, and the stretches of them by which thresholds are found."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType
from capstan.features.views import View
from capstan.monitoring.drift.atoms import Atoms
from capstan.recording.payloads import Kind

MOST_ROWS = 20_000
STEPS = 7
"""Blocks slide by a seventh of the window, so that a short reference still shows how weeks differ."""
LEAST_BLOCK_SHARE = 0.3
"""Of the median block's rows; emptier blocks are left out."""


class Strides(NamedTuple):
    of_row: NDArray[np.int64]
    """Stride of each row, counted back from the newest; rows before the first whole stride have -1."""
    whole: int
    """Number of whole strides."""
    independent_blocks: int
    """Disjoint stretches; with a lag, those that have one to be compared with."""
    lag: int | None = None
    """Strides between a stretch and the one it is compared with; None: it is compared with all other rows."""


class Column(NamedTuple):
    """One feature or output, in order of time."""

    name: str
    column: str
    kind: Kind
    type: ColumnType
    values: NDArray[Any]
    """Numbers, those that are one but for their last digits made one; or codes."""
    present: NDArray[np.bool_]
    vocabulary: tuple[str, ...]
    view: View | None = None
    """What the values are of the column's; None: the column's themselves."""

    @classmethod
    def of(
        cls,
        name: str,
        column: str,
        kind: Kind,
        found: ColumnType,
        values: NDArray[Any],
        view: View | None = None,
    ) -> Column:
        """`values`: numbers, nan for a missing one, or texts, None for a missing one."""
        if kind == "numeric":
            present = np.isfinite(values)
            snapped = Atoms.of(evenly(values[present])).snap(values)
            return cls(name, column, kind, found, snapped, present, (), view)
        present = np.array([text is not None for text in values], dtype=bool)
        vocabulary = tuple(sorted(set(values[present])))
        known = {text: code for code, text in enumerate(vocabulary)}
        codes = np.array([known[text] if text is not None else 0 for text in values], dtype=np.int64)
        return cls(name, column, kind, found, codes, present, vocabulary)


def full_blocks(per_stride: NDArray[np.int64]) -> list[int]:
    """First stride of each block that has rows enough."""
    rows = np.append(0, np.cumsum(per_stride.sum(axis=1)))
    if len(rows) <= STEPS:
        return []
    of_block = rows[STEPS:] - rows[:-STEPS]
    least = max(1.0, LEAST_BLOCK_SHARE * float(np.median(of_block)))
    return [int(first) for first in np.flatnonzero(of_block >= least)]


def strides_of(times: NDArray[np.int64], window: float, lag: float | None = None) -> Strides:
    """Of sorted `times`, in microseconds as `window` and `lag` are."""
    if not len(times):
        raise InvalidDataError("the reference has no rows; train on some")
    stride = window / STEPS
    # The last row is followed by as much time as lies between rows, or ten weeks would count as nine.
    span = float(times[-1] - times[0]) * (1 + 1 / max(1, len(times) - 1)) + 1
    count = int(span // stride)
    of_row = ((times[-1] - times) // stride).astype(np.int64)
    whole = np.where(of_row < count, of_row, -1)
    if lag is None:
        return Strides(whole, count, int(span // window))
    # A lag of broken strides is the nearest whole one: half a stride is a fourteenth of a window.
    return Strides(whole, count, max(0, int((span - lag) // window)), max(1, round(lag / stride)))


def strides_by_rows(times: NDArray[np.int64], rows: int, longest: float) -> Strides:
    """Of windows that end with so many rows, or after `longest`, which is in the units of the sorted `times`."""
    if not len(times):
        raise InvalidDataError("the reference has no rows; train on some")
    size, length = -(-rows // STEPS), longest / STEPS
    of_row = np.full(len(times), -1, dtype=np.int64)
    end, count = len(times), 0
    while end > 0:
        begin = max(end - size, int(np.searchsorted(times, times[end - 1] - length, side="right")), 0)
        if begin == 0 and end < size:
            # The oldest stride may have lost rows.
            break
        of_row[begin:end] = count
        end, count = begin, count + 1
    return Strides(of_row, count, count // STEPS)


def usual_length(times: NDArray[np.int64], rows: int | None, longest: float) -> float:
    """How long a window by rows usually lasts, in the units of `times`: by it false alarms a month are counted."""
    if rows is None or len(times) < 2:
        return longest
    return min(longest, max(1.0, float(times[-1] - times[0]) / (len(times) - 1) * rows))


def evenly(values: NDArray[Any], most: int = MOST_ROWS) -> NDArray[Any]:
    """At most so many of the values, evenly spaced in time: every stretch keeps its share, without chance."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(np.int64)]
