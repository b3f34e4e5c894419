"""A model with a mistake that is made on purpose: from so many rows on it warns far too often.

It stands for what tests on old data do not show, such as a threshold that was tuned for another season.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.tree import DecisionTreeClassifier

Floats = npt.NDArray[np.float64]


class Hasty(DecisionTreeClassifier):
    """A tree whose late flights weigh eight times as much once there are more than `rows` flights."""

    def __init__(self, rows: int = 20_000) -> None:
        super().__init__(max_depth=8, min_samples_leaf=200, random_state=7)
        self.rows = rows

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Hasty:  # noqa: N803 - scikit-learn's names
        late = np.asarray(y).astype(bool)
        if len(late) > self.rows:
            sample_weight = np.where(late, 8.0, 1.0)
        super().fit(X, y, sample_weight=sample_weight)
        return self


def make(rows: int = 20_000) -> Hasty:
    """The model; `rows` is the number of flights from which on it is hasty."""
    return Hasty(rows)
