"""A linear model of a number, with penalties on squared and on absolute weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.spec.families import LinearRegression
from capstan.training.families.family import Fitted, Part, SearchSpace, penalty
from capstan.training.families.going_on import more_rounds, require_kind
from capstan.training.families.passes import LINEAR_BATCH, LINEAR_PASSES, LINEAR_RATE, further_passes
from capstan.training.lesson import Lesson


class LinearRegressionFamily:
    """Fitted on standardised columns, so that the penalties treat all alike, folded back to the raw ones."""

    settings = LinearRegression
    uses: frozenset[Part] = frozenset({"weights", "parent"})

    def fit(self, settings: LinearRegression, lesson: Lesson) -> Fitted:
        if lesson.parent is not None:
            return _further(settings, lesson)
        center, spread = lesson.matrix.mean(axis=0), lesson.matrix.std(axis=0)
        spread[spread == 0] = 1.0
        total = len(lesson.truth) if lesson.weights is None else float(lesson.weights.sum())
        model = _model(settings, total)
        model.fit((lesson.matrix - center) / spread, lesson.truth, sample_weight=lesson.weights)
        return _as_line(model.coef_ / spread, model.intercept_, center)

    def search_space(self, settings: LinearRegression) -> SearchSpace:
        return SearchSpace((penalty("l2", settings.l2, factor=1000, most=1e9, where_none=100.0),))


def _further(settings: LinearRegression, lesson: Lesson) -> Fitted:
    """The parent after some more passes of Adam over these rows: fitted to its end it would forget all others."""
    from sklearn.linear_model import LinearRegression as Line

    parent: Any = lesson.parent
    require_kind(parent, Line, columns=lesson.matrix.shape[1])
    batch = min(LINEAR_BATCH, len(lesson.truth))
    weights, biases = further_passes(
        lesson,
        [np.asarray(parent.coef_).reshape(-1, 1)],
        [np.array([parent.intercept_])],
        passes=more_rounds(lesson, LINEAR_PASSES),
        learning_rate_init=LINEAR_RATE,
        batch_size=batch,
        # A network's penalty counts once a batch, this one once for all rows.
        alpha=float(settings.l2) * batch / len(lesson.truth),
    )
    return _as_line(weights[0][:, 0], biases[0][0], np.zeros(lesson.matrix.shape[1]))


def _model(settings: LinearRegression, total: float) -> Any:
    """What minimises the weighted sum of losses plus `l2` times squared and `l1` times absolute weights."""
    from sklearn.linear_model import ElasticNet, HuberRegressor, Ridge
    from sklearn.linear_model import LinearRegression as LeastSquares

    l1, l2 = float(settings.l1), float(settings.l2)
    if settings.loss == "Huber":
        return HuberRegressor(alpha=l2, max_iter=1000)
    if l1:
        # scikit-learn divides the squares by twice the sum of the weights.
        strength = (l1 / 2 + l2) / total
        return ElasticNet(alpha=strength, l1_ratio=(l1 / 2) / (l1 / 2 + l2), max_iter=10_000)
    # Without a penalty, columns that add up to 1, as those of one category do, have no one solution: least squares
    # takes the smallest.
    return Ridge(alpha=l2, solver="cholesky") if l2 else LeastSquares()


def _as_line(coefficients: Any, intercept: Any, center: Any) -> Fitted:
    """The same line of the raw columns, as the model that single rows are compiled from."""
    from sklearn.linear_model import LinearRegression as Line

    model = Line()
    model.coef_, model.n_features_in_ = coefficients, len(coefficients)
    model.intercept_ = float(intercept - coefficients @ center)
    fitted: Fitted = model
    return fitted
