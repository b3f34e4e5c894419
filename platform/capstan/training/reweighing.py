"""Weights of training rows that make group and label independent, so that a model does not learn one from the other.

A row of group g and label y weighs P(g) P(y) / P(g, y): it counts as often as if neither told anything of the other
(Kamiran & Calders 2012, "Data preprocessing techniques for classification without discrimination"). Each group keeps
its total weight, and each label too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from capstan.tasks.metric import Floats, Truth

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_TOLD = 5


@dataclass(frozen=True)
class Reweighed:
    """The weights, and what they can't mend."""

    weights: Floats
    """(n,), mean 1."""
    notes: tuple[str, ...] = ()


def reweigh(table: pa.Table, by: Sequence[str], truth: Truth, given: Floats | None = None) -> Reweighed:
    """Weights of the rows, whose groups are the values of the columns `by` together; a missing value is one.

    `given`: what each row counts already, as rows of a sample do; the weights are multiplied with it.
    """
    texts = [
        np.array(["(missing)" if one is None else str(one) for one in table[name].to_pylist()]) for name in by
    ]
    joined = np.array([", ".join(row) for row in zip(*texts, strict=True)], dtype=np.str_)
    groups, group = np.unique(joined, return_inverse=True)
    labels, label = np.unique(truth, return_inverse=True)
    cell = group.reshape(-1) * len(labels) + label.reshape(-1)
    counts = np.bincount(cell, weights=given, minlength=len(groups) * len(labels))
    counts = counts.reshape(len(groups), len(labels))
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(1.0, float(counts.sum()))
    weights = np.divide(expected, counts, out=np.zeros_like(expected), where=counts > 0)
    # Where a group lacks a label nothing can stand for it; the rest is scaled to a mean of 1.
    found = weights.reshape(-1)[cell] * (1.0 if given is None else given)
    lacking = [str(name) for name, row in zip(groups, counts, strict=True) if not row.all()]
    told = ", ".join(lacking[:_MOST_TOLD]) + (
        f" and {len(lacking) - _MOST_TOLD} more" if len(lacking) > _MOST_TOLD else ""
    )
    notes = [f"reweighing by {', '.join(by)} can't mend groups that lack a label: {told}"] if lacking else []
    return Reweighed(found / found.mean() if len(found) else found, tuple(notes))
