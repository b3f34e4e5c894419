"""Candidates that are made of other candidates of the file: voting, bagging (Breiman 1996), stacking (Wolpert 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.spec.families import CLASSES, Bagging, Stacking, Voting
from capstan.tasks.labels import LABELS
from capstan.tasks.metric import Floats
from capstan.training.families.family import NOTHING_TO_SEARCH, Fitted, Part, SearchSpace, around
from capstan.training.lesson import Lesson


def _voting(members: Sequence[Any], weights: Sequence[float], lesson: Lesson) -> Fitted:
    from capstan.training.fitted.ensemble import VotingOfClasses, VotingOfNumbers

    shares = np.asarray(weights, dtype=np.float64) / sum(weights)
    if lesson.label in CLASSES:
        return VotingOfClasses(np.unique(lesson.truth), members, shares)
    return VotingOfNumbers(members, shares)


class VotingFamily:
    """The mean of what several candidates say, each fitted as written."""

    settings = Voting
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: Voting, lesson: Lesson) -> Fitted:
        members = [lesson.candidates[name](lesson) for name in settings.of]
        return _voting(members, settings.weights or [1.0] * len(members), lesson)

    def search_space(self, settings: Voting) -> SearchSpace:  # noqa: ARG002
        return NOTHING_TO_SEARCH


class BaggingFamily:
    """The mean of one candidate fitted many times, each time to rows that are drawn with replacement."""

    settings = Bagging
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: Bagging, lesson: Lesson) -> Fitted:
        rng = np.random.default_rng(lesson.seed)
        members = []
        for number in range(settings.members):
            drawn = replace(_drawn(lesson, settings.row_share, rng), seed=lesson.seed + number)
            members.append(lesson.candidates[settings.of](drawn))
        return _voting(members, [1.0] * len(members), lesson)

    def search_space(self, settings: Bagging) -> SearchSpace:
        return SearchSpace((around("rowShare", float(settings.row_share), factor=3, most=1.0),))


def _drawn(lesson: Lesson, share: float, rng: np.random.Generator) -> Lesson:
    """Rows that may come several times, in the order of time; whole groups, each copy a group of its own."""
    if lesson.groups is None:
        rows = len(lesson.truth)
        return lesson.chosen(np.sort(rng.integers(0, rows, max(1, round(share * rows)))))
    order = np.argsort(lesson.groups, kind="stable")
    begins = np.flatnonzero(np.r_[True, np.diff(lesson.groups[order]) != 0])
    members = np.split(order, begins[1:])
    taken = np.sort(rng.integers(0, len(members), max(1, round(share * len(members)))))
    drawn = lesson.chosen(np.concatenate([members[group] for group in taken]))
    return replace(drawn, groups=np.repeat(np.arange(len(taken)), [len(members[group]) for group in taken]))


class StackingFamily:
    """A last model that learns from what the members say of rows that they had not learnt from.

    These rows come later than those that a member has learnt: each of `folds` parts of the rows is answered by members
    that know the parts before it alone, as in service. The members of the model itself learn from all rows.
    """

    settings = Stacking
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: Stacking, lesson: Lesson) -> Fitted:
        from capstan.training.fitted.ensemble import StackOfClasses, StackOfNumbers

        classes = np.unique(lesson.truth)
        answered = [
            (later, self._said(settings, older, later, classes, fold))
            for fold, (older, later) in enumerate(_folds(lesson, settings.folds), 1)
        ]
        begin = len(lesson.truth) - sum(len(later.truth) for later, _ in answered)
        last = replace(
            lesson.chosen(slice(begin, None)),
            matrix=np.concatenate([said for _, said in answered]),
            categorical=None,
            coded=None,
        )
        if (labels := LABELS[last.label].tally(last.truth)).is_constant:
            raise InvalidDataError(
                f"stacking: the newest {len(last.truth):,} of {len(lesson.truth):,} rows, which the last model learns "
                f"from, have the labels {labels.words}; take more `folds`, or train on more rows"
            )
        final = self._final(settings, last)
        members = [lesson.candidates[name](lesson) for name in settings.of]
        if lesson.label in CLASSES:
            return StackOfClasses(classes, members, final)
        return StackOfNumbers(members, final)

    def search_space(self, settings: Stacking) -> SearchSpace:  # noqa: ARG002
        return NOTHING_TO_SEARCH

    @staticmethod
    def _said(
        settings: Stacking, older: Lesson, later: Lesson, classes: npt.NDArray[Any], fold: int
    ) -> Floats:
        """What members that learnt the older rows say of the later ones, as the last model reads it."""
        from capstan.training.fitted.ensemble import as_columns_of_last, probabilities

        said = []
        for name in settings.of:
            try:
                model = older.candidates[name](older)
            except InvalidDataError as error:
                raise InvalidDataError(
                    f"stacking: {name} on the oldest {len(older.truth):,} rows (part {fold} of {settings.folds}): "
                    f"{error}; take fewer `folds`, or train on more rows"
                ) from error
            if older.label in CLASSES:
                said.append(probabilities(model, later.matrix, classes))
            else:
                said.append(np.asarray(model.predict(later.matrix), dtype=np.float64))
        if older.label in CLASSES:
            return as_columns_of_last(np.stack(said, axis=1))
        return np.column_stack(said)

    @staticmethod
    def _final(settings: Stacking, last: Lesson) -> Fitted:
        if settings.final is not None:
            fitted: Fitted = last.candidates[settings.final](last)
            return fitted
        from capstan.spec.families import LinearRegression, LogisticRegression
        from capstan.training.families.linear_regression import LinearRegressionFamily
        from capstan.training.families.logistic_regression import LogisticRegressionFamily

        if last.label in CLASSES:
            return LogisticRegressionFamily().fit(LogisticRegression(), last)
        return LinearRegressionFamily().fit(LinearRegression(), last)


def _folds(lesson: Lesson, folds: int) -> Iterator[tuple[Lesson, Lesson]]:
    """Of `folds` + 1 parts in the order of the rows, each but the first, with all before it; no group is parted."""
    rows = len(lesson.truth)
    ends = [lesson.group_begin(rows * part // (folds + 1)) for part in range(1, folds + 1)] + [rows]
    for begin, end in pairwise(ends):
        if begin == 0 or begin == end:
            raise InvalidDataError(
                f"stacking: {rows:,} rows are too few for {folds} parts; take fewer `folds`, or train on more rows"
            )
        yield lesson.chosen(slice(None, begin)), lesson.chosen(slice(begin, end))
