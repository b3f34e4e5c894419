"""What every fitted model of Capstan's own has in common: it answers tables as scikit-learn's do, and single rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

Floats = npt.NDArray[np.float64]
PART_NUMBERS = 2**20
"""Numbers that are held at once for the rows of a table: 8 MiB, and a few times as much on the way."""


class FittedModel(BaseEstimator):  # type: ignore[misc]
    """A model that was fitted elsewhere: `fit` is there because scikit-learn's pipelines ask for it."""

    def fit(self, matrix: Any, truth: Any = None) -> FittedModel:
        raise NotImplementedError(f"{type(self).__name__} is made by its family, which fits it")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def row_numbers(self) -> int:
        """How many numbers `answers` holds at once for each row, beside the row itself."""
        return 1

    def _in_parts(self, matrix: Any) -> Floats:
        """The answers to a table, of so few rows at once that what they take does not grow with the table."""
        whole = np.asarray(matrix, dtype=np.float64)
        rows = max(1, PART_NUMBERS // max(1, self.row_numbers))
        if len(whole) <= rows:
            return self.answers(whole)
        return np.concatenate([self.answers(whole[at : at + rows]) for at in range(0, len(whole), rows)])

    def answers(self, matrix: Floats) -> Floats:
        """Those to (n, columns)."""
        raise NotImplementedError


class NumberModel(FittedModel):
    """Answers numbers."""

    def answers(self, matrix: Floats) -> Floats:
        """(n,) of (n, columns)."""
        raise NotImplementedError

    def predict(self, matrix: Any) -> Floats:
        return self._in_parts(matrix)

    def answer_one(self, vector: Floats) -> float:
        """Of one row; equal to that of a table up to the order in which numbers are added."""
        return float(self.answers(vector.reshape(1, -1))[0])


class ClassModel(FittedModel):
    """Answers the probabilities of classes."""

    classes_: npt.NDArray[Any]

    def answers(self, matrix: Floats) -> Floats:
        """(n, classes) of (n, columns)."""
        raise NotImplementedError

    def predict_proba(self, matrix: Any) -> Floats:
        return self._in_parts(matrix)

    def predict(self, matrix: Any) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = self.classes_[self.predict_proba(matrix).argmax(axis=1)]
        return found

    def answer_one(self, vector: Floats) -> list[float]:
        """Of one row; equal to those of a table up to the order in which numbers are added."""
        answers: list[float] = self.answers(vector.reshape(1, -1))[0].tolist()
        return answers


def softmax(totals: Floats) -> Floats:
    """(n, classes) -> probabilities, without overflow."""
    grown = np.exp(totals - totals.max(axis=1, keepdims=True))
    found: Floats = grown / grown.sum(axis=1, keepdims=True)
    return found


def logistic(totals: Floats) -> Floats:
    """The logistic function, without overflow on either side."""
    small = np.exp(-np.abs(totals))
    found: Floats = np.where(totals >= 0, 1.0, small) / (1.0 + small)
    return found
