"""Trees whose leaves are averaged: one decision tree, or a forest of them.

scikit-learn holds the trees and answers tables. It takes milliseconds for one row of a hundred trees, so one row
walks tuples instead: the same comparisons, and leaves added in the same order, so that the bits are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from capstan.training.fitted.answering import ClassModel, Floats, NumberModel

_LARGEST = float(np.finfo(np.float32).max)
"""scikit-learn's trees compare floats of 32 bits and refuse what is larger."""
_Node = tuple[int, Any, Any, Any]
"""Column, threshold and the nodes to the left and right; of a leaf -1 and its answer."""


def as_compared(matrix: Floats) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The numbers as scikit-learn's trees take them."""
    return np.clip(matrix, -_LARGEST, _LARGEST).astype(np.float32)


def _root(tree: Any) -> _Node:
    values = tree.value[:, 0, :]
    return walked_root(tree, values[:, 0].tolist() if values.shape[1] == 1 else values.tolist())


def walked_root(tree: Any, answers: list[Any]) -> _Node:
    """The tree as tuples; `answers` are those of its nodes, of which the leaves' are given."""
    columns, thresholds = tree.feature.tolist(), tree.threshold.tolist()
    lefts, rights = tree.children_left.tolist(), tree.children_right.tolist()
    nodes: list[_Node] = [(-1, answer, None, None) for answer in answers]
    # Children have higher numbers than their parents.
    for at in reversed(range(len(nodes))):
        if lefts[at] >= 0:
            nodes[at] = (columns[at], thresholds[at], nodes[lefts[at]], nodes[rights[at]])
    return nodes[0]


class _Walked:
    """Keeps the nodes as tuples while the model is served; they are made anew from the trees once it is loaded."""

    model: Any

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_roots"}

    def _leaves(self, vector: Floats) -> Iterator[Any]:
        """What each tree's leaf says of the row."""
        roots: list[_Node] | None = vars(self).get("_roots")
        if roots is None:
            members = getattr(self.model, "estimators_", [self.model])
            roots = self._roots = [_root(one.tree_) for one in members]
        row = as_compared(vector).tolist()
        for column, threshold, left, right in roots:
            while column >= 0:
                column, threshold, left, right = left if row[column] <= threshold else right
            yield threshold


class TreesOfNumbers(_Walked, NumberModel):
    """The mean of the leaves that a row falls into."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def answers(self, matrix: Floats) -> Floats:
        found: Floats = self.model.predict(as_compared(matrix))
        return found

    def answer_one(self, vector: Floats) -> float:
        leaves = list(self._leaves(vector))
        total = 0.0
        for leaf in leaves:
            total += leaf
        return total / len(leaves)


class TreesOfClasses(_Walked, ClassModel):
    """The mean of the shares of the classes in those leaves."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.classes_ = model.classes_

    def answers(self, matrix: Floats) -> Floats:
        found: Floats = self.model.predict_proba(as_compared(matrix))
        return found

    def answer_one(self, vector: Floats) -> list[float]:
        leaves = list(self._leaves(vector))
        totals = [0.0] * len(self.classes_)
        for shares in leaves:
            for at, share in enumerate(shares):
                totals[at] += share
        return [total / len(leaves) for total in totals]
