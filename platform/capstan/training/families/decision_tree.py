"""One tree of questions, by scikit-learn."""

from __future__ import annotations

from capstan.spec.families import CLASSES, DecisionTree
from capstan.training.families.family import Fitted, Part, SearchSpace, around
from capstan.training.lesson import Lesson


class DecisionTreeFamily:
    """Codes of categories are compared as numbers."""

    settings = DecisionTree
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: DecisionTree, lesson: Lesson) -> Fitted:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        from capstan.training.fitted.forest import TreesOfClasses, TreesOfNumbers

        arguments = {
            "max_depth": settings.max_depth,
            "min_samples_leaf": settings.leaf_rows,
            "ccp_alpha": float(settings.pruning),
            "random_state": lesson.seed,
        }
        if lesson.label in CLASSES:
            classifier = DecisionTreeClassifier(**arguments)
            return TreesOfClasses(classifier.fit(lesson.matrix, lesson.truth, sample_weight=lesson.weights))
        regressor = DecisionTreeRegressor(**arguments)
        return TreesOfNumbers(regressor.fit(lesson.matrix, lesson.truth, sample_weight=lesson.weights))

    def search_space(self, settings: DecisionTree) -> SearchSpace:
        return SearchSpace(
            (
                around("maxDepth", settings.max_depth, factor=2, most=64),
                around("leafRows", settings.leaf_rows, factor=4),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )
