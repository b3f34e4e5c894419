"""A linear model of a number, with a penalty on squared weights."""

from __future__ import annotations

from capstan.spec.training import LinearRegression
from capstan.training.families.family import NOTHING_TO_SEARCH, Fitted, Part, SearchSpace
from capstan.training.lesson import Lesson


class LinearRegressionFamily:
    """Ridge regression on standardised columns, so that the penalty treats all alike, folded back to the raw ones."""

    settings = LinearRegression
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: LinearRegression, lesson: Lesson) -> Fitted:
        from sklearn.linear_model import LinearRegression as LeastSquares
        from sklearn.linear_model import Ridge

        center, spread = lesson.matrix.mean(axis=0), lesson.matrix.std(axis=0)
        spread[spread == 0] = 1.0
        # Without a penalty, columns that add up to 1, as those of one category do, have no one solution: least squares
        # takes the smallest.
        model = Ridge(alpha=float(settings.l2), solver="cholesky") if settings.l2 else LeastSquares()
        model.fit((lesson.matrix - center) / spread, lesson.truth, sample_weight=lesson.weights)
        model.coef_ = model.coef_ / spread
        model.intercept_ = float(model.intercept_ - model.coef_ @ center)
        fitted: Fitted = model
        return fitted

    def search_space(self, settings: LinearRegression) -> SearchSpace:  # noqa: ARG002
        return NOTHING_TO_SEARCH
