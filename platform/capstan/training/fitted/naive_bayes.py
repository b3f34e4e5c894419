"""Naive Bayes: each column by itself, numbers by a normal distribution, codes of categories by how often they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import ClassModel, Floats, softmax


@dataclass(frozen=True)
class Spread:
    """Sum of weights, mean and sum of squared distances from it, of each lot of rows; of more rows by adding."""

    weight: Floats
    """(lots, 1)."""
    mean: Floats
    """(lots, columns)."""
    squares: Floats

    @classmethod
    def of(cls, numbers: Floats, weights: Floats, lots: Sequence[npt.NDArray[np.bool_]]) -> Self:
        weight = np.array([[weights[lot].sum()] for lot in lots])
        mean = np.zeros((len(lots), numbers.shape[1]))
        squares = np.zeros_like(mean)
        for at, lot in enumerate(lots):
            if weight[at, 0] > 0:
                mean[at] = np.average(numbers[lot], axis=0, weights=weights[lot])
                squares[at] = weights[lot] @ (numbers[lot] - mean[at]) ** 2
        return cls(weight, mean, squares)

    def __add__(self, other: Spread) -> Spread:
        """As Chan et al. (1979) add variances."""
        weight = self.weight + other.weight
        share = np.divide(other.weight, weight, out=np.zeros_like(weight), where=weight > 0)
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.weight * share
        return Spread(weight, self.mean + apart * share, squares)

    @property
    def variance(self) -> Floats:
        found: Floats = self.squares / self.weight
        return found


@dataclass(frozen=True)
class Counted:
    """All that naive Bayes needs of the rows it has learnt."""

    classes: npt.NDArray[Any]
    numbers: npt.NDArray[np.int64]
    """Columns that are numbers."""
    codes: npt.NDArray[np.int64]
    """Columns that are codes of categories."""
    of_all: Spread
    """Of the numbers over all rows, which count alike."""
    of_class: Spread
    by_code: Sequence[Floats]
    """Of each column of codes (codes, classes): how much the rows weigh."""

    @property
    def columns(self) -> int:
        return len(self.numbers) + len(self.codes)

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.classes,
            self.numbers,
            self.codes,
            self.of_all + other.of_all,
            self.of_class + other.of_class,
            [_together(one, two) for one, two in zip(self.by_code, other.by_code, strict=True)],
        )


def _together(one: Floats, two: Floats) -> Floats:
    """The sum of both; one may know more codes."""
    found = np.zeros((max(len(one), len(two)), one.shape[1]))
    found[: len(one)] += one
    found[: len(two)] += two
    return found


def _shares(counts: Floats) -> Floats:
    """As `NaiveBayes.shares`; one row more of each code, so that none is impossible (Laplace)."""
    more = counts + 1
    return np.vstack([np.log(more / more.sum(axis=0)), np.zeros(counts.shape[1])])


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
        counted: Counted | None = None,
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

        self.counted = counted
        """What a model that goes on begins with; None: none can."""

    @classmethod
    def of(cls, counted: Counted, smoothing: float) -> Self:
        """The model of these rows; `smoothing` times a column's variance is added to that within each class."""
        overall = counted.of_all.variance[0]
        overall[overall == 0] = 1.0
        variances = counted.of_class.variance + smoothing * overall
        sizes = counted.of_class.weight[:, 0]
        start = np.log(sizes / sizes.sum()) - 0.5 * np.log(2 * np.pi * variances).sum(axis=1)
        return cls(
            counted.classes,
            start,
            counted.numbers,
            counted.of_class.mean,
            variances,
            counted.codes,
            [_shares(counts) for counts in counted.by_code],
            counted,
        )

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
