"""One tree of questions, by scikit-learn."""

from __future__ import annotations

from capstan.spec.families import DecisionTree
from capstan.training.families.family import Fitted, Part, SearchSpace
from capstan.training.families.grown_trees import grown, sizes
from capstan.training.lesson import Lesson


class DecisionTreeFamily:
    """Codes of categories are compared as numbers."""

    settings = DecisionTree
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: DecisionTree, lesson: Lesson) -> Fitted:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        arguments = {
            "max_depth": settings.max_depth,
            "min_samples_leaf": settings.leaf_rows * lesson.copies,
            "ccp_alpha": float(settings.pruning),
            "random_state": lesson.seed,
        }
        return grown(lesson, DecisionTreeClassifier(**arguments), DecisionTreeRegressor(**arguments))

    def search_space(self, settings: DecisionTree) -> SearchSpace:
        return SearchSpace(
            sizes(settings.max_depth, settings.leaf_rows),
            settings.tune.trials if settings.tune is not None else 0,
        )
