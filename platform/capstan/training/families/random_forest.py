"""Trees of drawn rows and columns, averaged (Breiman 2001), by scikit-learn."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from capstan.spec.families import CLASSES, RandomForest
from capstan.training.families.family import Fitted, Part, SearchSpace, around
from capstan.training.families.going_on import more_rounds, require_classes, require_kind
from capstan.training.families.grown_trees import grown, sizes
from capstan.training.lesson import Lesson


class RandomForestFamily:
    """Codes of categories are compared as numbers."""

    settings = RandomForest
    uses: frozenset[Part] = frozenset({"weights", "parent"})

    def fit(self, settings: RandomForest, lesson: Lesson) -> Fitted:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        if lesson.parent is not None:
            return self._with_more_trees(settings, lesson)
        arguments = {
            "n_estimators": settings.trees,
            "max_depth": settings.max_depth,
            "min_samples_leaf": settings.leaf_rows * lesson.copies,
            # Of one column each tree chooses from that column, however small the share.
            "max_features": float(settings.column_share),
            "max_samples": None if settings.row_share == 1 else float(settings.row_share),
            "ccp_alpha": float(settings.pruning),
            "random_state": lesson.seed,
        }
        return grown(lesson, RandomForestClassifier(**arguments), RandomForestRegressor(**arguments))

    def _with_more_trees(self, settings: RandomForest, lesson: Lesson) -> Fitted:
        """The parent's trees, and trees of these rows beside them; each counts alike."""
        from capstan.training.fitted.forest import TreesOfClasses, TreesOfNumbers

        of_classes = lesson.label in CLASSES
        parent: Any = lesson.parent
        made = TreesOfClasses if of_classes else TreesOfNumbers
        require_kind(parent, made, columns=lesson.matrix.shape[1], inner="model")
        if of_classes:
            require_classes(lesson, among=parent.classes_, all_of_them=True)
        more: Any = self.fit(
            settings.model_copy(update={"trees": more_rounds(lesson, settings.trees // 5)}),
            replace(lesson, parent=None, rounds=None),
        )
        whole: Any = copy.copy(parent.model)
        whole.estimators_ = [*parent.model.estimators_, *more.model.estimators_]
        whole.set_params(n_estimators=len(whole.estimators_))
        return made(whole)

    def search_space(self, settings: RandomForest) -> SearchSpace:
        return SearchSpace(
            (
                *sizes(settings.max_depth, settings.leaf_rows),
                around("columnShare", float(settings.column_share), factor=3, most=1.0),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )
