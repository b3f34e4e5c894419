"""A small model that learns what a large one answers (Hinton, Vinyals & Dean 2015)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from capstan.spec.families import CLASSES, Distil
from capstan.training.families.family import NOTHING_TO_SEARCH, Fitted, Part, SearchSpace
from capstan.training.lesson import Lesson

_LEAST_SHARE = 1e-12
"""Of a class that the teacher rules out: libraries leave out rows that weigh nothing, and each has all its copies."""


class DistilFamily:
    """The student alone: it was taught by a teacher that learnt the same rows."""

    settings = Distil
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: Distil, lesson: Lesson) -> Fitted:
        teacher = lesson.candidates[settings.of](lesson)
        student: Fitted = lesson.candidates[settings.into](
            taught(lesson, teacher, float(settings.label_share))
        )
        return student

    def search_space(self, settings: Distil) -> SearchSpace:  # noqa: ARG002
        return NOTHING_TO_SEARCH


def taught(lesson: Lesson, teacher: Fitted, label_share: float) -> Lesson:
    """The rows with what the teacher says of them, and with so large a share of their labels.

    A number takes the label's place. Of classes each row comes once for each, weighed by its probability: whoever
    minimises cross-entropy over such rows minimises that between the teacher's answers and its own. Such rows are not
    balanced by class: the teacher's were.
    """
    lesson = replace(lesson, balance=None)
    if lesson.label not in CLASSES:
        said = np.asarray(teacher.predict(lesson.matrix), dtype=np.float64)
        return replace(
            lesson, truth=(1 - label_share) * said + label_share * np.asarray(lesson.truth, np.float64)
        )
    from capstan.training.fitted.ensemble import probabilities

    classes = np.unique(lesson.truth)
    shares = (1 - label_share) * probabilities(teacher, lesson.matrix, classes)
    rows = len(lesson.truth)
    shares[np.arange(rows), np.searchsorted(classes, lesson.truth)] += label_share
    copied = lesson.chosen(np.repeat(np.arange(rows), len(classes)))
    weights = np.maximum(shares, _LEAST_SHARE).reshape(-1)
    return replace(
        copied,
        truth=np.tile(classes, rows),
        weights=weights if copied.weights is None else weights * copied.weights,
        copies=len(classes) * lesson.copies,
    )
