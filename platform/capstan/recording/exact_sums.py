"""Sums of floats that no order of adding changes by a bit.

A value is taken in whole numbers of 1e-12 and cut into pieces of 26 bits, of which a float adds a hundred million
without rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

UNIT = 1e-12
_BITS = 26
_PIECES = 8
"""The last holds what is left of values beyond 1e42."""


class ExactSums:
    """Sums at so many places."""

    def __init__(self, places: int) -> None:
        self.pieces = np.zeros((_PIECES, places))
        """(pieces, places), the least significant first."""

    def grow(self, places: int) -> None:
        """Have so many places, which are more than before."""
        more = np.zeros((_PIECES, places - self.pieces.shape[1]))
        self.pieces = np.concatenate([self.pieces, more], axis=1)

    def add(self, place: Indices, values: Floats) -> None:
        """Add each value at its place; values are finite."""
        for number, piece in _pieces_of(values):
            self.pieces[number] += np.bincount(place, weights=piece, minlength=self.pieces.shape[1])

    def totals(self) -> Floats:
        """(places,): the sums, rounded once for each piece, always in the same order."""
        found = np.zeros(self.pieces.shape[1])
        for number in reversed(range(_PIECES)):
            found += self.pieces[number] * 2.0 ** (_BITS * number)
        return found * UNIT

    def total(self, place: int) -> float:
        """The sum at a place, rounded once."""
        whole = sum(int(piece) << (_BITS * number) for number, piece in enumerate(self.pieces[:, place]))
        return whole * UNIT


def _pieces_of(values: Floats) -> Iterator[tuple[int, Floats]]:
    rest: Floats = np.rint(values / UNIT)
    largest = float(np.abs(rest).max(initial=0.0))
    for number in reversed(range(1, _PIECES)):
        base = 2.0 ** (_BITS * number)
        if largest >= base:
            piece = np.trunc(rest / base)
            rest = rest - piece * base
            yield number, piece
    yield 0, rest
