"""Detectors of rows whose distance follows from the mean of a map of each row.

A sample is its mean and nothing else, so a window of any size takes the same memory, and its distance is exact.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.distances import Distance
from capstan.monitoring.drift.kinds.detector import Detector, Stream

Floats = NDArray[np.float64]

BATCH = 1024
"""Rows that are mapped at once: their images lie in a processor's own cache."""
SPREAD_ROWS = 8192
"""Rows by whose scatter chance is told."""
DIGITS = 6
"""Decimals of a distance: those that follow depend on the order in which rows are added up."""
MEDIAN_ROWS = 500
"""Rows of the reference whose mutual distances give the width of the kernel."""


class RowMap(Protocol):
    """A map that was made for one reference."""

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The image of each row, a line each."""
        ...

    def total(self, rows: NDArray[np.float32]) -> Floats:
        """The sum of these images, in float64: that of float32 differs in the seventh digit with the order of rows."""
        ...

    def placed(self, means: Floats) -> Floats:
        """Means of images, in coordinates in which the length of their difference is the distance."""
        ...


class EmbeddedDetector(Detector):
    """The distance of two means as a share of what it would be if the samples had nothing in common."""

    @abstractmethod
    def map_of(self, reference: NDArray[np.float32]) -> RowMap:
        """The same reference gives the same map."""

    @property
    def reads(self) -> Literal["rows"]:
        return "rows"

    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        found = self.map_of(reference)
        effect = _between(*(found.placed(_sum(found, rows) / len(rows)) for rows in (reference, window)))
        return Distance(effect, math.nan, effect)

    def noise(self, reference: NDArray[Any], window: int) -> float:
        if not len(reference) or not window:
            return 0.0
        spread = _Spread.of(self.map_of(reference), reference)
        return spread.noise(window, len(reference))

    def of_stretches(
        self, cells: NDArray[Any], blocks: Iterable[NDArray[np.int64]], whole: NDArray[np.int64]
    ) -> Iterator[tuple[float, float]]:
        found = self.map_of(np.repeat(cells, whole, axis=0))
        images = np.vstack([found.of(part) for part in _batches(cells)])
        spread = _Spread.of(found, np.repeat(cells, whole, axis=0))
        total = whole @ images
        for block in blocks:
            rows, rest = int(block.sum()), int(whole.sum() - block.sum())
            inside = block[block > 0] @ images[block > 0]
            effect = _between(found.placed((total - inside) / rest), found.placed(inside / rows))
            yield effect, spread.noise(rows, rest)

    def stream(self, reference: NDArray[Any]) -> Stream | None:
        return _Embedded(self.map_of(reference), reference) if len(reference) else None


class _Embedded:
    def __init__(self, found: RowMap, reference: NDArray[Any]) -> None:
        self._map = found
        self._reference = found.placed(_sum(found, reference) / len(reference))
        self._sum: Floats = np.zeros(1)
        self._rows = 0

    def add(self, values: NDArray[Any]) -> None:
        self._sum = self._sum + _sum(self._map, values)
        self._rows += len(values)

    def result(self) -> tuple[float, float | None, float]:
        return _between(self._reference, self._map.placed(self._sum / self._rows)), None, 0.0


class _Spread:
    """How far the means of samples of one distribution are apart by chance."""

    def __init__(self, variance: float, square: float) -> None:
        self._variance, self._square = variance, square

    @classmethod
    def of(cls, found: RowMap, reference: NDArray[Any]) -> _Spread:
        """By up to `SPREAD_ROWS` rows, evenly spaced."""
        few = reference[np.linspace(0, len(reference) - 1, min(SPREAD_ROWS, len(reference))).astype(np.int64)]
        images = found.placed(found.of(few).astype(np.float64))
        return cls(float(images.var(axis=0).sum()), float((images.mean(axis=0) ** 2).sum()))

    def noise(self, window: int, reference: int) -> float:
        """The root of the mean square."""
        chance = (1 / window + 1 / reference) * self._variance if window and reference else 0.0
        return min(1.0, math.sqrt(chance / (2 * self._square + chance))) if chance else 0.0


def kernel_width(reference: NDArray[np.float32]) -> float:
    """The width of a Gaussian kernel by the median heuristic, as alibi-detect has it: half the median squared distance.

    1 where most rows are the same.
    """
    few = reference[np.linspace(0, len(reference) - 1, min(MEDIAN_ROWS, len(reference))).astype(np.int64)]
    squares = squared_distances(few, few)[np.triu_indices(len(few), 1)]
    median = float(np.median(squares)) if len(squares) else 0.0
    return math.sqrt(median / 2) if median > 1e-9 else 1.0


def squared_distances(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row from each of the others."""
    found = rows @ (np.float32(-2) * others.T)
    found += (rows**2).sum(axis=1, keepdims=True)
    found += (others**2).sum(axis=1)
    clipped: NDArray[np.float32] = np.maximum(found, 0, out=found)
    return clipped


def _between(one: Floats, other: Floats) -> float:
    whole = float(one @ one + other @ other)
    apart = float(((one - other) ** 2).sum())
    return round(min(1.0, math.sqrt(apart / whole)), DIGITS) if whole else 0.0


def _sum(found: RowMap, rows: NDArray[Any]) -> Floats:
    total: Floats = np.sum([found.total(part) for part in _batches(rows)], axis=0)
    return total


def _batches(rows: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(rows), BATCH):
        yield rows[first : first + BATCH].astype(np.float32, copy=False)
