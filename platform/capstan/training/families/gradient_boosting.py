"""Boosted trees, by scikit-learn's histograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capstan.spec.tasks import LabelKind
from capstan.spec.training import GradientBoosting
from capstan.training.families.family import Dimension, EstimatorFamily, Make, SearchSpace
from capstan.training.lesson import Lesson


def _arguments(settings: GradientBoosting, lesson: Lesson) -> dict[str, Any]:
    coded = lesson.categorical
    return {
        "learning_rate": float(settings.learning_rate),
        "max_iter": settings.iterations,
        "max_leaf_nodes": settings.leaves,
        "categorical_features": coded if coded is not None and coded.any() else None,
        # Stopping early would hold back a random tenth of the newest rows.
        "early_stopping": False,
        "random_state": lesson.seed,
    }


def _classifier(settings: GradientBoosting, lesson: Lesson) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(**_arguments(settings, lesson))


def _regressor(settings: GradientBoosting, lesson: Lesson) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    learnt = _arguments(settings, lesson)
    if settings.quantile is not None:
        learnt |= {"loss": "quantile", "quantile": float(settings.quantile)}
    return HistGradientBoostingRegressor(**learnt)


class GradientBoostingFamily(EstimatorFamily[GradientBoosting]):
    """Codes of categories are split as categories."""

    settings = GradientBoosting
    makes: Mapping[LabelKind, Make[GradientBoosting]] = {
        "Boolean": _classifier,
        "Category": _classifier,
        "Number": _regressor,
        "Relevance": _regressor,
    }

    def search_space(self, settings: GradientBoosting) -> SearchSpace:
        rate, trees, leaves = float(settings.learning_rate), settings.iterations, settings.leaves
        return SearchSpace(
            (
                Dimension("learningRate", rate, rate / 3, min(1.0, rate * 3), is_logarithmic=True),
                Dimension("iterations", trees, max(1, trees // 2), trees * 2),
                Dimension("leaves", leaves, max(2, leaves // 2), leaves * 2, is_logarithmic=True),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )
