"""Centres of clusters (Lloyd 1982, begun as by Arthur & Vassilvitskii 2007), by scikit-learn."""

from __future__ import annotations

import numpy as np

from capstan.spec.families import KMeans
from capstan.training.families.family import Fitted, Part, SearchSpace, around
from capstan.training.families.scaling import Scale
from capstan.training.lesson import Lesson

_STARTS = 10
"""The best of so many starts is kept: one alone often ends with two centres in one cluster."""


class KMeansFamily:
    """Looks at rows alone, never at labels. Distances are of columns that are made alike."""

    settings = KMeans
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: KMeans, lesson: Lesson) -> Fitted:
        from sklearn.cluster import KMeans as Centres

        from capstan.training.fitted.clusters import NearestCentre

        scale = Scale.of(lesson.matrix)
        rows = scale(lesson.matrix)
        model = Centres(
            n_clusters=min(settings.clusters, len(rows)), n_init=_STARTS, random_state=lesson.seed
        ).fit(rows, sample_weight=lesson.weights)
        weights = np.bincount(model.labels_, weights=lesson.weights, minlength=len(model.cluster_centers_))
        # The largest is cluster 1. A centre without a row is the copy of another one.
        order = [at for at in np.argsort(-weights, kind="stable") if weights[at] > 0]
        return NearestCentre(model.cluster_centers_[order], scale.center, scale.spread)

    def search_space(self, settings: KMeans) -> SearchSpace:
        return SearchSpace(
            (around("clusters", settings.clusters, factor=3, least=2, most=200),),
            settings.tune.trials if settings.tune is not None else 0,
        )
