"""A small model of the loss of each row: boosted trees, fitted by scikit-learn, kept as plain numbers.

Kept so, it is no pickle that somebody could put code into, and the monitor walks it without importing scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.tasks.metric import Floats

TREES, LEAVES, LEAST_ROWS, RATE = 60, 8, 40, 0.1
"""Small on purpose: there are only the rows of one test window to learn from."""
_LARGEST = 1e300
_PARTS = ("feature", "threshold", "missing_left", "left", "right", "value", "is_leaf")


@dataclass(frozen=True)
class LossTrees:
    """What loss to expect of a row."""

    start: float
    trees: tuple[dict[str, list[Any]], ...]
    """Each tree as lists over its nodes; node 0 is the root."""

    def predict(self, matrix: Floats) -> Floats:
        """(n,) losses from (n, columns); nan is a missing value. Never below 0."""
        found = np.full(len(matrix), self.start)
        for tree in self.trees:
            found += _walk({name: np.asarray(tree[name]) for name in _PARTS}, matrix)
        return np.maximum(found, 0.0)

    @classmethod
    def of(cls, document: dict[str, Any]) -> LossTrees:
        """As it was kept in JSON."""
        return cls(float(document["start"]), tuple(document["trees"]))


def fit_trees(matrix: Floats, losses: Floats) -> LossTrees:
    """Fitted to the squared error, so that the mean loss is met; the same rows give the same trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        learning_rate=RATE,
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=LEAST_ROWS,
        early_stopping=False,
        random_state=0,
    ).fit(matrix, losses)
    return LossTrees(
        float(np.asarray(model._baseline_prediction).reshape(-1)[0]),
        tuple(_tree(stage[0].nodes) for stage in model._predictors),
    )


def _tree(nodes: Any) -> dict[str, list[Any]]:
    names = ("feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "value", "is_leaf")
    found = {part: nodes[name].tolist() for part, name in zip(_PARTS, names, strict=True)}
    # JSON has no infinity, by which a split parts missing values from all others.
    found["threshold"] = [min(one, _LARGEST) for one in found["threshold"]]
    return found


def _walk(tree: dict[str, npt.NDArray[Any]], matrix: Floats) -> Floats:
    node = np.zeros(len(matrix), dtype=np.int64)
    rows = np.flatnonzero(tree["is_leaf"][node] == 0)
    while len(rows):
        at = node[rows]
        values = matrix[rows, tree["feature"][at]]
        left = np.where(np.isnan(values), tree["missing_left"][at] != 0, values <= tree["threshold"][at])
        node[rows] = np.where(left, tree["left"][at], tree["right"][at])
        rows = rows[tree["is_leaf"][node[rows]] == 0]
    found: Floats = tree["value"][node].astype(np.float64)
    return found
