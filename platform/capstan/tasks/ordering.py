"""How well a group's items are put in order: the measures of one group, for many groups at once.

Items of one score are a tie. A measure of an order with ties is its mean over all orders of the tied items (McSherry &
Najork 2008), so that it depends on no order of rows, and one score for all items is worth what chance is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capstan.tasks.metric import Floats, Groups, share

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Orders:
    """The rows of some groups, group after group, each from its highest score to its lowest; all (n,)."""

    relevance: Floats
    """As labels say, 0 for not relevant."""
    group: Groups
    place: Counts
    """In its group, 1 is first."""
    before: Counts
    """Items of its group above its tie."""
    tied: Counts
    """Items of its tie, itself included."""
    tie: Counts
    """Number of its tie, over all groups."""
    groups: int

    @classmethod
    def of(cls, relevance: Floats, scores: Floats, groups: Groups | None) -> Orders:
        """By score; without `groups` all rows are one."""
        of_row = np.zeros(len(scores), dtype=np.int64) if groups is None else groups
        order = np.lexsort((-scores, of_row))
        group, score = of_row[order], scores[order]
        sizes = np.bincount(of_row)
        place = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[group] + 1
        begins = np.ones(len(order), dtype=np.bool_)
        begins[1:] = (place[1:] == 1) | (score[1:] != score[:-1])
        tie = np.cumsum(begins) - 1
        return cls(
            relevance[order].astype(np.float64),
            group,
            place,
            before=(place[begins] - 1)[tie],
            tied=np.bincount(tie)[tie],
            tie=tie,
            groups=len(sizes),
        )

    def sum(self, values: Floats) -> Floats:
        """(groups,): of the values of each group's rows."""
        sums: Floats = np.bincount(self.group, weights=values, minlength=self.groups).astype(np.float64)
        return sums

    def mean_of_tie(self, values: Floats) -> Floats:
        """(n,): the mean over the items of the row's tie."""
        return np.bincount(self.tie, weights=values)[self.tie] / self.tied if len(values) else values

    @property
    def relevant(self) -> Floats:
        """(n,): 1 for an item that is relevant at all, else 0."""
        return (self.relevance > 0).astype(np.float64)


def gains(orders: Orders, most: int) -> Floats:
    """(groups,): nDCG of the first `most` places (Järvelin & Kekäläinen 2002), gain the relevance itself.

    0 for a group without a relevant item.
    """
    discount = np.where(orders.place <= most, 1 / np.log2(orders.place + 1), 0.0)
    best = orders.relevance[np.lexsort((-orders.relevance, orders.group))]
    found, ideal = orders.sum(orders.mean_of_tie(orders.relevance) * discount), orders.sum(best * discount)
    return _part_of(found, ideal)


def precisions(orders: Orders, most: int) -> Floats:
    """(groups,): the share of relevant items on the first `most` places, or on all of a smaller group."""
    counted = (orders.place <= most).astype(np.float64)
    return _part_of(orders.sum(orders.mean_of_tie(orders.relevant) * counted), orders.sum(counted))


def reciprocal_ranks(orders: Orders) -> Floats:
    """(groups,): 1 / place of the first relevant item; 0 for a group without one."""
    relevant_tied, relevant_before = _relevant_around(orders)
    logarithms = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(orders.place) + 1)))])

    def chosen(of: Counts, some: Counts) -> Floats:
        """Logarithm of the number of ways to choose `some` of `of`."""
        found: Floats = logarithms[of] - logarithms[some] - logarithms[of - some]
        return found

    # The first relevant one is the j-th of its tie: so many orders leave the others to the places after it.
    after = orders.tied - (orders.place - orders.before)
    is_possible = (relevant_before == 0) & (relevant_tied > 0) & (after >= relevant_tied - 1)
    some = np.where(is_possible, relevant_tied, 1)
    ways = chosen(np.maximum(after, some - 1), some - 1) - chosen(orders.tied, some)
    return orders.sum(np.where(is_possible, np.exp(ways) / orders.place, 0.0))


def average_precisions(orders: Orders) -> Floats:
    """(groups,): the mean, over relevant items, of the precision at their places; 0 for a group without one."""
    relevant_tied, relevant_before = _relevant_around(orders)
    of_tie = relevant_tied / orders.tied
    others = np.divide(relevant_tied - 1, orders.tied - 1, out=np.zeros(len(of_tie)), where=orders.tied > 1)
    above = relevant_before + 1 + (orders.place - orders.before - 1) * others
    return _part_of(orders.sum(of_tie * above / orders.place), orders.sum(orders.relevant))


def _relevant_around(orders: Orders) -> tuple[Counts, Counts]:
    """(n,) each: relevant items of the row's tie, and of its group above the tie."""
    relevant = (orders.relevance > 0).astype(np.int64)
    tied = np.rint(orders.mean_of_tie(orders.relevant) * orders.tied).astype(np.int64)
    total = np.cumsum(relevant) - relevant
    of_group = np.zeros(orders.groups, dtype=np.int64)
    is_first = orders.place == 1
    of_group[orders.group[is_first]] = total[is_first]
    begins = np.flatnonzero(orders.place == orders.before + 1)
    before = total[begins][orders.tie] if len(total) else total
    return tied, before - of_group[orders.group]


def _part_of(part: Floats, whole: Floats) -> Floats:
    """Between 0 and 1; 0 where there is no whole."""
    return np.clip(share(part, whole), 0.0, 1.0)
