"""Boosted trees, by scikit-learn's histograms."""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.spec.families import CLASSES, GradientBoosting
from capstan.training.families.boosting_space import boosting_space
from capstan.training.families.family import Fitted, Part, SearchSpace
from capstan.training.lesson import Lesson

_LOSSES = {None: "squared_error", "Absolute": "absolute_error"}


class GradientBoostingFamily:
    """Codes of categories are split as categories."""

    settings = GradientBoosting
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: GradientBoosting, lesson: Lesson) -> Fitted:
        iterations = settings.iterations
        if settings.early_stopping is not None:
            iterations = _enough(settings, lesson)
        model = _model(settings, lesson, max_iter=iterations, early_stopping=False)
        model.fit(lesson.matrix, lesson.truth, sample_weight=lesson.weights)
        fitted: Fitted = _plain(settings, model)
        return fitted

    def search_space(self, settings: GradientBoosting) -> SearchSpace:
        return boosting_space(settings)


def _model(settings: GradientBoosting, lesson: Lesson, **stopping: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    coded = lesson.categorical
    arguments = {
        "learning_rate": float(settings.learning_rate),
        "max_leaf_nodes": settings.leaves,
        "min_samples_leaf": settings.leaf_rows,
        "l2_regularization": float(settings.l2),
        "max_features": float(settings.column_share),
        "categorical_features": coded if coded is not None and coded.any() else None,
        "random_state": lesson.seed,
        **stopping,
    }
    if lesson.label in CLASSES:
        return HistGradientBoostingClassifier(**arguments, loss=_of_classes(settings))
    return HistGradientBoostingRegressor(**arguments, **_of_numbers(settings))


def _of_classes(settings: GradientBoosting) -> Any:
    if settings.focus is None:
        return "log_loss"
    from capstan.training.families.boosting_losses import Focal

    return Focal(float(settings.focus))


def _of_numbers(settings: GradientBoosting) -> dict[str, Any]:
    if settings.quantile is not None:
        return {"loss": "quantile", "quantile": float(settings.quantile)}
    if settings.loss == "Huber":
        from capstan.training.families.boosting_losses import Huber

        return {"loss": Huber()}
    return {"loss": _LOSSES[settings.loss]}


def _plain(settings: GradientBoosting, model: Any) -> Any:
    if settings.focus is None and settings.loss != "Huber":
        return model
    from capstan.training.families.boosting_losses import forget_loss

    return forget_loss(model)


def _enough(settings: GradientBoosting, lesson: Lesson) -> int:
    """After how many trees the newest rows are answered best; scikit-learn by itself would hold back random ones."""
    stopping = settings.early_stopping
    assert stopping is not None
    older, newest = lesson.without_newest(stopping.share)
    model = _model(
        settings,
        older,
        max_iter=settings.iterations,
        early_stopping=True,
        scoring="loss",
        n_iter_no_change=stopping.patience,
        tol=0.0,
    )
    model.fit(
        older.matrix,
        older.truth,
        sample_weight=older.weights,
        X_val=newest.matrix,
        y_val=newest.truth,
        sample_weight_val=newest.weights,
    )
    # The first score is that of no tree.
    return max(1, int(np.argmax(model.validation_score_)))
