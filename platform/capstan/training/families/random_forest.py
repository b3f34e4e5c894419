"""Trees of drawn rows and columns, averaged (Breiman 2001), by scikit-learn."""

from __future__ import annotations

from capstan.spec.families import RandomForest
from capstan.training.families.family import Fitted, Part, SearchSpace, around
from capstan.training.families.grown_trees import grown, sizes
from capstan.training.lesson import Lesson


class RandomForestFamily:
    """Codes of categories are compared as numbers."""

    settings = RandomForest
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: RandomForest, lesson: Lesson) -> Fitted:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        arguments = {
            "n_estimators": settings.trees,
            "max_depth": settings.max_depth,
            "min_samples_leaf": settings.leaf_rows,
            # Of one column each tree chooses from that column, however small the share.
            "max_features": float(settings.column_share),
            "max_samples": None if settings.row_share == 1 else float(settings.row_share),
            "random_state": lesson.seed,
        }
        return grown(lesson, RandomForestClassifier(**arguments), RandomForestRegressor(**arguments))

    def search_space(self, settings: RandomForest) -> SearchSpace:
        return SearchSpace(
            (
                *sizes(settings.max_depth, settings.leaf_rows),
                around("columnShare", float(settings.column_share), factor=3, most=1.0),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )
