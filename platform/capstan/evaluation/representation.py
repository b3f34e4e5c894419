"""Who the rows that a model learns from are of, and how often each group has which label, before and after weighing.

A share has its 95 % interval by Wilson (1927). Weighed shares have none: weights are no counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capstan.domain.verdicts.experiments import wilson
from capstan.evaluation.slices import MOST_VALUES
from capstan.evaluation.tables import Cell, table
from capstan.tasks.metric import Floats, Truth

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CLASSES = 5
"""Classes whose rates are shown, the most frequent first."""
LEAST_ROWS = 30
"""Rows from which on a group's rate is compared with those of others in words."""


@dataclass(frozen=True)
class Share:
    """A part of some rows."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, count: int, rows: int) -> Share:
        """With its 95 % interval."""
        return cls(count / rows, *wilson(count / rows, rows, alpha=0.05))

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


@dataclass(frozen=True)
class Group:
    """The rows of one group."""

    name: str
    rows: int
    share: Share
    """Of all rows."""
    rates: Mapping[str, Share]
    """Class -> its part of the group's rows; empty where labels are no classes."""
    mean: float | None
    """Mean label where labels are numbers."""
    weighed_share: float | None
    """Of all weights; None: rows are not weighed."""
    weighed_rates: Mapping[str, float]


def grouped(columns: pa.Table, truth: Truth | None, weights: Floats | None = None) -> list[Group]:
    """The groups by the columns together, the largest first; a missing value is one.

    `truth` are classes, true and false, or numbers; None: labels say nothing here.
    """
    names, codes = _groups(columns)
    total = len(codes)
    classes, label = _classes(truth)
    counts = np.bincount(codes, minlength=len(names))
    numbers = truth if truth is not None and not len(classes) else None
    sums = (
        None
        if numbers is None
        else np.bincount(codes, weights=numbers.astype(np.float64), minlength=len(names))
    )
    cells = _crossed(codes, label, len(names), len(classes), None)
    weighed = None if weights is None else _crossed(codes, label, len(names), len(classes), weights)
    found = []
    for at in np.argsort(-counts, kind="stable").tolist():
        rows = int(counts[at])
        of_weights = None if weighed is None else float(weighed[at].sum())
        found.append(
            Group(
                names[at],
                rows,
                Share.of(rows, total),
                {name: Share.of(int(cells[at, place]), rows) for place, name in enumerate(classes)},
                None if sums is None else float(sums[at] / rows),
                None if of_weights is None or weights is None else of_weights / float(weights.sum()),
                {name: float(weighed[at, place] / of_weights) for place, name in enumerate(classes)}
                if weighed is not None and of_weights
                else {},
            )
        )
    return found


def representation_table(
    columns: pa.Table, truth: Truth | None, weights: Floats | None = None
) -> dict[str, Any]:
    """For the report: a group a row."""
    groups = grouped(columns, truth, weights)
    shown = groups[:MOST_VALUES]
    classes = _shown_classes(groups)
    names = ["rows", "share of rows", *(f"{name}" for name in classes)]
    names += ["mean label"] * (bool(groups) and groups[0].mean is not None)
    names += [f"{name} reweighed" for name in ("share", *classes)] if weights is not None else []
    title = ", ".join(columns.column_names)
    notes = [*_told(groups, classes)]
    if len(groups) > len(shown):
        notes.append(f"The {len(shown)} largest of {len(groups):,} groups are shown.")
    return table(
        f"Groups in the data: {title}",
        (title, "rows and labels, with 95 % intervals by Wilson"),
        [group.name for group in shown],
        names,
        [_line(group, classes, weights is not None) for group in shown],
        notes=notes,
        whose="the rows before the test",
    )


def _line(group: Group, classes: Sequence[str], is_weighed: bool) -> list[Cell]:
    line: list[Cell] = [group.rows, str(group.share), *(str(group.rates[name]) for name in classes)]
    line += [] if group.mean is None else [group.mean]
    if is_weighed:
        rates = [group.weighed_rates.get(name) for name in classes]
        line += [None if one is None else f"{one:.1%}" for one in (group.weighed_share, *rates)]
    return line


def _shown_classes(groups: Sequence[Group]) -> list[str]:
    """Of true and false the first; else the most frequent."""
    names = list(groups[0].rates) if groups else []
    if set(names) <= {"true", "false"}:
        return ["true"] if names else []
    rows = {name: sum(group.rates[name].value * group.rows for group in groups) for name in names}
    return sorted(names, key=lambda name: -rows[name])[:MOST_CLASSES]


def _told(groups: Sequence[Group], classes: Sequence[str]) -> list[str]:
    """For each class the two groups that lie farthest apart, if their intervals do not meet."""
    able, told = [group for group in groups if group.rows >= LEAST_ROWS], []
    for name in classes if len(able) > 1 else ():
        top = max(able, key=lambda group: group.rates[name].value)
        bottom = min(able, key=lambda group: group.rates[name].value)
        if top.rates[name].low > bottom.rates[name].high:
            after = ""
            if top.weighed_share is not None:
                after = f"; reweighed {top.weighed_rates[name]:.1%} and {bottom.weighed_rates[name]:.1%}"
            told.append(
                f"The label is {name} in {top.rates[name].value:.1%} of {top.name} and in "
                f"{bottom.rates[name].value:.1%} of {bottom.name}{after}."
            )
    return told


def _groups(columns: pa.Table) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The names of the groups that are there, and the group of each row."""
    import pyarrow as arrow

    codes: npt.NDArray[np.int64] = np.zeros(columns.num_rows, dtype=np.int64)
    names = [""]
    for name in columns.column_names:
        coded = columns[name].combine_chunks().cast(arrow.string()).dictionary_encode()
        values = [*coded.dictionary.to_pylist(), "(missing)"]
        mine = coded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False).astype(np.int64)
        found, codes = np.unique(codes * len(values) + mine, return_inverse=True)
        codes = codes.reshape(-1)
        names = [
            ", ".join(filter(None, (names[one // len(values)], values[one % len(values)])))
            for one in found.tolist()
        ]
    return names, codes


def _classes(truth: Truth | None) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The names of the classes and the class of each row; none of numbers."""
    if truth is None or truth.dtype.kind == "f":
        return [], np.zeros(0, dtype=np.int64)
    if truth.dtype.kind == "b":
        return ["false", "true"], truth.astype(np.int64)
    found, places = np.unique(truth.astype(str), return_inverse=True)
    return found.tolist(), places.reshape(-1).astype(np.int64)


def _crossed(
    codes: npt.NDArray[np.int64],
    label: npt.NDArray[np.int64],
    groups: int,
    classes: int,
    weights: Floats | None,
) -> Floats:
    """(groups, classes): rows or weights; without classes one column of all."""
    wide = max(1, classes)
    cell = codes * wide + (label if classes else 0)
    return (
        np.bincount(cell, weights=weights, minlength=groups * wide).reshape(groups, wide).astype(np.float64)
    )
