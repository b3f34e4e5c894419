"""All features of a row as numbers, so that rows can be compared as a whole.

A number stands in standard deviations from its median. A category has a column for each frequent value, and two
different categories are as far apart as two drawn numbers are on average. A missing value is at the middle: that values
are missing has a question and an alert of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capstan.recording.payloads import Kind

FARTHEST = 4.0
"""Standard deviations at which a number is cut: one wild value must not be all that a row is."""
MOST_CATEGORIES = 12
LEAST_SHARE = 0.01
"""A category with fewer rows shares a column with the other rare ones, and with those never seen."""


@dataclass(frozen=True)
class Place:
    """How one feature stands in a row."""

    name: str
    kind: Kind
    centre: float = 0.0
    spread: float = 1.0
    codes: tuple[int, ...] = ()
    """Categories with a column of their own; the column after them is that of all others."""

    @classmethod
    def of(cls, name: str, kind: Kind, values: NDArray[Any]) -> Place:
        """`values`: numbers, or codes, of the reference, without missing ones."""
        if not len(values):
            return cls(name, kind)
        if kind == "categorical":
            shares = np.bincount(values) / len(values)
            frequent = np.argsort(-shares, kind="stable")[:MOST_CATEGORIES]
            return cls(name, kind, codes=tuple(int(code) for code in frequent if shares[code] >= LEAST_SHARE))
        low, middle, high = (float(edge) for edge in np.quantile(values, [0.01, 0.5, 0.99], method="nearest"))
        spread = float(np.clip(values, low, high).std())
        return cls(name, kind, centre=middle, spread=spread if spread > 1e-9 * max(1.0, abs(middle)) else 1.0)

    @property
    def width(self) -> int:
        return 1 if self.kind == "numeric" else len(self.codes) + 1

    def write(self, into: NDArray[np.float32], values: NDArray[Any], is_there: NDArray[np.bool_]) -> None:
        """Write the columns of a batch, which are 0 before."""
        if self.kind == "numeric":
            scaled = values - self.centre
            scaled *= 1 / self.spread
            np.clip(scaled, -FARTHEST, FARTHEST, out=into[:, 0], casting="same_kind")
            into[~is_there, 0] = 0.0
            return
        rows = np.flatnonzero(is_there)
        known = np.full(max(self.codes, default=0) + 2, len(self.codes))
        known[list(self.codes)] = np.arange(len(self.codes))
        into[rows, known[np.minimum(values[rows], len(known) - 1)]] = 1.0


@dataclass(frozen=True)
class Encoding:
    """How rows become lines of a matrix."""

    places: tuple[Place, ...]

    @property
    def columns(self) -> Mapping[str, slice]:
        """Of each feature, by its name."""
        found, first = {}, 0
        for place in self.places:
            found[place.name] = slice(first, first + place.width)
            first += place.width
        return found

    def matrix(
        self, read: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]], rows: int
    ) -> NDArray[np.float32]:
        """Of a batch: values (or codes) of each feature in their order, and where there are any."""
        columns = self.columns
        # Columns are written one by one, so each lies in one piece.
        found = np.zeros((sum(place.width for place in self.places), rows), dtype=np.float32).T
        for place, (values, is_there) in zip(self.places, read, strict=True):
            place.write(found[:, columns[place.name]], values, is_there)
        return found

    def facts(self) -> list[dict[str, Any]]:
        """What a model folder keeps."""
        return [{**vars(place), "codes": list(place.codes)} for place in self.places]

    @classmethod
    def made_again(cls, facts: Sequence[Mapping[str, Any]]) -> Encoding:
        return cls(tuple(Place(**{**place, "codes": tuple(place["codes"])}) for place in facts))
