"""Factorization machines (Rendle 2010): a linear model and one number for every pair of columns, by few factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import ClassModel, Floats, NumberModel, logistic, softmax


def pair_totals(matrix: Floats, factors: Floats) -> Floats:
    """(n,): the sum over pairs of columns i < j of <v_i, v_j> x_i x_j, from (n, columns) and (columns, factors).

    In time that grows with columns times factors: half of the squared sums less the sums of squares (Rendle's lemma).
    """
    found: Floats = 0.5 * (((matrix @ factors) ** 2).sum(axis=1) - (matrix**2) @ (factors**2).sum(axis=1))
    return found


class _Factors:
    center: Floats
    spread: Floats
    start: Floats
    """(outputs,)."""
    weights: Floats
    """(outputs, columns)."""
    factors: Floats
    """(outputs, columns, factors)."""

    def _totals(self, matrix: Floats) -> Floats:
        # What is a million deviations away lies no farther: squares stay numbers.
        scaled = np.clip((matrix - self.center) / self.spread, -1e6, 1e6)
        pairs = np.column_stack([pair_totals(scaled, one) for one in self.factors])
        found: Floats = self.start + scaled @ self.weights.T + pairs
        return found


class FactorsOfNumbers(_Factors, NumberModel):
    """The total, in the units of the labels."""

    def __init__(
        self,
        usual: float,
        unit: float,
        center: Floats,
        spread: Floats,
        start: Floats,
        weights: Floats,
        factors: Floats,
    ) -> None:
        self.usual, self.unit = usual, unit
        """Mean and standard deviation of the labels, which were made alike too."""
        self.center, self.spread = center, spread
        self.start, self.weights, self.factors = start, weights, factors

    def answers(self, matrix: Floats) -> Floats:
        return self._totals(matrix)[:, 0] * self.unit + self.usual


class FactorsOfClasses(_Factors, ClassModel):
    """A logistic function of one total for two classes, else the softmax of one for each."""

    def __init__(
        self,
        classes: npt.NDArray[Any],
        center: Floats,
        spread: Floats,
        start: Floats,
        weights: Floats,
        factors: Floats,
    ) -> None:
        self.classes = self.classes_ = classes
        self.center, self.spread = center, spread
        self.start, self.weights, self.factors = start, weights, factors

    def answers(self, matrix: Floats) -> Floats:
        totals = self._totals(matrix)
        if totals.shape[1] == 1:
            chance = logistic(totals[:, 0])
            return np.column_stack([1 - chance, chance])
        return softmax(totals)
