"""From the probability that a model says to the share in which it came so: fitted on rows the model had not seen.

Of three ways the one is taken whose log loss is least on rows that it was not fitted on itself: as it is, Platt's
logistic curve, isotonic steps. Fitting takes scikit-learn; applying takes numpy alone, since the monitor applies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from capstan.tasks.metric import Booleans, Floats, Place

Way: TypeAlias = Literal["AsItIs", "Platt", "Isotonic"]
WAYS: tuple[Way, ...] = ("AsItIs", "Platt", "Isotonic")
"""The simplest first; of equals it is taken."""
_LEAST = 1e-6
"""Probabilities are kept so far from 0 and 1 where their logarithm is taken."""
_DECIMALS = 9
"""Of what is kept, so that a file has no digits that differ between machines."""


@dataclass(frozen=True)
class ProbabilityMap:
    """The map of one class."""

    way: Way
    said: tuple[float, ...] = ()
    """Isotonic: probabilities in rising order. Platt: slope and intercept on the log odds. As it is: none."""
    came: tuple[float, ...] = ()
    """Isotonic: the share at each; straight lines lie between. Others: none."""

    def apply(self, probabilities: Floats) -> Floats:
        """(n,) calibrated probabilities; beyond the ends of an isotonic map stands what its end says."""
        if self.way == "Isotonic":
            return np.interp(probabilities, self.said, self.came)
        if self.way == "Platt":
            slope, intercept = self.said
            found: Floats = 1 / (1 + np.exp(-(slope * _log_odds(probabilities) + intercept)))
            return found
        return probabilities

    @classmethod
    def of(cls, document: dict[str, Any]) -> ProbabilityMap:
        """As it was kept in JSON."""
        return cls(document["way"], tuple(document["said"]), tuple(document["came"]))


def fit_map(probabilities: Floats, came: Booleans, folds: Place) -> ProbabilityMap:
    """The best of the ways, fitted on all rows; `folds` (n,) says which rows are left out together."""
    losses = {way: _log_loss(out_of_fold(way, probabilities, came, folds), came) for way in WAYS}
    return fitted(min(WAYS, key=losses.__getitem__), probabilities, came)


def out_of_fold(way: Way, probabilities: Floats, came: Booleans, folds: Place) -> Floats:
    """(n,): each row by a map that was fitted on the other folds."""
    found = np.array(probabilities, dtype=np.float64)
    for fold in np.unique(folds):
        left = folds == fold
        found[left] = fitted(way, probabilities[~left], came[~left]).apply(probabilities[left])
    return found


def fitted(way: Way, probabilities: Floats, came: Booleans) -> ProbabilityMap:
    """This way's map of the rows; where all came alike, probabilities stay as they are."""
    if way == "AsItIs" or not came.any() or came.all():
        return ProbabilityMap("AsItIs")
    if way == "Platt":
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1e6).fit(_log_odds(probabilities).reshape(-1, 1), came)
        return ProbabilityMap("Platt", _kept([model.coef_[0, 0], model.intercept_[0]]))
    from sklearn.isotonic import IsotonicRegression

    steps = IsotonicRegression(out_of_bounds="clip").fit(probabilities, came.astype(np.float64))
    return ProbabilityMap("Isotonic", _kept(steps.X_thresholds_), _kept(steps.y_thresholds_))


def _kept(numbers: Sequence[float] | Floats) -> tuple[float, ...]:
    return tuple(np.round(np.asarray(numbers, dtype=np.float64), _DECIMALS).tolist())


def _log_odds(probabilities: Floats) -> Floats:
    inside = np.clip(probabilities, _LEAST, 1 - _LEAST)
    found: Floats = np.log(inside / (1 - inside))
    return found


def _log_loss(said: Floats, came: Booleans) -> float:
    chance = np.clip(np.where(came, said, 1 - said), _LEAST, 1)
    return float(-np.log(chance).mean())
