"""How much of the label one feature gives away, from 0 for nothing to 1 for all: what looks for leaks goes by it.

Rows fall into groups of equal or similar values of the feature, and each half of the rows is predicted from the labels
that the other half has in the same group. So a feature that is different in every row gives nothing away by itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.tasks.areas import roc_auc
from capstan.tasks.metric import Booleans, Floats, Groups
from capstan.tasks.ordering import Orders, gains

Codes = npt.NDArray[np.int64]
FEWEST_OF_A_CLASS = 10
"""Ten of each class fall apart by chance once in 90,000 features."""


def of_booleans(truth: Booleans, groups: Codes, values: Floats | None) -> float:
    """ROC-AUC by the groups, or of the numbers themselves; 0.5 where a class has too few rows."""
    if min(truth.sum(), len(truth) - truth.sum()) < FEWEST_OF_A_CLASS:
        return 0.5
    found = _area(_by_the_other_half(truth.astype(np.float64), groups), truth)
    if values is None:
        return found
    present = ~np.isnan(values)
    straight = _area(values[present], truth[present])
    return max(found, straight, 1 - straight)


def of_numbers(truth: Floats, groups: Codes, values: Floats | None) -> float:
    """Share of the variance that the groups explain, or a line through the numbers or their ranks, whichever is most.

    By ranks, since what only rises or falls with the label is the label in another unit.
    """
    if len(truth) < 2 * FEWEST_OF_A_CLASS:
        return 0.0
    found = _explained(truth, _by_the_other_half(truth, groups))
    if values is None:
        return found
    present = ~np.isnan(values)
    x, y = values[present], truth[present]
    if len(x) < 2 * FEWEST_OF_A_CLASS or x.std() == 0 or y.std() == 0:
        return found
    straight = (float(np.corrcoef(one, other)[0, 1] ** 2) for one, other in ((x, y), (_ranks(x), _ranks(y))))
    return max(found, *straight)


def _ranks(values: Floats) -> Floats:
    """From 0 on; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(counts) - (counts + 1) / 2)[place.reshape(-1)]
    return found


def of_orders(relevance: Floats, codes: Codes, values: Floats | None, groups: Groups) -> float:
    """How far an order of each group by the feature comes, from what chance is worth to the best order.

    Both ways of the numbers are tried, and the codes of similar values. Groups of items that are all alike say nothing.
    """
    least, most = (np.full(int(groups.max()) + 1, bound) for bound in (np.inf, -np.inf))
    np.minimum.at(least, groups, relevance)
    np.maximum.at(most, groups, relevance)
    told = least < most
    if told.sum() < FEWEST_OF_A_CLASS:
        return 0.0
    scores = [_by_the_other_half(relevance, codes)]
    if values is not None:
        scores += [np.where(np.isnan(values), -np.inf, sign * values) for sign in (1, -1)]

    def worth(scored: Floats) -> Floats:
        return gains(Orders.of(relevance, scored, groups), len(relevance))[told]

    chance = worth(np.zeros(len(relevance)))
    return max(float((worth(one) - chance).sum() / (1 - chance).sum()) for one in scores)


def of_categories(truth: npt.NDArray[Any], groups: Codes, values: Floats | None) -> float:
    """Share of the rows, beyond the most frequent class, whose class is the most frequent one of their group.

    1 for a number of which every class has a stretch of its own: what a band was cut out of.
    """
    names, codes = np.unique(truth, return_inverse=True)
    codes = codes.reshape(-1)
    counts = np.bincount(codes)
    if len(names) < 2 or np.sort(counts)[-2] < FEWEST_OF_A_CLASS:
        return 0.0
    if values is not None and _are_bands(values, codes):
        return 1.0
    guess = np.empty(len(truth), dtype=np.int64)
    size = int(groups.max()) + 1
    for half in _halves(len(truth)):
        seen = np.bincount(groups[~half] * len(names) + codes[~half], minlength=size * len(names))
        guess[half] = seen.reshape(size, len(names)).argmax(axis=1)[groups[half]]
    right, usual = (guess == codes).mean(), (codes == counts.argmax()).mean()
    return max(0.0, float((right - usual) / (1 - usual)))


def _are_bands(values: Floats, codes: Codes) -> bool:
    """Whether each class has a stretch of the numbers to itself, with nothing missing."""
    if np.isnan(values).any():
        return False
    classes = np.unique(codes)
    least = np.array([values[codes == one].min() for one in classes])
    most = np.array([values[codes == one].max() for one in classes])
    order = np.argsort(least)
    return bool((least[order][1:] > most[order][:-1]).all())


def _halves(rows: int) -> tuple[Booleans, Booleans]:
    even = np.arange(rows) % 2 == 0
    return even, ~even


def _by_the_other_half(truth: Floats, groups: Codes) -> Floats:
    """(n,) predictions: of all rows, since a feature that is wrong in one half only does not tell every label."""
    scores = np.empty(len(truth))
    size = int(groups.max()) + 1
    for half in _halves(len(truth)):
        total = np.bincount(groups[~half], weights=truth[~half], minlength=size)
        seen = np.bincount(groups[~half], minlength=size)
        scores[half] = ((total + truth.mean()) / (seen + 1))[groups[half]]
    return scores


def _explained(truth: Floats, scores: Floats) -> float:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - scores) ** 2).sum()) / spread if spread else 0.0


def _area(scores: Floats, truth: Booleans) -> float:
    found = roc_auc(truth, scores)
    return 0.5 if math.isnan(found) else found
