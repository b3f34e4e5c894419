"""Many rows at once, with the very bits that the compiled row has.

A pipeline's own `predict_proba` ends in another logistic function, and a linear model's own sum adds in another order;
both differ from the compiled row in the last digit. Here columns go through the same operations in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.features.columns import Floats
from capstan.features.rowwise import answer_of
from capstan.features.transform import FeatureTransform
from capstan.features.trees import CannotCompileError

Scores = list[Any]
"""What the compiled row says of each row."""


def compile_columns(pipeline: Any) -> Callable[[Any], Scores]:
    """A fitted pipeline (`transform`, `model`) for a table: what `rowwise.compile_predict` says of each row.

    Raises CannotCompileError for all but boosted trees and linear models of scikit-learn behind Capstan's transform.
    """
    steps = getattr(pipeline, "steps", [])
    transform, model = (steps[0][1], steps[-1][1]) if len(steps) == 2 else (None, None)
    if not isinstance(transform, FeatureTransform) or not type(model).__module__.startswith("sklearn."):
        raise CannotCompileError("the pipeline is not a FeatureTransform and a model of scikit-learn")
    totals = _totals_of(model)
    answer = answer_of(model)

    def predict(table: Any) -> Scores:
        found = totals(transform.transform(table))
        if answer is None:
            return [row[0] for row in found.tolist()]
        return [answer(*row) for row in found.tolist()]

    return predict


def is_faster(pipeline: Any) -> bool:
    """Whether hundreds of JSON rows are predicted faster as columns: each tree is walked by numpy, not by Python.

    The sum of a linear model takes Python less time than to make arrays of the values.
    """
    return type(pipeline.steps[-1][1]).__name__.startswith("HistGradientBoosting")


def _totals_of(model: Any) -> Callable[[Floats], Floats]:
    """(rows, totals): what the answer is made of."""
    kind = type(model).__name__
    if kind == "HistGradientBoostingClassifier" or (
        kind == "HistGradientBoostingRegressor" and type(model._loss.link).__name__ == "IdentityLink"
    ):
        # One thread: several only wait for each other where other processes work.
        return lambda matrix: np.asarray(model._raw_predict(matrix, n_threads=1), dtype=np.float64)
    if kind in ("LogisticRegression", "Ridge", "LinearRegression"):
        return lambda matrix: _sums(matrix, np.atleast_2d(model.coef_), np.ravel(model.intercept_).tolist())
    raise CannotCompileError(kind)


def _sums(matrix: Floats, every: npt.NDArray[Any], intercepts: Sequence[float]) -> Floats:
    found = np.empty((len(matrix), len(every)))
    for at, (coefficients, intercept) in enumerate(zip(every, intercepts, strict=True)):
        total = np.full(len(matrix), intercept)
        for column, coefficient in enumerate(coefficients.tolist()):
            total += coefficient * matrix[:, column]
        found[:, at] = total
    return found
