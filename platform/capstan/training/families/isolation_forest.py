"""Trees of random questions (Liu, Ting & Zhou 2008), by scikit-learn."""

from __future__ import annotations

from capstan.spec.families import IsolationForest
from capstan.training.families.family import NOTHING_TO_SEARCH, Fitted, Part, SearchSpace
from capstan.training.lesson import Lesson


class IsolationForestFamily:
    """Looks at rows alone, never at labels. The threshold is set so that the task's share of these rows is flagged."""

    settings = IsolationForest
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: IsolationForest, lesson: Lesson) -> Fitted:
        from sklearn.ensemble import IsolationForest as Forest

        from capstan.training.fitted.anomalies import Isolation
        from capstan.training.fitted.forest import as_compared

        forest = Forest(
            n_estimators=settings.trees,
            max_samples=min(settings.tree_rows, len(lesson.matrix)),
            contamination=lesson.flagged_share,
            random_state=lesson.seed,
        )
        return Isolation(forest.fit(as_compared(lesson.matrix), sample_weight=lesson.weights))

    def search_space(self, settings: IsolationForest) -> SearchSpace:  # noqa: ARG002 — nothing judges without labels
        return NOTHING_TO_SEARCH
