"""A multilayer perceptron as its weights: what scikit-learn has fitted, on columns as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import ClassModel, Floats, NumberModel, logistic, softmax

ACTIVATIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "ReLU": lambda values: np.maximum(values, 0.0),
    "Tanh": np.tanh,
    "Logistic": logistic,
}


class _Layers:
    weights: Sequence[Floats]
    biases: Sequence[Floats]
    activation: str

    @property
    def row_numbers(self) -> int:
        return max(len(biases) for biases in self.biases)

    def _totals(self, matrix: Floats) -> Floats:
        """(n, outputs) before the last function."""
        active = ACTIVATIONS[self.activation]
        values = matrix
        for weights, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = active(values @ weights + bias)
        found: Floats = values @ self.weights[-1] + self.biases[-1]
        return found


class PerceptronOfNumbers(_Layers, NumberModel):
    """The last layer's one output."""

    def __init__(self, weights: Sequence[Floats], biases: Sequence[Floats], activation: str) -> None:
        self.weights, self.biases, self.activation = weights, biases, activation

    def answers(self, matrix: Floats) -> Floats:
        return self._totals(matrix)[:, 0]


class PerceptronOfClasses(_Layers, ClassModel):
    """A logistic function of one output for two classes, else the softmax of one for each."""

    def __init__(
        self, classes: npt.NDArray[Any], weights: Sequence[Floats], biases: Sequence[Floats], activation: str
    ) -> None:
        self.classes = self.classes_ = classes
        self.weights, self.biases, self.activation = weights, biases, activation

    def answers(self, matrix: Floats) -> Floats:
        totals = self._totals(matrix)
        if totals.shape[1] == 1:
            chance = logistic(totals[:, 0])
            return np.column_stack([1 - chance, chance])
        return softmax(totals)
