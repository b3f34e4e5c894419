"""What a family learns from: the matrix of the features with everything that is known about its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.spec.balance import Balance
from capstan.spec.tasks import USUAL_FLAGGED_SHARE, LabelKind
from capstan.tasks import Task
from capstan.tasks.metric import Floats, Groups, Truth, numbered


@dataclass(frozen=True)
class Rows:
    """Labelled rows after the transform."""

    matrix: Floats
    """(n, outputs of the transform), all finite."""
    truth: Truth
    groups: Groups | None = None
    """None: rows belong to no group."""
    weights: Floats | None = None
    """(n,); None: all rows count alike."""

    def chosen(self, rows: Any) -> Self:
        """Those rows alone, by a slice, by their numbers or by a mask; a row may come twice."""
        return replace(
            self,
            matrix=self.matrix[rows],
            truth=self.truth[rows],
            groups=None if self.groups is None else numbered(self.groups[rows]),
            weights=None if self.weights is None else self.weights[rows],
        )


@dataclass(frozen=True)
class Lesson(Rows):
    """Training rows, and what else a family may make use of."""

    label: LabelKind = "Boolean"
    """What the truth is; it decides which estimator a family makes."""
    task: Task | None = None
    """What the model's answers are judged by; None: the first task with such labels."""
    categorical: npt.NDArray[np.bool_] | None = None
    """(outputs of the transform,): which columns are codes of categories. None: none is."""
    coded: npt.NDArray[np.bool_] | None = None
    """The same with codes of more categories than trees can split as such. None: as `categorical` says."""
    images: Mapping[str, tuple[int, tuple[int, int, int]]] = field(default_factory=dict)
    """Feature -> the first of the columns that are its pixels, and their channels, height and width."""
    seed: int = 0
    validation: Rows | None = None
    """Later rows, for a family that stops early by them; None where it learns from all there are."""
    parent: Any | None = None
    """The fitted model that goes on with these rows, of the same family and columns; None: a model of these alone."""
    rounds: int | None = None
    """With a parent: how many more trees or passes; None: as many as the family takes by itself."""
    copies: int = 1
    """How many rows stand for one: one for each class where a teacher's probabilities are learnt."""
    flagged_share: float = USUAL_FLAGGED_SHARE
    """Which share of these rows is to be flagged as unusual, for a family that finds such."""
    candidates: Mapping[str, Callable[[Lesson], Any]] = field(default_factory=dict)
    """What fits another candidate of the file, by its name: an ensemble is made of some."""

    balance: Balance | None = None
    """What a family's rows are to become; ensembles leave it to their members."""
    unbalanced: Lesson | None = None
    """The rows as they came, where these are balanced."""

    def without_newest(self, share: float) -> tuple[Lesson, Lesson]:
        """The older rows, and the newest ones that are so large a share of all; a group is not parted.

        Of balanced rows the older ones are balanced and the newest are as they came, with weights that make up for it:
        none that is made of a newest row is learnt from. Raises InvalidDataError where the newest rows have a class
        that no older row has.
        """
        if self.unbalanced is not None:
            return self._balanced_without_newest(self.unbalanced, share)
        begin = self.group_begin(min(len(self.truth) - 1, int(len(self.truth) * (1 - share))))
        older, newest = self.chosen(slice(None, begin)), self.chosen(slice(begin, None))
        unseen = sorted(set(np.unique(newest.truth).tolist()) - set(np.unique(older.truth).tolist()))
        if begin == 0 or (self.label in ("Boolean", "Category") and unseen):
            lacking = f"none has the class {unseen[0]!r}" if begin and unseen else "there is none"
            raise InvalidDataError(
                f"earlyStopping: of the rows before the newest {share:.0%} {lacking}; take a smaller share, or drop "
                "earlyStopping"
            )
        return older, newest

    @staticmethod
    def _balanced_without_newest(natural: Lesson, share: float) -> tuple[Lesson, Lesson]:
        from capstan.training.balancing import balanced, planned

        older, newest = natural.without_newest(share)
        assert natural.balance is not None
        plan = planned(older.truth, natural.balance)
        weights = 1 / plan.factors[np.searchsorted(plan.classes, newest.truth)]
        given = 1.0 if newest.weights is None else newest.weights
        return balanced(older), replace(newest, weights=weights * given)

    def group_begin(self, row: int) -> int:
        """The row where the group of this one begins; the row itself without groups."""
        while (
            self.groups is not None
            and 0 < row < len(self.groups)
            and self.groups[row] == self.groups[row - 1]
        ):
            row -= 1
        return row
