"""A model whose probabilities are brought to other shares of the classes than those that it has learnt."""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.training.fitted.answering import ClassModel, Floats


def with_prior(model: Any, factors: Floats) -> Any:
    """The model with p_k in proportion to `factors[k]` p_k, the classes in the order of `classes_`.

    A linear model and boosted trees have a number for each class that it is added to, so they stay what they are.
    """
    logarithms = np.log(factors)
    kind = (type(model).__module__.partition(".")[0], type(model).__name__)
    if kind == ("sklearn", "LogisticRegression"):
        model.intercept_ = model.intercept_ + _of_totals(logarithms, model.intercept_.shape[-1])
        return model
    if kind == ("sklearn", "HistGradientBoostingClassifier"):
        start = model._baseline_prediction
        model._baseline_prediction = start + _of_totals(logarithms, start.shape[-1]).reshape(start.shape)
        return model
    return OtherPrior(model, np.asarray(factors, dtype=np.float64))


def _of_totals(logarithms: Floats, totals: int) -> Floats:
    """What is added to the totals: one for each class, or of two classes the one of the second against the first."""
    found: Floats = logarithms if totals > 1 else np.array([logarithms[1] - logarithms[0]])
    return found


class OtherPrior(ClassModel):
    """Any other model of classes."""

    def __init__(self, model: Any, factors: Floats) -> None:
        self.model, self.factors = model, factors
        self.classes = self.classes_ = model.classes_

    @property
    def row_numbers(self) -> int:
        return int(getattr(self.model, "row_numbers", 1)) + len(self.factors)

    def answers(self, matrix: Floats) -> Floats:
        said = np.asarray(self.model.predict_proba(matrix), dtype=np.float64) * self.factors
        found: Floats = said / said.sum(axis=1, keepdims=True)
        return found
