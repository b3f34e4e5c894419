"""What families of scikit-learn's trees share: how a lesson grows them, and how large they may become."""

from __future__ import annotations

from typing import Any

from capstan.spec.families import CLASSES
from capstan.training.families.family import Dimension, Fitted, around
from capstan.training.lesson import Lesson


def grown(lesson: Lesson, classifier: Any, regressor: Any) -> Fitted:
    """One of the two, by the lesson's label, fitted and in its saved form."""
    from capstan.training.fitted.forest import TreesOfClasses, TreesOfNumbers

    of_classes = lesson.label in CLASSES
    chosen = classifier if of_classes else regressor
    fitted = chosen.fit(lesson.matrix, lesson.truth, sample_weight=lesson.weights)
    return TreesOfClasses(fitted) if of_classes else TreesOfNumbers(fitted)


def sizes(max_depth: int, leaf_rows: int) -> tuple[Dimension, ...]:
    """Settings that a search draws of each of them."""
    return around("maxDepth", max_depth, factor=2, most=64), around("leafRows", leaf_rows, factor=4)
