"""Models that say how unusual a row is: asked as scikit-learn's detectors, one row by a shorter way of equal bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.training.fitted.answering import FittedModel, Floats
from capstan.training.fitted.forest import as_compared, walked_root

_FARTHEST = 1e9
"""Deviations beyond which neighbours are those of what is farther."""


class AnomalyModel(FittedModel):
    """Answers a score, higher for a more unusual row; above `-offset_` a row is flagged."""

    offset_: float

    def score_samples(self, matrix: Any) -> Floats:
        """(n,) of (n, columns): lower for a more unusual row, the sign that scikit-learn has."""
        return -self._in_parts(matrix)

    def predict(self, matrix: Any) -> Floats:
        """(n,): -1 for a row that is flagged, 1 for any other."""
        found: Floats = np.where(self.score_samples(matrix) < self.offset_, -1.0, 1.0)
        return found

    def answer_one(self, vector: Floats) -> float:
        """The score of one row, without its sign turned."""
        return float(self.answers(vector.reshape(1, -1))[0])


class NothingUnusual(AnomalyModel):
    """The baseline: no row is more unusual than another."""

    offset_ = -1.0

    def answers(self, matrix: Floats) -> Floats:
        return np.zeros(len(matrix))

    def answer_one(self, vector: Floats) -> float:  # noqa: ARG002 — whatever the row
        return 0.0


class Isolation(AnomalyModel):
    """How few random questions part a row from the others (Liu, Ting & Zhou 2008), by scikit-learn.

    scikit-learn takes milliseconds for one row of a hundred trees, so one row walks tuples: the same comparisons and
    the same sums in the same order.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.offset_ = float(model.offset_)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_roots", "_usual")}

    def answers(self, matrix: Floats) -> Floats:
        found: Floats = -self.model.score_samples(as_compared(matrix))
        return found

    def answer_one(self, vector: Floats) -> float:
        roots = vars(self).get("_roots")
        if roots is None:
            trees, self._usual = usual_lengths(self.model)
            roots = self._roots = [walked_root(tree, lengths.tolist()) for tree, lengths in trees]
        row = as_compared(vector).tolist()
        depth = 0.0
        for column, threshold, left, right in roots:
            while column >= 0:
                column, threshold, left, right = left if row[column] <= threshold else right
            depth += threshold
        # numpy's power, since that of Python differs from it in the last bit.
        return float(np.power(2.0, -np.array([depth / self._usual]))[0]) if self._usual else 0.5


def usual_lengths(model: Any) -> tuple[list[tuple[Any, Floats]], float]:
    """Each tree of scikit-learn's forest with the path lengths of its nodes, and the length of all trees together.

    (nodes,) lengths count what a leaf of several rows would still take. The score is 2 to the power of minus the sum of
    the lengths of a row's leaves, divided by the length of all trees; 0 says that there is nothing to part.
    """
    from sklearn.ensemble._iforest import _average_path_length

    trees = [
        (tree.tree_, lengths + usual - 1.0)
        for tree, lengths, usual in zip(
            model.estimators_, model._decision_path_lengths, model._average_path_length_per_tree, strict=True
        )
    ]
    whole = len(trees) * _average_path_length(np.array([model._max_samples]))[0]
    return trees, float(whole)


class Emptiness(AnomalyModel):
    """How much emptier it is around a row than around its neighbours (Breunig et al. 2000), by scikit-learn."""

    def __init__(self, model: Any, center: Floats, spread: Floats) -> None:
        self.model, self.center, self.spread = model, center, spread
        self.offset_ = float(model.offset_)

    @property
    def row_numbers(self) -> int:
        fitted: int = self.model.n_samples_fit_
        return fitted

    def answers(self, matrix: Floats) -> Floats:
        scaled = np.clip((matrix - self.center) / self.spread, -_FARTHEST, _FARTHEST)
        found: Floats = -self.model.score_samples(scaled)
        return found
