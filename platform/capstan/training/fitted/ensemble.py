"""Several models as one: the mean of their answers, or a last model that learns from their answers.

A model service compiles each member by itself, and asks `answer_from` what becomes of their answers to one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.training.fitted.answering import ClassModel, Floats, NumberModel, logistic, softmax

Said = Sequence[Any]
"""Of each member what its compiled row says: a number, the probability of true, or those of all its classes."""


def probabilities(model: Any, matrix: Floats, classes: npt.NDArray[Any]) -> Floats:
    """(n, classes): what a model says that may not have seen all of them; 0 for those."""
    said = np.asarray(model.predict_proba(matrix), dtype=np.float64)
    found = np.zeros((len(said), len(classes)))
    found[:, np.searchsorted(classes, model.classes_)] = said
    return found


class _OfNumbers(NumberModel):
    members: Sequence[Any]

    @property
    def row_numbers(self) -> int:
        return len(self.members)

    def _each(self, matrix: Floats) -> Floats:
        """(n, members)."""
        return np.column_stack([np.asarray(one.predict(matrix), dtype=np.float64) for one in self.members])


class _OfClasses(ClassModel):
    members: Sequence[Any]

    @property
    def row_numbers(self) -> int:
        return len(self.members) * len(self.classes_)

    def _each(self, matrix: Floats) -> Floats:
        """(n, members, classes)."""
        return np.stack([probabilities(one, matrix, self.classes_) for one in self.members], axis=1)

    def _of_row(self, said: Said) -> Floats:
        """(1, members, classes)."""
        found = np.zeros((1, len(said), len(self.classes_)))
        for at, (one, member) in enumerate(zip(said, self.members, strict=True)):
            all_of_them = (1.0 - one, one) if isinstance(one, float) else one
            found[0, at, np.searchsorted(self.classes_, member.classes_)] = all_of_them
        return found


class VotingOfNumbers(_OfNumbers):
    """The weighted mean of the members' numbers."""

    def __init__(self, members: Sequence[Any], weights: Floats) -> None:
        self.members, self.weights = members, weights

    def answers(self, matrix: Floats) -> Floats:
        found: Floats = self._each(matrix) @ self.weights
        return found

    def answer_from(self, said: Said) -> float:
        return float(np.asarray(said) @ self.weights)


class VotingOfClasses(_OfClasses):
    """The weighted mean of the members' probabilities."""

    def __init__(self, classes: npt.NDArray[Any], members: Sequence[Any], weights: Floats) -> None:
        self.classes = self.classes_ = classes
        self.members, self.weights = members, weights

    def answers(self, matrix: Floats) -> Floats:
        return self._mean(self._each(matrix))

    def answer_from(self, said: Said) -> list[float]:
        found: list[float] = self._mean(self._of_row(said))[0].tolist()
        return found

    def _mean(self, each: Floats) -> Floats:
        found: Floats = np.einsum("rmc,m->rc", each, self.weights)
        return found


class StackOfNumbers(_OfNumbers):
    """What the last model says of the members' numbers."""

    def __init__(self, members: Sequence[Any], final: Any) -> None:
        self.members, self.final = members, final

    def answers(self, matrix: Floats) -> Floats:
        return np.asarray(self.final.predict(self._each(matrix)), dtype=np.float64)

    def answer_from(self, said: Said) -> float:
        return float(_one_answer(self.final, np.asarray(said, dtype=np.float64)))


class StackOfClasses(_OfClasses):
    """What the last model says of the members' probabilities."""

    def __init__(self, classes: npt.NDArray[Any], members: Sequence[Any], final: Any) -> None:
        self.classes = self.classes_ = classes
        self.members, self.final = members, final

    def answers(self, matrix: Floats) -> Floats:
        return probabilities(self.final, as_columns_of_last(self._each(matrix)), self.classes_)

    def answer_from(self, said: Said) -> list[float]:
        answer = _one_answer(self.final, as_columns_of_last(self._of_row(said))[0])
        found = np.zeros(len(self.classes_))
        found[np.searchsorted(self.classes_, self.final.classes_)] = answer
        return list(found.tolist())


def as_columns_of_last(each: Floats) -> Floats:
    """(n, members, classes) as the last model reads it: of two classes the second says all."""
    told = each[:, :, 1:] if each.shape[2] == 2 else each
    return told.reshape(len(told), -1)


_LINEAR = ("LogisticRegression", "Ridge", "LinearRegression")
"""Models of scikit-learn whose answer follows from the weighted sum alone, as it is worked out here."""


def _one_answer(model: Any, vector: Floats) -> Any:
    """What the last model says of one row, without scikit-learn's checks of tables where it is linear or our own."""
    own = getattr(model, "answer_one", None)
    if own is not None:
        return own(vector)
    is_of_classes, kind = hasattr(model, "classes_"), type(model)
    # Others with weights make something else of the sum: a Poisson regression its exponential.
    if kind.__name__ not in _LINEAR or kind.__module__.split(".", 1)[0] != "sklearn":
        of_row = model.predict_proba if is_of_classes else model.predict
        return of_row(vector.reshape(1, -1))[0]
    total = np.atleast_2d(model.coef_) @ vector + model.intercept_
    if not is_of_classes:
        return total[0]
    if len(total) == 1:
        chance = float(logistic(total)[0])
        return [1.0 - chance, chance]
    return softmax(total.reshape(1, -1))[0]
