"""Groups of rows that are judged one by one: the slices of a gate, the groups of a question of fairness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.evaluation.slices import texts_of


@dataclass(frozen=True)
class Grouping:
    """Into which groups rows are put, and what becomes of a group that says too little."""

    names: Sequence[str]
    """Of the columns together, as in `sex, race`."""
    of_rows: npt.NDArray[np.str_]
    """(n,): the group of each row."""
    least_rows: int
    leaves_out: bool
    """Whether a group without enough evidence is told and left out; else nothing passes."""
    only: Sequence[str] = ()
    """The groups that count, there or not; empty: all that are there."""

    @property
    def title(self) -> str:
        return ", ".join(self.names)

    @property
    def judged(self) -> list[str]:
        """The groups that count, the largest first."""
        found, counts = np.unique(self.of_rows, return_counts=True)
        if self.only:
            return list(dict.fromkeys(self.only))
        return [str(found[at]) for at in np.argsort(-counts, kind="stable")]


def group_by(
    columns: Mapping[str, Sequence[Any]], *, least_rows: int, leaves_out: bool, only: Sequence[str] = ()
) -> Grouping:
    """Groups of rows that agree in all the columns; a missing value is a value."""
    texts = [texts_of(values) for values in columns.values()]
    joined = [", ".join(row) for row in zip(*texts, strict=True)]
    return Grouping(tuple(columns), np.array(joined, dtype=np.str_), least_rows, leaves_out, only)
