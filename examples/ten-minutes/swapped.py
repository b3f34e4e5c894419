"""A model with a mistake: it takes the probability of the wrong class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.tree import DecisionTreeClassifier


class Swapped(DecisionTreeClassifier):
    """A tree whose two columns of probabilities are the wrong way round."""

    def predict_proba(self, X: Any, check_input: bool = True) -> npt.NDArray[np.float64]:  # noqa: N803 - scikit-learn's
        """Probabilities (rows, 2) of the classes, swapped."""
        found: npt.NDArray[np.float64] = super().predict_proba(X, check_input)[:, ::-1]
        return found


def make() -> Swapped:
    """The model."""
    return Swapped(max_depth=4, min_samples_leaf=100, random_state=7)
