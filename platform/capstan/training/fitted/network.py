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
class Convolutions:
    """Layers that look at neighbouring pixels, with zeros beyond the border."""

    image: tuple[int, int, int]
    """Channels, height and width of the pixels, which are the first of the numbers."""
    kernels: Sequence[Floats]
    """Of each layer (maps, maps before, height, width)."""
    biases: Sequence[Floats]
    pool: int
    """Of so many by so many neighbours the largest goes on."""

    @property
    def pixels(self) -> int:
        channels, height, width = self.image
        return channels * height * width

    @property
    def row_numbers(self) -> int:
        """Of the largest array on the way: the neighbours of each pixel in each map."""
        (_, height, width), most = self.image, 0
        for kernel in self.kernels:
            most = max(most, height * width * (kernel[0].size + len(kernel)))
            height, width = height // self.pool, width // self.pool
        return most

    def maps(self, pixels: Floats, active: Callable[[Floats], Floats]) -> Floats:
        """(n, maps of all places): of (n, pixels)."""
        values = pixels.reshape(-1, *self.image)
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            side = kernel.shape[2]
            padded = np.pad(values, ((0, 0), (0, 0), (side // 2,) * 2, (side // 2,) * 2))
            rows, before, height, width = values.shape
            strides = (*padded.strides, *padded.strides[2:])
            # A view of each pixel's neighbours.
            near = np.lib.stride_tricks.as_strided(
                padded, (rows, before, height, width, side, side), strides, writeable=False
            )
            # (n, height, width, maps) by one product of matrices.
            found = np.tensordot(near, kernel, axes=([1, 4, 5], [1, 2, 3])) + bias
            values = self._pooled(active(found).transpose(0, 3, 1, 2))
        return values.reshape(len(values), -1)

    def _pooled(self, values: Floats) -> Floats:
        if self.pool == 1:
            return values
        rows, maps, height, width = values.shape
        high, wide = height // self.pool, width // self.pool
        kept = values[:, :, : high * self.pool, : wide * self.pool]
        found: Floats = kept.reshape(rows, maps, high, self.pool, wide, self.pool).max(axis=(3, 5))
        return found


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
    convolutions: Convolutions | None = None
    """What looks at the pixels of an image, which are the first of the columns; None: nothing does."""

    @property
    def row_numbers(self) -> int:
        looks = 0 if self.convolutions is None else self.convolutions.row_numbers
        return max(looks, len(self.weights[0]), *(len(biases) for biases in self.biases))

    def totals(self, matrix: Floats) -> Floats:
        """(n, outputs) before the last function."""
        active = ACTIVATIONS[self.activation]
        values = np.clip((matrix[:, self.columns] - self.center) / self.spread, -FARTHEST, FARTHEST)
        if self.convolutions is not None:
            pixels, others = np.split(values, [self.convolutions.pixels], axis=1)
            values = np.concatenate([self.convolutions.maps(pixels, active), others], axis=1)
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
