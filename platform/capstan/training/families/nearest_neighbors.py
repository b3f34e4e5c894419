"""Nearest neighbours, in scikit-learn's KDTree."""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.spec.families import CLASSES, NearestNeighbors
from capstan.training.families.family import Choice, Fitted, Part, SearchSpace, around
from capstan.training.families.scaling import Scale
from capstan.training.families.thinning import thinned
from capstan.training.lesson import Lesson


class NearestNeighborsFamily:
    """Distances are of columns that are made alike; codes of categories are taken as numbers."""

    settings = NearestNeighbors
    uses: frozenset[Part] = frozenset()

    def fit(self, settings: NearestNeighbors, lesson: Lesson) -> Fitted:
        from capstan.training.fitted.neighbors import NeighborsOfClasses, NeighborsOfNumbers

        lesson = thinned(lesson, settings.rows, "nearestNeighbors")
        scale = Scale.of(lesson.matrix)
        shared: dict[str, Any] = {
            "rows": scale(lesson.matrix),
            "center": scale.center,
            "spread": scale.spread,
            "neighbors": min(settings.neighbors, len(lesson.truth)),
            "by_distance": settings.voting == "Distance",
        }
        if lesson.label in CLASSES:
            classes, labels = np.unique(lesson.truth, return_inverse=True)
            shares = np.bincount(labels.reshape(-1)) / len(labels)
            return NeighborsOfClasses(classes=classes, labels=labels.reshape(-1), shares=shares, **shared)
        return NeighborsOfNumbers(labels=lesson.truth.astype(np.float64), **shared)

    def search_space(self, settings: NearestNeighbors) -> SearchSpace:
        return SearchSpace(
            (
                around("neighbors", settings.neighbors, factor=4, most=1000),
                Choice("voting", settings.voting, ("Equal", "Distance")),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )
