"""A linear model of the logarithm of the odds, or of those of each class."""

from __future__ import annotations

import copy
import math
from typing import Any

from capstan.spec.families import LogisticRegression
from capstan.training.families.family import Fitted, Part, SearchSpace, penalty
from capstan.training.families.going_on import more_rounds, require_classes, require_kind
from capstan.training.families.passes import LINEAR_BATCH, LINEAR_PASSES, LINEAR_RATE, further_passes
from capstan.training.lesson import Lesson


class LogisticRegressionFamily:
    """Fitted on standardised columns, so that the penalty treats all alike, and folded back to the raw ones."""

    settings = LogisticRegression
    uses: frozenset[Part] = frozenset({"weights", "parent"})

    def fit(self, settings: LogisticRegression, lesson: Lesson) -> Fitted:
        if lesson.parent is not None:
            return _further(settings, lesson)
        center, spread = lesson.matrix.mean(axis=0), lesson.matrix.std(axis=0)
        spread[spread == 0] = 1.0
        model = _model(float(settings.l1), float(settings.l2), lesson.seed)
        model.fit((lesson.matrix - center) / spread, lesson.truth, sample_weight=lesson.weights)
        model.coef_ = model.coef_ / spread
        model.intercept_ = model.intercept_ - model.coef_ @ center
        fitted: Fitted = model
        return fitted

    def search_space(self, settings: LogisticRegression) -> SearchSpace:
        return SearchSpace((penalty("l2", settings.l2, factor=1000, most=1e9, where_none=100.0),))


def _further(settings: LogisticRegression, lesson: Lesson) -> Fitted:
    """The parent after some more passes of Adam over these rows: fitted to its end it would forget all others."""
    from sklearn.linear_model import LogisticRegression as Logistic

    parent: Any = lesson.parent
    require_kind(parent, Logistic, columns=lesson.matrix.shape[1])
    require_classes(lesson, among=parent.classes_)
    batch = min(LINEAR_BATCH, len(lesson.truth))
    weights, biases = further_passes(
        lesson,
        [parent.coef_.T],
        [parent.intercept_],
        classes=parent.classes_,
        passes=more_rounds(lesson, LINEAR_PASSES),
        learning_rate_init=LINEAR_RATE,
        batch_size=batch,
        # A network's penalty counts once a batch, this one once for all rows.
        alpha=float(settings.l2) * batch / len(lesson.truth),
    )
    fitted: Any = copy.copy(parent)
    fitted.coef_, fitted.intercept_ = weights[0].T, biases[0]
    model: Fitted = fitted
    return model


def _model(l1: float, l2: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression as Logistic

    if not l1:
        return Logistic(C=1 / l2 if l2 else math.inf, max_iter=300, tol=1e-4)
    # Only this solver knows both penalties for several classes.
    return Logistic(
        C=1 / (l1 + l2), l1_ratio=l1 / (l1 + l2), solver="saga", max_iter=1000, tol=1e-4, random_state=seed
    )
