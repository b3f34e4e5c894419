"""Models that say how far a row is from the centre of each cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import FittedModel, Floats


class NearestCentre(FittedModel):
    """Distances to centres in columns that are made alike; asked by `transform`, as scikit-learn's KMeans is."""

    def __init__(self, centres: Floats, center: Floats, spread: Floats) -> None:
        """`centres`: (clusters, columns), the largest cluster first, in deviations from `center`."""
        self.centres, self.center, self.spread = np.ascontiguousarray(centres), center, spread

    @property
    def cluster_centers_(self) -> Floats:
        """(clusters, columns), in the units of the columns."""
        found: Floats = self.centres * self.spread + self.center
        return found

    @property
    def row_numbers(self) -> int:
        return 2 * self.centres.shape[1] + len(self.centres)

    def transform(self, matrix: Any) -> Floats:
        """(n, clusters) of (n, columns): Euclidean distances."""
        return self._in_parts(matrix)

    def predict(self, matrix: Any) -> npt.NDArray[np.int64]:
        """(n,): the place of the nearest centre."""
        found: npt.NDArray[np.int64] = self.transform(matrix).argmin(axis=1)
        return found

    def answers(self, matrix: Floats) -> Floats:
        # A row is summed in the same order whether it comes alone or in a table, whose columns may lie one by one.
        scaled = np.ascontiguousarray((matrix - self.center) / self.spread)
        apart = [np.sqrt(np.square(scaled - centre).sum(axis=1)) for centre in self.centres]
        found: Floats = np.stack(apart, axis=1)
        return found

    def answer_one(self, vector: Floats) -> tuple[float, ...]:
        """Distances of one row, to the same bits as those of a table."""
        apart = (vector - self.center) / self.spread - self.centres
        return tuple(np.sqrt(np.square(apart).sum(axis=1)).tolist())


class OneCluster(NearestCentre):
    """The baseline: every row is in the same cluster, and as far from its centre as any other."""

    def __init__(self) -> None:
        nothing = np.zeros(0)
        super().__init__(np.zeros((1, 0)), nothing, nothing)

    def answers(self, matrix: Floats) -> Floats:
        return np.zeros((len(matrix), 1))

    def answer_one(self, vector: Floats) -> tuple[float, ...]:  # noqa: ARG002 — whatever the row
        return (0.0,)
