"""A neural network as its weights: what PyTorch has fitted, answered by numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import ClassModel, Floats, NumberModel, logistic, softmax

FARTHEST = 1e6
"""What is so many deviations away lies no farther: sums stay numbers."""
ACTIVATIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "ReLU": lambda values: np.maximum(values, 0.0),
    "ELU": lambda values: np.where(values > 0.0, values, np.exp(np.minimum(values, 0.0)) - 1.0),
    "Tanh": np.tanh,
    "Sigmoid": logistic,
}


@dataclass(frozen=True)
class Network:
    """Numbers of raw columns, made alike, and those that stand for categories, through layers to totals."""

    columns: npt.NDArray[np.int64]
    """Columns that are numbers."""
    center: Floats
    spread: Floats
    """What makes them alike."""
    coded: npt.NDArray[np.int64]
    """Columns that are codes of categories."""
    tables: Sequence[Floats]
    """Of each such column (codes + 1, numbers); the last line is of codes that training did not see."""
    weights: Sequence[Floats]
    """Of each layer (inputs, units)."""
    biases: Sequence[Floats]
    activation: str

    @property
    def row_numbers(self) -> int:
        return max(len(self.weights[0]), *(len(biases) for biases in self.biases))

    def totals(self, matrix: Floats) -> Floats:
        """(n, outputs) before the last function."""
        active = ACTIVATIONS[self.activation]
        values = np.clip((matrix[:, self.columns] - self.center) / self.spread, -FARTHEST, FARTHEST)
        if len(self.coded):
            values = np.concatenate([values, *self._embedded(matrix)], axis=1)
        for weights, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = active(values @ weights + bias)
        found: Floats = values @ self.weights[-1] + self.biases[-1]
        return found

    def _embedded(self, matrix: Floats) -> list[Floats]:
        found = []
        for column, table in zip(self.coded.tolist(), self.tables, strict=True):
            code, unknown = matrix[:, column], len(table) - 1
            known = (code >= 0) & (code < unknown)
            found.append(table[np.where(known, code, unknown).astype(np.int64)])
        return found


class NetworkOfNumbers(NumberModel):
    """The last layer's one output."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def row_numbers(self) -> int:
        return self.network.row_numbers

    def answers(self, matrix: Floats) -> Floats:
        return self.network.totals(matrix)[:, 0]


class NetworkOfClasses(ClassModel):
    """A logistic function of one total for two classes, else the softmax of one for each."""

    def __init__(self, classes: npt.NDArray[Any], network: Network) -> None:
        self.classes = self.classes_ = classes
        self.network = network

    @property
    def row_numbers(self) -> int:
        return self.network.row_numbers

    def answers(self, matrix: Floats) -> Floats:
        totals = self.network.totals(matrix)
        if totals.shape[1] == 1:
            chance = logistic(totals[:, 0])
            return np.column_stack([1 - chance, chance])
        return softmax(totals)
