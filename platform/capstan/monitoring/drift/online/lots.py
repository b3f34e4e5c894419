"""Rows as an online detector sees them: a lot of neighbours as one value, some fifty lots in a usual window.

A lot is the rows of some whole hours, so that a day has as many lots whatever the traffic, and what a detector costs
and how often it may alarm does not grow with it. Hours with few rows are joined to those after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.online.detectors import Floats, OnlineKind
from capstan.monitoring.windows import Lot

LOTS = 50
"""Of a usual window, about: its lots are those of whole hours."""
HOURS = (1, 2, 3, 4, 6, 8, 12, 24)
"""That divide a day."""
LEAST_WINDOW = 24
"""Lots: a shorter window is looked at with those of a day."""
QUICK = 7
"""The smaller of the two sizes is so small a part of the larger: it sees a large change soon."""
LEAST_SIZE = 4
DIGITS = 9
"""Of a value, so that it is the same in whatever order its rows were summed."""
BEGUN = 0.5
"""What a column of yes and no carries to its first lot."""


def value_of(lot: Lot, column: int, least: int = 1) -> float | None:
    """The mean, or the share of yes; None: fewer than `least` rows have a value."""
    count = lot.counts[column]
    return float(f"{lot.totals[column] / count:.{DIGITS}g}") if count >= least else None


def both(one: Lot, other: Lot) -> Lot:
    """One lot of two; the other follows."""
    return Lot(
        other.end,
        one.rows + other.rows,
        tuple(a + b for a, b in zip(one.totals, other.totals, strict=True)),
        tuple(a + b for a, b in zip(one.counts, other.counts, strict=True)),
    )


class CellSums:
    """Rows counted into cells of equal time, batch by batch in any order."""

    def __init__(self, first: int, cells: int, columns: int) -> None:
        self._first = first
        self._rows = np.zeros(cells, dtype=np.int64)
        self._counts = np.zeros((columns, cells), dtype=np.int64)
        self._totals = np.zeros((columns, cells))

    def add(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count rows by the numbers of their cells; returns the places of the cells, for `add_column`."""
        places: NDArray[np.int64] = cells - self._first
        self._rows += np.bincount(places, minlength=len(self._rows))
        return places

    def add_column(
        self, column: int, places: NDArray[np.int64], values: Floats, is_there: NDArray[np.bool_]
    ) -> None:
        """The values of these rows."""
        inside, size = places[is_there], len(self._rows)
        self._counts[column] += np.bincount(inside, minlength=size)
        self._totals[column] += np.bincount(inside, weights=values[is_there], minlength=size)

    def lots(self) -> Iterator[Lot]:
        """The cells with a row, each as a lot."""
        for place in np.flatnonzero(self._rows):
            yield Lot(
                self._first + int(place) + 1,
                int(self._rows[place]),
                tuple(self._totals[:, place].tolist()),
                tuple(self._counts[:, place].tolist()),
            )


def joined(begun: Lot | None, cells: Iterable[Lot], least: int) -> tuple[list[Lot], Lot | None]:
    """Lots of at least so many rows, and the rows of the one that is not full; `begun` are those of the last time."""
    found = []
    for cell in cells:
        begun = cell if begun is None else both(begun, cell)
        if begun.rows >= least:
            found.append(begun)
            begun = None
    return found, begun


def cell_of(window: timedelta) -> timedelta:
    """Time of a lot: the most whole hours that divide a day and give `LOTS` lots a window."""
    hours = window / LOTS / timedelta(hours=1)
    return timedelta(hours=max((one for one in HOURS if one <= hours), default=HOURS[0]))


def sizes_of(window: timedelta) -> tuple[int, int]:
    """Lots that are looked at together: few for a large change, those of a window for a small one."""
    lots = max(LEAST_WINDOW, window // cell_of(window))
    return max(LEAST_SIZE, lots // QUICK), lots


def as_fed(kind: OnlineKind, means: Iterable[float], carry: float) -> tuple[list[float], float]:
    """What the detector is fed of these lots, and what is carried to the next one.

    Fisher's test wants yes and no: so many lots say yes that their number follows the shares, as of two lots with 40 %
    and 60 % one does.
    """
    if kind == "CramerVonMises":
        return list(means), 0.0
    fed = []
    for share in means:
        carry = round(carry + share, DIGITS)
        fed.append(float(carry >= 1))
        carry = round(carry - fed[-1], DIGITS)
    return fed, carry
