"""Emptiness around a row (Breunig et al. 2000), by scikit-learn."""

from __future__ import annotations

from capstan.spec.families import LocalOutlierFactor
from capstan.training.families.family import NOTHING_TO_SEARCH, Fitted, Part, SearchSpace
from capstan.training.families.scaling import Scale
from capstan.training.families.thinning import thinned
from capstan.training.lesson import Lesson


class LocalOutlierFactorFamily:
    """Looks at rows alone, never at labels. Distances are of columns that are made alike."""

    settings = LocalOutlierFactor
    uses: frozenset[Part] = frozenset()

    def fit(self, settings: LocalOutlierFactor, lesson: Lesson) -> Fitted:
        from sklearn.neighbors import LocalOutlierFactor as Neighbors

        from capstan.training.fitted.anomalies import Emptiness

        lesson = thinned(lesson, settings.rows, "localOutlierFactor")
        scale = Scale.of(lesson.matrix)
        # A tree counts its questions, so that no two have the same bytes.
        model = Neighbors(
            n_neighbors=min(settings.neighbors, len(lesson.matrix) - 1),
            novelty=True,
            contamination=lesson.flagged_share,
            algorithm="brute",
        )
        return Emptiness(model.fit(scale(lesson.matrix)), scale.center, scale.spread)

    def search_space(self, settings: LocalOutlierFactor) -> SearchSpace:  # noqa: ARG002 — nothing judges without labels
        return NOTHING_TO_SEARCH
