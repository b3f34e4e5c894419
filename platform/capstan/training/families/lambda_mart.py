"""Boosted trees that learn the order of a group's items (LambdaMART, Burges 2010), by scikit-learn's histograms."""

from __future__ import annotations

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.families import LambdaMart
from capstan.training.families.boosting_space import boosting_space
from capstan.training.families.family import Fitted, Part, SearchSpace
from capstan.training.lesson import Lesson


class LambdaMartFamily:
    """Codes of categories are split as categories."""

    settings = LambdaMart
    uses: frozenset[Part] = frozenset({"weights", "groups"})

    def fit(self, settings: LambdaMart, lesson: Lesson) -> Fitted:
        from sklearn.ensemble import HistGradientBoostingRegressor

        from capstan.training.families.boosting_losses import Order, forget_loss

        if lesson.groups is None:
            raise InvalidDataError(
                "lambdaMart learns the order of items within a group, and the rows belong to none; name the column of "
                "the groups in data.keys.group, or take gradientBoosting"
            )
        coded = lesson.categorical
        model = HistGradientBoostingRegressor(
            loss=Order(lesson.groups, lesson.truth, settings.depth),
            learning_rate=float(settings.learning_rate),
            max_iter=settings.iterations,
            max_leaf_nodes=settings.leaves,
            min_samples_leaf=settings.leaf_rows,
            l2_regularization=float(settings.l2),
            categorical_features=coded if coded is not None and coded.any() else None,
            early_stopping=False,
            random_state=lesson.seed,
        )
        model.fit(lesson.matrix, np.asarray(lesson.truth, dtype=np.float64), sample_weight=lesson.weights)
        fitted: Fitted = forget_loss(model)
        return fitted

    def search_space(self, settings: LambdaMart) -> SearchSpace:
        return boosting_space(settings)
