"""Where a search of boosted trees looks."""

from __future__ import annotations

from capstan.spec.families import GradientBoosting, LambdaMart
from capstan.training.families.family import Dimension, SearchSpace


def boosting_space(settings: GradientBoosting | LambdaMart) -> SearchSpace:
    """Step, number and size of the trees, around what is written."""
    rate, trees, leaves = float(settings.learning_rate), settings.iterations, settings.leaves
    dimensions: tuple[Dimension, ...] = (
        Dimension("learningRate", rate, rate / 3, min(1.0, rate * 3), is_logarithmic=True),
        Dimension("iterations", trees, max(1, trees // 2), trees * 2),
        Dimension("leaves", leaves, max(2, leaves // 2), leaves * 2, is_logarithmic=True),
    )
    if isinstance(settings, GradientBoosting) and settings.early_stopping is not None:
        # The newest rows say how many.
        dimensions = (dimensions[0], dimensions[2])
    return SearchSpace(dimensions, settings.tune.trials if settings.tune is not None else 0)
