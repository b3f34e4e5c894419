"""Nearest neighbours: the training rows in a tree of boxes (scikit-learn's KDTree), and how they vote."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import ClassModel, Floats, NumberModel

_NO_DISTANCE = 1e-12
"""Nearer neighbours are as good as equal."""


class _Neighbors:
    rows: Floats
    """Training rows, of columns that are made alike."""
    center: Floats
    spread: Floats
    neighbors: int
    by_distance: bool

    def __getstate__(self) -> dict[str, Any]:
        # A tree counts its questions, so that no two have the same bytes; it is made anew once the rows are loaded.
        return {name: value for name, value in vars(self).items() if name != "_tree"}

    def _nearest(self, scaled: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
        tree = vars(self).get("_tree")
        if tree is None:
            from sklearn.neighbors import KDTree

            tree = self._tree = KDTree(self.rows)
        found: tuple[Floats, npt.NDArray[np.int64]] = tree.query(scaled, k=self.neighbors)
        return found

    def _votes(self, matrix: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
        """(n, neighbours): which rows vote, and how much each counts; those of a row make 1."""
        # What is a billion deviations away has the neighbours of what is farther.
        distances, rows = self._nearest(np.clip((matrix - self.center) / self.spread, -1e9, 1e9))
        counts = 1 / np.maximum(distances, _NO_DISTANCE) if self.by_distance else np.ones_like(distances)
        return rows, counts / counts.sum(axis=1, keepdims=True)


class NeighborsOfNumbers(_Neighbors, NumberModel):
    """The mean of the neighbours' labels."""

    def __init__(
        self, rows: Floats, labels: Floats, center: Floats, spread: Floats, neighbors: int, by_distance: bool
    ) -> None:
        self.rows, self.labels = rows, labels
        self.center, self.spread = center, spread
        self.neighbors, self.by_distance = neighbors, by_distance

    @property
    def row_numbers(self) -> int:
        return self.neighbors

    def answers(self, matrix: Floats) -> Floats:
        rows, votes = self._votes(matrix)
        found: Floats = (self.labels[rows] * votes).sum(axis=1)
        return found


class NeighborsOfClasses(_Neighbors, ClassModel):
    """The shares of the classes among the neighbours; each class has one vote more, split by its share of all rows."""

    def __init__(
        self,
        rows: Floats,
        classes: npt.NDArray[Any],
        labels: npt.NDArray[np.int64],
        shares: Floats,
        center: Floats,
        spread: Floats,
        neighbors: int,
        by_distance: bool,
    ) -> None:
        self.rows, self.labels, self.shares = rows, labels, shares
        self.classes = self.classes_ = classes
        self.center, self.spread = center, spread
        self.neighbors, self.by_distance = neighbors, by_distance

    @property
    def row_numbers(self) -> int:
        return self.neighbors * len(self.classes)

    def answers(self, matrix: Floats) -> Floats:
        rows, votes = self._votes(matrix)
        of_class = self.labels[rows][:, :, None] == np.arange(len(self.classes))
        # Else a class without a neighbour were impossible, and its logarithmic loss without end.
        found: Floats = ((of_class * votes[:, :, None]).sum(axis=1) * self.neighbors + self.shares) / (
            self.neighbors + 1
        )
        return found
