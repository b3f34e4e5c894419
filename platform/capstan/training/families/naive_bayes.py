"""Naive Bayes, by scikit-learn for numbers and by counting for categories."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capstan.spec.families import NaiveBayes
from capstan.tasks.metric import Floats
from capstan.training.families.family import Dimension, Fitted, Part, SearchSpace
from capstan.training.families.scaling import Scale
from capstan.training.lesson import Lesson


class NaiveBayesFamily:
    """Numbers within a class are taken to be normal, and each code of a category has its share of the class' rows."""

    settings = NaiveBayes
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: NaiveBayes, lesson: Lesson) -> Fitted:
        from capstan.training.fitted import naive_bayes as fitted

        classes, of_row = np.unique(lesson.truth, return_inverse=True)
        of_row = of_row.reshape(-1)
        coded = (
            np.zeros(lesson.matrix.shape[1], dtype=bool) if lesson.categorical is None else lesson.categorical
        )
        weights = np.ones(len(of_row)) if lesson.weights is None else lesson.weights
        sizes = np.bincount(of_row, weights=weights)
        means, variances = _normal(settings, lesson, coded)
        start = np.log(sizes / sizes.sum()) - 0.5 * np.log(2 * np.pi * variances).sum(axis=1)
        return fitted.NaiveBayes(
            classes,
            start,
            np.flatnonzero(~coded),
            means,
            variances,
            np.flatnonzero(coded),
            [_shares(column, of_row, weights, len(classes)) for column in lesson.matrix[:, coded].T],
        )

    def search_space(self, settings: NaiveBayes) -> SearchSpace:
        return SearchSpace(
            (Dimension("smoothing", float(settings.smoothing), 1e-12, 1.0, is_logarithmic=True),)
        )


def _normal(settings: NaiveBayes, lesson: Lesson, coded: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean and variance of each class and number, smoothed by a share of the column's own variance."""
    from sklearn.naive_bayes import GaussianNB

    if coded.all():
        nothing = np.empty((len(np.unique(lesson.truth)), 0))
        return nothing, nothing
    scale = Scale.of(lesson.matrix[:, ~coded])
    model = GaussianNB(var_smoothing=0.0)
    model.fit(scale(lesson.matrix[:, ~coded]), lesson.truth, sample_weight=lesson.weights)
    variances = model.var_ + float(settings.smoothing)
    return model.theta_ * scale.spread + scale.center, variances * scale.spread**2


def _shares(column: Floats, of_row: npt.NDArray[np.int64], weights: Floats, classes: int) -> Floats:
    """As `NaiveBayes.shares`; one row more of each code, so that none is impossible (Laplace)."""
    codes = column.astype(np.int64)
    known = int(codes.max()) + 1
    counts = np.ones((known, classes))
    np.add.at(counts, (np.maximum(codes, 0), of_row), weights)
    return np.vstack([np.log(counts / counts.sum(axis=0)), np.zeros(classes)])
