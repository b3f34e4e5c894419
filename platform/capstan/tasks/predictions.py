"""What a model said about some rows: named columns, the same in memory, in an answer and in a stored payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_KEPT_BITS = 40
"""Of the 53 of a number, wherever equality or a bound counts: the last ones differ between paths and machines."""


@dataclass(frozen=True)
class Predictions:
    """Outputs of n rows: each column is (n,), floats for a number and texts for a category."""

    columns: Mapping[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return next((len(column) for column in self.columns.values()), 0)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def rows(self, chosen: npt.NDArray[Any] | slice) -> Predictions:
        """Those rows alone, by a mask, by numbers or by a slice."""
        return Predictions({name: column[chosen] for name, column in self.columns.items()})

    def settled(self) -> Predictions:
        """With numbers to 12 digits, so that rows of one prediction are a tie whoever computed it."""
        return Predictions(
            {
                name: _settled(column) if column.dtype.kind == "f" else column
                for name, column in self.columns.items()
            }
        )


@dataclass(frozen=True)
class Learnt:
    """What a fitted model knows about its own answers; kept in the manifest."""

    classes: tuple[object, ...] = ()
    """In the order of the model's probabilities; of two the last is the positive one. Empty for numbers."""
    threshold: float = 0.5
    """From which probability on a row belongs to the positive class."""
    parts: Mapping[str, Learnt] = field(default_factory=dict)
    """The same of each of several models, by its name; empty for one model."""


def _settled(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mantissa, exponent = np.frexp(numbers)
    rounded: npt.NDArray[np.float64] = np.ldexp(
        np.rint(np.ldexp(mantissa, _KEPT_BITS)), exponent - _KEPT_BITS
    )
    return rounded
