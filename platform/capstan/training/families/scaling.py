"""Columns made alike: distances and penalties would else depend on the units of a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from capstan.tasks.metric import Floats


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each column."""

    center: Floats
    spread: Floats
    """1 for a column that is always the same."""

    @classmethod
    def of(cls, matrix: Floats) -> Self:
        spread = matrix.std(axis=0)
        spread[spread == 0] = 1.0
        return cls(matrix.mean(axis=0), spread)

    def __call__(self, matrix: Floats) -> Floats:
        scaled: Floats = (matrix - self.center) / self.spread
        return scaled
