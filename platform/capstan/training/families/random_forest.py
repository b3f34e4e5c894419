"""Trees of drawn rows and columns, averaged (Breiman 2001), by scikit-learn."""

from __future__ import annotations

from capstan.spec.families import CLASSES, RandomForest
from capstan.training.families.family import Fitted, Part, SearchSpace, around
from capstan.training.lesson import Lesson


class RandomForestFamily:
    """Codes of categories are compared as numbers."""

    settings = RandomForest
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: RandomForest, lesson: Lesson) -> Fitted:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        from capstan.training.fitted.forest import TreesOfClasses, TreesOfNumbers

        arguments = {
            "n_estimators": settings.trees,
            "max_depth": settings.max_depth,
            "min_samples_leaf": settings.leaf_rows,
            # Of one column each tree chooses from that column, however small the share.
            "max_features": float(settings.column_share),
            "max_samples": None if settings.row_share == 1 else float(settings.row_share),
            "random_state": lesson.seed,
        }
        if lesson.label in CLASSES:
            classifier = RandomForestClassifier(**arguments)
            return TreesOfClasses(classifier.fit(lesson.matrix, lesson.truth, sample_weight=lesson.weights))
        regressor = RandomForestRegressor(**arguments)
        return TreesOfNumbers(regressor.fit(lesson.matrix, lesson.truth, sample_weight=lesson.weights))

    def search_space(self, settings: RandomForest) -> SearchSpace:
        return SearchSpace(
            (
                around("maxDepth", settings.max_depth, factor=2, most=64),
                around("leafRows", settings.leaf_rows, factor=4),
                around("columnShare", float(settings.column_share), factor=3, most=1.0),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )
