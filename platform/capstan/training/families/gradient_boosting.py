"""Boosted trees, by scikit-learn's histograms."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from capstan.spec.families import CLASSES, GradientBoosting
from capstan.training.families.boosting_space import boosting_space
from capstan.training.families.family import Fitted, Part, SearchSpace
from capstan.training.families.going_on import more_rounds, require_classes, require_kind
from capstan.training.families.large_boosting import fit_boosting
from capstan.training.lesson import Lesson

_LOSSES = {None: "squared_error", "Absolute": "absolute_error"}


class GradientBoostingFamily:
    """Codes of categories are split as categories."""

    settings = GradientBoosting
    uses: frozenset[Part] = frozenset({"weights", "parent"})

    def fit(self, settings: GradientBoosting, lesson: Lesson) -> Fitted:
        if lesson.parent is not None:
            return _with_more_trees(settings, lesson)
        iterations = settings.iterations
        if settings.early_stopping is not None:
            iterations = _enough(settings, lesson)
        model = _model(settings, lesson, max_iter=iterations, early_stopping=False)
        fit_boosting(model, lesson)
        fitted: Fitted = _plain(settings, model)
        return fitted

    def search_space(self, settings: GradientBoosting) -> SearchSpace:
        return boosting_space(settings)


def _with_more_trees(settings: GradientBoosting, lesson: Lesson) -> Fitted:
    """The parent's trees, and more that learn what is left of the loss on these rows.

    scikit-learn's own `warm_start` would cut the columns into other bins and ask the parent's trees by them, which is
    right for the same rows only.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    of_classes = lesson.label in CLASSES
    parent: Any = lesson.parent
    kind = HistGradientBoostingClassifier if of_classes else HistGradientBoostingRegressor
    require_kind(parent, kind, columns=lesson.matrix.shape[1])
    if of_classes:
        require_classes(lesson, among=parent.classes_, all_of_them=True)
    said = parent._raw_predict(lesson.matrix)
    more = _model(
        settings, lesson, max_iter=more_rounds(lesson, settings.iterations // 5), early_stopping=False
    )
    if parent.is_categorical_ is not None:
        _as_coded_by(parent, more, lesson)
    if of_classes:
        from capstan.training.families.boosting_losses import beginning_at

        more.set_params(loss=beginning_at(said, settings.focus))
        truth = lesson.truth
    else:
        # Each of these losses is one of the difference between label and answer.
        truth = np.asarray(lesson.truth, dtype=np.float64) - said[:, 0]
    more.fit(lesson.matrix, truth, sample_weight=lesson.weights)
    whole: Any = copy.copy(parent)
    whole._predictors = [*parent._predictors, *more._predictors]
    whole._baseline_prediction = parent._baseline_prediction + more._baseline_prediction
    whole.set_params(max_iter=len(whole._predictors))
    fitted: Fitted = whole
    return fitted


def _as_coded_by(parent: Any, more: Any, lesson: Lesson) -> None:
    """Let the new trees read categories by the parent's codes: the new rows may lack some."""
    coded, known = parent._preprocess_X(lesson.matrix, reset=False), parent._bin_mapper.known_categories
    for name in ("is_categorical_", "_preprocessor", "_is_categorical_remapped", "n_features_in_"):
        setattr(more, name, getattr(parent, name))
    more._preprocess_X = lambda _matrix, *, reset: (coded, known)  # noqa: ARG005


def _model(settings: GradientBoosting, lesson: Lesson, **stopping: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    coded = lesson.categorical
    arguments = {
        "learning_rate": float(settings.learning_rate),
        "max_leaf_nodes": settings.leaves,
        "min_samples_leaf": settings.leaf_rows * lesson.copies,
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
