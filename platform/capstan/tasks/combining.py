"""Rules that make one score of several models' scores; the grammar of them is `combine` in a file.

Any and All take the largest and the smallest probability. So the combined answer is true exactly when one model's
answer is, or every model's; and the probability never says more than the models do: that of "at least one" is never
below the largest, that of "all" never above the smallest (Fréchet's bounds). 1 - (1 - p)(1 - q) holds only for events
that have nothing to do with each other: of two models that both say 0.4 it would make a yes that none of them said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from capstan.spec.combination import Combination
from capstan.tasks.metric import Floats, Groups

Combine = Callable[[Sequence[Floats], Groups | None], Floats]
"""Scores of each model, all of one shape, and the groups of the rows, None where all are one -> the combined scores."""
CombineNumbers = Callable[[Sequence[float]], float]
"""The same for the scores of one row, if each is a number."""


def combine_of(combination: Combination) -> Combine:
    """What the rule makes of the scores of all rows; NaN of any model makes NaN."""
    if combination.rule in ("Any", "Max"):
        return lambda scores, _: np.maximum.reduce(scores)
    if combination.rule == "All":
        return lambda scores, _: np.minimum.reduce(scores)
    if combination.rule == "Sequence":
        return lambda scores, groups: in_sequence(scores[0], scores[1], combination.keep, groups)
    weights = _shares(combination)
    return lambda scores, _: _weighted(scores, weights)


def combine_numbers_of(combination: Combination) -> CombineNumbers | None:
    """The same, bit by bit, for one row of finite numbers; None where a row is not combined by itself."""
    if combination.rule in ("Any", "Max"):
        return max
    if combination.rule == "All":
        return min
    if combination.rule == "Sequence":
        return None
    weights = _shares(combination)
    return lambda scores: _weighted(scores, weights)


def in_sequence(first: Floats, second: Floats, keep: int, groups: Groups | None = None) -> Floats:
    """Scores that put the items of each group in order: the best `keep` by `first` as `second` has them, then the rest.

    (n,) each; of equal first scores the earlier row is kept. The kept have the second's scores, the others follow
    below the least of them, in the first's order.
    """
    places = np.zeros(len(first), dtype=np.int64) if groups is None else groups
    combined = second.astype(np.float64, copy=True)
    if not len(first):
        return combined
    order = np.lexsort((np.arange(len(first)), -first, places))
    begins = np.flatnonzero(np.diff(places[order], prepend=-1))
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        rows = order[begin:end]
        kept, rest = rows[:keep], rows[keep:]
        if len(rest):
            below = first[rest] - first[rest].max()
            combined[rest] = second[kept].min() - 1.0 + below
    return combined


def _shares(combination: Combination) -> tuple[float, ...]:
    """What each model's score counts; 1 together."""
    weights = combination.weights or (1.0,) * len(combination.models)
    return tuple(weight / sum(weights) for weight in weights)


def _weighted(scores: Sequence, weights: Sequence[float]):  # type: ignore[no-untyped-def, type-arg]
    """Of arrays and of numbers alike, added in the same order, so that both give the same bits."""
    total = scores[0] * weights[0]
    for score, weight in zip(scores[1:], weights[1:], strict=True):
        total = total + score * weight
    return total
