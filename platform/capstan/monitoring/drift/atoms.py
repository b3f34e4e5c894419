"""Values that a feature takes often, and how near another value must be to be the same one.

The same row is predicted by compiled code alone and by the table's transform in a large batch, on one processor and on
another; a column may be float32 in a table and a decimal in a request. So one value comes in several last digits. The
Kolmogorov-Smirnov distance would take that for a move of every row that has it, where many rows do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RELATIVE_TOLERANCE = 1e-5
"""Of a value: some hundred times what float32 keeps of it."""
LARGEST_TOLERANCE = 1e-3
"""Of the spread of all values, so that a large offset (101,325.0 Pa and a bit) does not make them all one."""
LEAST_TOLERANCE = 1e-9
"""Of the spread: what is left of a sum that should be 0."""
LEAST_SHARE = 5e-4
"""A value with a smaller share of the rows can't move a distance by more than this."""


@dataclass(frozen=True)
class Atoms:
    """The frequent values of a reference, ascending."""

    values: NDArray[np.float64]
    tolerances: NDArray[np.float64]

    @classmethod
    def of(cls, sample: NDArray[np.float64]) -> Atoms:
        """Those of a sample of finite values: neighbours within the tolerance are one, of the most frequent digits."""
        if not len(sample):
            return cls(np.empty(0), np.empty(0))
        unique, counts = np.unique(sample, return_counts=True)
        tolerances = _tolerances(unique, sample)
        near = np.diff(unique) <= tolerances[:-1]
        in_crowd = np.append(near, False) | np.append(False, near)
        least = LEAST_SHARE * len(sample)
        chosen = [*np.flatnonzero(~in_crowd & (counts >= least))]
        crowd = np.flatnonzero(in_crowd)
        begin = 0
        while begin < len(crowd):
            first = crowd[begin]
            end = int(np.searchsorted(unique, unique[first] + tolerances[first], side="right"))
            if counts[first:end].sum() >= least:
                chosen.append(first + int(np.argmax(counts[first:end])))
            begin = int(np.searchsorted(crowd, end))
        indices = np.sort(np.array(chosen, dtype=np.int64))
        return cls(unique[indices], tolerances[indices])

    def snap(self, values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """The values, with those that are an atom but for the last digits replaced by it; what is not finite stays."""
        if not len(self.values):
            return values
        middles = (self.values[1:] + self.values[:-1]) / 2
        nearest = np.searchsorted(middles, values)
        atoms = self.values[nearest]
        with np.errstate(invalid="ignore"):
            is_atom = np.abs(values - atoms) <= self.tolerances[nearest]
        snapped: NDArray[np.floating[Any]] = np.where(is_atom, atoms, values)
        return snapped


def _tolerances(unique: NDArray[np.float64], sample: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.quantile(sample, [0.05, 0.95], method="nearest")
    spread = float(high - low) or float(unique[-1] - unique[0])
    relative = RELATIVE_TOLERANCE * np.abs(unique)
    if not spread:
        return np.maximum(relative, LEAST_TOLERANCE)
    tolerances: NDArray[np.float64] = np.clip(relative, LEAST_TOLERANCE * spread, LARGEST_TOLERANCE * spread)
    return tolerances
