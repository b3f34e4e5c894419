"""Detectors whose distance follows from how often each value stands in the reference and in the window."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.distances import Distance
from capstan.monitoring.drift.kinds.detector import Detector, Stream
from capstan.recording.payloads import Kind

Counts = NDArray[np.int64]

GROUPS = 10
"""Groups of equal size that numbers fall into: the deciles of the reference, as is usual for PSI."""


class CountedDetector(Detector):
    """Says how far two columns of counts are apart."""

    @abstractmethod
    def statistic(self, cells: NDArray[Any], reference: Counts, window: Counts) -> float:
        """The distance, at least 0; what is above 1 has the effect 1.

        `cells` are the values in ascending order, `reference` and `window` say how often each is there.
        """

    def p_value(self, reference: NDArray[Any], window: NDArray[Any], statistic: float) -> float:  # noqa: ARG002
        """Probability of at least this distance by chance; NaN: it is not known."""
        return math.nan

    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        found = self._between(reference, window)
        return Distance(min(1.0, found), self.p_value(reference, window, found), found)

    def effect(self, reference: NDArray[Any], window: NDArray[Any]) -> float:
        return min(1.0, self._between(reference, window))

    def from_rest(self, cells: NDArray[Any], block: Counts, whole: Counts) -> float:
        return min(1.0, self.statistic(cells, whole - block, block))

    def _between(self, reference: NDArray[Any], window: NDArray[Any]) -> float:
        cells, places = np.unique(np.concatenate([reference, window]), return_inverse=True)
        counts = (np.bincount(part, minlength=len(cells)) for part in np.split(places, [len(reference)]))
        return self.statistic(cells, *counts)


class GroupedDetector(CountedDetector):
    """Compares the shares of groups: categories, or numbers between the deciles of the reference."""

    def __init__(self, reads: Kind) -> None:
        self._reads = reads

    @property
    def reads(self) -> Kind:
        return self._reads

    @abstractmethod
    def between(self, reference: Counts, window: Counts) -> float:
        """The distance of the shares of the same groups."""

    @abstractmethod
    def chi_squared(self, statistic: float) -> float:
        """The distance as a chi-squared, but for the factor 1/rows of the window + 1/rows of the reference."""

    @abstractmethod
    def by_chance(self, chi_squared: float) -> float:
        """The distance of that chi-squared, which has the same factor: the inverse of `chi_squared`."""

    def statistic(self, cells: NDArray[Any], reference: Counts, window: Counts) -> float:
        groups = self._groups(cells, _edges(cells, reference))
        size = int(groups.max(initial=0)) + 1
        return self.between(
            *(np.bincount(groups, counts, minlength=size).astype(np.int64) for counts in (reference, window))
        )

    def p_value(self, reference: NDArray[Any], window: NDArray[Any], statistic: float) -> float:
        return self._p_value(self._size(reference), len(reference), len(window), statistic)

    def noise(self, reference: NDArray[Any], window: int) -> float:
        if not len(reference) or not window:
            return 0.0
        freedom = self._size(reference) - 1
        return min(1.0, self.by_chance(freedom * (1 / window + 1 / len(reference))))

    def stream(self, reference: NDArray[Any]) -> Stream | None:
        return _Grouped(self, reference) if len(reference) else None

    def counts(self, values: NDArray[Any], edges: NDArray[Any]) -> Counts:
        """Rows of each group."""
        return np.bincount(self._groups(values, edges))

    def edges(self, reference: NDArray[Any]) -> NDArray[Any]:
        """The deciles of a sample."""
        cells, counts = np.unique(reference, return_counts=True)
        return _edges(cells, counts)

    def result(self, reference: Counts, window: Counts) -> tuple[float, float | None, float]:
        """What a stream tells, of the same groups."""
        found = self.between(reference, window)
        size = int((reference > 0).sum())
        return min(1.0, found), self._p_value(size, int(reference.sum()), int(window.sum()), found), 0.0

    def _groups(self, values: NDArray[Any], edges: NDArray[Any]) -> NDArray[np.int64]:
        if self.reads == "categorical":
            return values.astype(np.int64)
        return np.searchsorted(edges, values, side="left").astype(np.int64)

    def _size(self, reference: NDArray[Any]) -> int:
        """Groups that the reference has rows of."""
        return int((self.counts(reference, self.edges(reference)) > 0).sum())

    def _p_value(self, groups: int, reference: int, window: int, statistic: float) -> float:
        from scipy.stats import chi2

        if groups < 2:
            return 1.0 if statistic == 0 else 0.0
        return float(chi2.sf(self.chi_squared(statistic) / (1 / window + 1 / reference), groups - 1))


class _Grouped:
    """Exact, since all that counts is the rows of each group."""

    def __init__(self, detector: GroupedDetector, reference: NDArray[Any]) -> None:
        self._detector = detector
        self._edges = detector.edges(reference)
        self._reference = detector.counts(reference, self._edges)
        self._window = np.zeros(0, dtype=np.int64)

    def add(self, values: NDArray[Any]) -> None:
        self._window = _sum(self._window, self._detector.counts(values, self._edges))

    def result(self) -> tuple[float, float | None, float]:
        size = max(len(self._reference), len(self._window))
        reference, window = (
            np.pad(counts, (0, size - len(counts))) for counts in (self._reference, self._window)
        )
        return self._detector.result(reference, window)


def _sum(one: Counts, other: Counts) -> Counts:
    size = max(len(one), len(other))
    total: Counts = np.pad(one, (0, size - len(one))) + np.pad(other, (0, size - len(other)))
    return total


def _edges(cells: NDArray[Any], counts: Counts) -> NDArray[Any]:
    """Upper ends of all groups but the last, each once: a frequent value is a group of its own."""
    before = np.cumsum(counts)
    wanted = np.arange(1, GROUPS) * before[-1] / GROUPS
    edges: NDArray[Any] = np.unique(cells[np.searchsorted(before, wanted, side="left")])
    return edges
