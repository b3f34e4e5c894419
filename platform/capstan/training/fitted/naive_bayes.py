"""Naive Bayes: each column by itself, numbers by a normal distribution, codes of categories by how often they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import ClassModel, Floats, softmax


class NaiveBayes(ClassModel):
    """Log probability of a class: that of the class alone, plus that of each column's value within the class."""

    def __init__(
        self,
        classes: npt.NDArray[Any],
        start: Floats,
        numbers: npt.NDArray[np.int64],
        means: Floats,
        variances: Floats,
        codes: npt.NDArray[np.int64],
        shares: Sequence[Floats],
    ) -> None:
        self.classes = self.classes_ = classes
        self.start = start
        """(classes,): logarithm of each class' share."""
        self.numbers = numbers
        """Columns that are numbers."""
        self.means, self.variances = means, variances
        """(classes, numbers)."""
        self.codes = codes
        """Columns that are codes of categories."""
        self.shares = shares
        """Of each such column (codes + 1, classes): logarithms; the last line, zeros, is of codes that never came."""

    @property
    def row_numbers(self) -> int:
        return self.means.size

    def answers(self, matrix: Floats) -> Floats:
        totals = np.tile(self.start, (len(matrix), 1))
        spread = matrix[:, None, self.numbers] - self.means[None]
        with np.errstate(over="ignore"):
            totals -= 0.5 * (spread**2 / self.variances[None]).sum(axis=2)
        # A row infinitely far from every class tells nothing.
        totals[~np.isfinite(totals).all(axis=1)] = self.start
        for column, shares in zip(self.codes.tolist(), self.shares, strict=True):
            code, unknown = matrix[:, column], len(shares) - 1
            known = (code >= 0) & (code < unknown)
            totals += shares[np.where(known, code, unknown).astype(np.int64)]
        return softmax(totals)
