"""Naive Bayes, by scikit-learn for numbers and by counting for categories."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.spec.families import NaiveBayes
from capstan.tasks.metric import Floats
from capstan.training.families.family import Dimension, Fitted, Part, SearchSpace
from capstan.training.families.going_on import require_classes, require_kind
from capstan.training.lesson import Lesson


class NaiveBayesFamily:
    """Numbers within a class are taken to be normal, and each code of a category has its share of the class' rows.

    What is counted of the rows stays in the model, so that one that goes on is the model of all rows.
    """

    settings = NaiveBayes
    uses: frozenset[Part] = frozenset({"weights", "parent"})

    def fit(self, settings: NaiveBayes, lesson: Lesson) -> Fitted:
        from capstan.training.fitted import naive_bayes as fitted

        parent = lesson.parent
        if parent is None:
            counted = _counted(lesson, np.unique(lesson.truth))
        else:
            require_kind(parent, fitted.NaiveBayes)
            before = getattr(parent, "counted", None)
            if before is None or before.columns != lesson.matrix.shape[1]:
                raise InvalidDataError(
                    "naiveBayes goes on from what was counted before, and the model carries no counts of these "
                    "columns; train once from all rows"
                )
            require_classes(lesson, among=parent.classes_)
            counted = before + _counted(lesson, parent.classes_, codes=before.codes)
        return fitted.NaiveBayes.of(counted, float(settings.smoothing))

    def search_space(self, settings: NaiveBayes) -> SearchSpace:
        return SearchSpace(
            (Dimension("smoothing", float(settings.smoothing), 1e-12, 1.0, is_logarithmic=True),)
        )


def _counted(lesson: Lesson, classes: npt.NDArray[Any], *, codes: npt.NDArray[np.int64] | None = None) -> Any:
    """What naive Bayes needs of these rows. `codes`: the columns that are codes; None: as the lesson says."""
    from capstan.training.fitted.naive_bayes import Counted, Spread

    if codes is None:
        codes = (
            np.flatnonzero(lesson.categorical)
            if lesson.categorical is not None
            else np.array([], dtype=np.int64)
        )
    is_number = ~np.isin(np.arange(lesson.matrix.shape[1]), codes)
    numbers, of_row = lesson.matrix[:, is_number], np.searchsorted(classes, lesson.truth)
    weights = np.ones(len(of_row)) if lesson.weights is None else lesson.weights
    of_class = [of_row == at for at in range(len(classes))]
    return Counted(
        classes,
        np.flatnonzero(is_number),
        codes,
        Spread.of(numbers, np.ones(len(numbers)), [np.ones(len(numbers), dtype=bool)]),
        Spread.of(numbers, weights, of_class),
        [_by_class(column, of_row, weights, len(classes)) for column in lesson.matrix[:, codes].T],
    )


def _by_class(column: Floats, of_row: npt.NDArray[np.int64], weights: Floats, classes: int) -> Floats:
    """(codes, classes): how much the rows of each weigh."""
    codes = column.astype(np.int64)
    counts = np.zeros((int(codes.max()) + 1, classes))
    np.add.at(counts, (np.maximum(codes, 0), of_row), weights)
    return counts
