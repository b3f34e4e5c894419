"""Support vector machines: straight or bent borders between classes, with probabilities; and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import ClassModel, Floats, NumberModel, logistic

Kernel = Literal["Linear", "RBF", "Polynomial"]


@dataclass(frozen=True)
class Machine:
    """A weighted sum over support vectors, of columns that are made alike."""

    kernel: Kernel
    center: Floats
    spread: Floats
    vectors: Floats
    """(support vectors, columns); of a linear one the one vector that they add up to."""
    weights: Floats
    intercept: float
    gamma: float = 1.0
    degree: int = 1
    squares: Floats | None = None
    """(support vectors,): their squared lengths, which kernel RBF alone needs; None: of another."""

    def values(self, matrix: Floats) -> Floats:
        """(n,): on which side of the border a row lies, and how far."""
        # What is a million deviations away lies no farther: squares stay numbers.
        scaled = np.clip((matrix - self.center) / self.spread, -1e6, 1e6)
        found: Floats = self._similar(scaled) @ self.weights + self.intercept
        return found

    def _similar(self, scaled: Floats) -> Floats:
        """(n, support vectors)."""
        products: Floats = scaled @ self.vectors.T
        if self.kernel == "Linear":
            return products
        if self.kernel == "Polynomial":
            bent: Floats = (self.gamma * products + 1.0) ** self.degree
            return bent
        assert self.squares is not None
        squares = (scaled**2).sum(axis=1)[:, None] + self.squares - 2 * products
        near: Floats = np.exp(-self.gamma * np.maximum(squares, 0.0))
        return near


class MachineOfNumbers(NumberModel):
    """A machine of the number itself."""

    def __init__(self, machine: Machine, center: float, spread: float) -> None:
        self.machine = machine
        self.center, self.spread = center, spread
        """Of the labels, which were made alike too."""

    @property
    def row_numbers(self) -> int:
        return len(self.machine.vectors)

    def answers(self, matrix: Floats) -> Floats:
        return self.machine.values(matrix) * self.spread + self.center


class MachineOfClasses(ClassModel):
    """One machine for two classes, else one for each against the others; a logistic curve of its value (Platt 1999)."""

    def __init__(self, classes: npt.NDArray[Any], machines: list[Machine], curves: Floats) -> None:
        self.classes = self.classes_ = classes
        self.machines = machines
        self.curves = curves
        """(machines, 2): slope and intercept."""

    @property
    def row_numbers(self) -> int:
        return max(len(machine.vectors) for machine in self.machines)

    def answers(self, matrix: Floats) -> Floats:
        values = np.column_stack([machine.values(matrix) for machine in self.machines])
        chances = logistic(values * self.curves[:, 0] + self.curves[:, 1])
        if len(self.machines) == 1:
            return np.column_stack([1 - chances[:, 0], chances[:, 0]])
        chances = np.maximum(chances, 1e-12)
        found: Floats = chances / chances.sum(axis=1, keepdims=True)
        return found
