"""Contributions to the score of a linear model, by their formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.features.columns import Floats


class LinearWay:
    """A column adds its weight times how far it lies from its mean in the background; columns of a player are summed.

    These are Shapley's values: what a column adds does not depend on which others play.
    """

    models = ("LogisticRegression", "LinearRegression", "Ridge")

    def __init__(self, model: Any, background: Floats, owners: npt.NDArray[np.int64], players: int) -> None:
        self._weights: Floats = np.atleast_2d(model.coef_)
        self._mean: Floats = background.mean(axis=0)
        self._sums: Floats = (owners == np.arange(players)[:, None]).astype(np.float64)
        self.base: Floats = self._weights @ self._mean + np.ravel(model.intercept_)
        """(outputs,)."""

    def values(self, row: Floats) -> Floats:
        found: Floats = self._sums @ ((row - self._mean)[:, None] * self._weights.T)
        return found
