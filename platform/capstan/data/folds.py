"""Which rows learn and which judge in each fold of a cross-validation, by scikit-learn's splitters.

Rows that must not be parted are one unit: those that are alike, those of one group, those of one moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from capstan.data.split import Indices
from capstan.errors import InvalidDataError

Kind = Literal["byTime", "random", "stratified", "group"]
NOT_JUDGED = -1
"""In place of a fold: a row that only learns, as the oldest ones do where folds follow each other in time."""
LEFT_OUT = -2
"""In place of a fold: a row of the test, which neither learns nor judges here."""


@dataclass(frozen=True)
class Folds:
    """The fold of each row in which it judges."""

    of_rows: npt.NDArray[np.int8]
    """(n,): 0, 1, ...; NOT_JUDGED or LEFT_OUT."""
    is_forward: bool
    """Whether only the folds before a fold learn for it; else all others do."""

    @property
    def count(self) -> int:
        return int(self.of_rows.max()) + 1

    def __iter__(self) -> Iterator[tuple[Indices, Indices]]:
        """The rows that learn and those that judge, fold by fold."""
        inside = self.of_rows != LEFT_OUT
        for fold in range(self.count):
            learns = self.of_rows < fold if self.is_forward else self.of_rows != fold
            yield np.flatnonzero(inside & learns), np.flatnonzero(self.of_rows == fold)


def fold(
    kind: Kind,
    count: int,
    rows: Indices,
    *,
    of: int,
    units: npt.NDArray[Any],
    labels: npt.NDArray[Any] | None,
    seed: int,
) -> Folds:
    """`count` folds of these row numbers, out of a table `of` so many rows.

    `units` says of each of `rows` which must stay with it (of `byTime`: its moment), `labels` its class; None: labels
    are no classes. `random` is KFold, `stratified` StratifiedKFold, `group` GroupKFold (of classes
    StratifiedGroupKFold), `byTime` TimeSeriesSplit. Raises InvalidDataError for fewer units than folds.
    """
    from sklearn.model_selection import (
        GroupKFold,
        KFold,
        StratifiedGroupKFold,
        StratifiedKFold,
        TimeSeriesSplit,
    )

    names, first, unit = np.unique(units, return_index=True, return_inverse=True)
    unit = unit.reshape(-1)
    needed = count + 1 if kind == "byTime" else count
    if len(names) < needed:
        what = {"byTime": "moments", "group": "groups"}.get(kind, "rows that differ")
        raise InvalidDataError(
            f"training.choose.folds: {count} folds need {needed} {what}, and training and validation have "
            f"{len(names):,}; write fewer folds, or train on more rows"
        )
    if kind == "group":
        drawn = (
            GroupKFold(count).split(unit, groups=unit)
            if labels is None
            else StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(unit, labels, groups=unit)
        )
        of_rows = _numbered(drawn, len(rows))
    else:
        splitter: Any = {
            "byTime": lambda: TimeSeriesSplit(count),
            "random": lambda: KFold(count, shuffle=True, random_state=seed),
            "stratified": lambda: StratifiedKFold(count, shuffle=True, random_state=seed),
        }[kind]()
        classes = labels[first] if kind == "stratified" and labels is not None else None
        of_rows = _numbered(_quietly(splitter, names, classes, count), len(names))[unit]
    found = np.full(of, LEFT_OUT, dtype=np.int8)
    found[rows] = of_rows
    return Folds(found, kind == "byTime")


def _quietly(
    splitter: Any, names: npt.NDArray[Any], classes: npt.NDArray[Any] | None, count: int
) -> Iterator[Any]:
    import warnings

    with warnings.catch_warnings():
        # That a class has fewer rows than there are folds is told by who knows the part's labels.
        warnings.simplefilter("ignore", UserWarning)
        try:
            yield from splitter.split(np.zeros(len(names)), classes)
        except ValueError:
            raise InvalidDataError(
                f"training.choose.folds: no class has {count} rows that differ, one for each fold; write fewer folds, "
                "or train on more rows"
            ) from None


def _numbered(drawn: Iterator[Any], rows: int) -> npt.NDArray[np.int8]:
    found = np.full(rows, NOT_JUDGED, dtype=np.int8)
    for number, (_, judged) in enumerate(drawn):
        found[judged] = number
    return found
