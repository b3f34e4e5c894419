"""How the outcomes of arms rank against the first arm's: each distinct value is kept with its number of units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capstan.domain.verdicts.evidence import RankSums
from capstan.recording.exact_sums import Floats, Indices

MOST_VALUES = 2_000_000
"""Distinct outcomes of all arms together that are kept: 32 MB. A rate has two; a loss has one for nearly every unit."""
LEAST_MERGED = 100_000


class RankTally:
    """Distinct outcomes of so many arms; no order of units changes anything."""

    def __init__(self, arms: int, *, most: int = MOST_VALUES) -> None:
        self._kept = [(np.zeros(0), np.zeros(0, dtype=np.int64)) for _ in range(arms)]
        """By arm: distinct outcomes in order, and how many units have each."""
        self._waiting: list[list[Floats]] = [[] for _ in range(arms)]
        self._most = most
        self._is_full = False

    def add(self, arm: Indices, outcome: Floats) -> None:
        """Count the outcomes, which hold no NaN, of the arms."""
        for number in np.unique(arm) if not self._is_full else ():
            self._waiting[number].append(outcome[arm == number])
        # Sorting is put off until there is as much to sort as was sorted before.
        if sum(len(some) for arms in self._waiting for some in arms) > max(LEAST_MERGED, self._distinct):
            self._merge()

    @property
    def is_full(self) -> bool:
        """Whether there are more distinct outcomes than are kept, so that nothing is known of ranks."""
        self._merge()
        return self._is_full

    @property
    def _distinct(self) -> int:
        return sum(len(values) for values, _ in self._kept)

    def _merge(self) -> None:
        for number, some in enumerate(self._waiting):
            if some:
                values, counts = self._kept[number]
                new = np.concatenate(some)
                found, place = np.unique(np.concatenate([values, new]), return_inverse=True)
                total = np.zeros(len(found), dtype=np.int64)
                np.add.at(total, place, np.concatenate([counts, np.ones(len(new), dtype=np.int64)]))
                self._kept[number] = found, total
        self._waiting = [[] for _ in self._kept]
        if self._distinct > self._most:
            self._is_full = True
            self._kept = [(np.zeros(0), np.zeros(0, dtype=np.int64)) for _ in self._kept]

    def against_first(self, arm: int) -> RankSums | None:
        """The arm's units against those of the first arm; None without a unit of both, or where it is full."""
        self._merge()
        (control, control_counts), (values, counts) = self._kept[0], self._kept[arm]
        if not (len(control) and len(values)):
            return None
        # Twice the pairs that a unit wins, a tie counting once, is a whole number.
        won = _twice_below(values, control, control_counts)
        lost = _twice_below(control, values, counts)
        together = np.unique(np.concatenate([values, control]))
        ties = _counts_at(together, values, counts) + _counts_at(together, control, control_counts)
        return RankSums(
            units=int(counts.sum()),
            control_units=int(control_counts.sum()),
            won_twice=sum(int(pairs) * int(count) for pairs, count in zip(won, counts, strict=True)),
            ties=sum(count**3 - count for count in map(int, ties[ties > 1])),
            variance=_variance(won / (2 * control_counts.sum()), counts),
            control_variance=_variance(lost / (2 * counts.sum()), control_counts),
        )


def _twice_below(values: Floats, others: Floats, counts: Indices) -> Indices:
    """(values,): twice the units of the others below each value, plus those that are equal."""
    before = np.concatenate([[0], np.cumsum(counts)])
    low = before[np.searchsorted(others, values, side="left")]
    high = before[np.searchsorted(others, values, side="right")]
    found: Indices = low + high
    return found


def _counts_at(places: Floats, values: Floats, counts: Indices) -> Indices:
    found = np.zeros(len(places), dtype=np.int64)
    found[np.searchsorted(places, values)] = counts
    return found


def _variance(values: npt.NDArray[np.float64], counts: Indices) -> float:
    """Of values that so many units have (ddof 1); 0 for one unit."""
    units = int(counts.sum())
    if units < 2:
        return 0.0
    mean = float((values * counts).sum()) / units
    return float((counts * (values - mean) ** 2).sum()) / (units - 1)
