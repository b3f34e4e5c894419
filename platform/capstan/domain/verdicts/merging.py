"""How many neighbouring blocks are one unit of a verdict.

The test takes its units for independent. Neighbouring days that go together are not: with a lag-1 autocorrelation of
0.3 the 5 % of wrong verdicts become 11 %. So they are merged to the smallest length that keeps it at 0.1, read from
the closed blocks alone, after every block anew. A length that was used once is never made shorter: else a look could
choose the length that suits it. Few blocks say little of their autocorrelation, so merging alone is not enough: the
bounds also leave room for a spell, see `spells`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from capstan.domain.verdicts.blocks import MAX_AUTOCORRELATION, BlockSums
from capstan.domain.verdicts.evidence import LossBlock
from capstan.domain.verdicts.intervals import interval, is_open
from capstan.domain.verdicts.spells import AUTOCORRELATIONS, Neighbours


@dataclass(frozen=True)
class MergedBlocks:
    """The closed blocks up to one of them, joined to units that may be taken for independent."""

    closed: int = 0
    """Blocks with labels."""
    size: int = 1
    """Blocks in one unit."""
    is_independent: bool = True
    """False: no length that leaves enough units keeps the autocorrelation low. `size` is then the longest of them."""
    sums: BlockSums = field(default_factory=BlockSums)
    """Of the units; blocks of an unfinished last unit are left out."""
    single: float = 0.0
    """Lag-1 autocorrelation of the blocks as they are."""
    merged: float = 0.0
    """The same of the units."""

    neighbours: Neighbours = field(default_factory=Neighbours)
    """The blocks as they are, in their order."""

    def bounds(self, radius: float, alpha: float) -> tuple[float, float]:
        """All differences that the units leave, or that a spell may hide two-sided at `alpha`.

        `radius` in standard deviations of a unit, for units that are independent.
        """
        lower, upper = self.sums.bounds(radius)
        low, high = self.neighbours.bounds(alpha)
        return min(lower, low), max(upper, high)

    def is_above(self, threshold: float, radius: float, alpha: float) -> bool:
        """Whether the difference is shown to be above `threshold`."""
        return self.sums.is_above(threshold, radius) and self.neighbours.bounds(alpha)[0] > threshold

    def is_below(self, threshold: float, radius: float, alpha: float) -> bool:
        """Whether the difference is shown to be below `threshold`."""
        return self.sums.is_below(threshold, radius) and self.neighbours.bounds(alpha)[1] < threshold

    def describe(self) -> str:
        """How many days are merged and why; empty where each stands alone."""
        if self.size == 1:
            return ""
        bound = f"at most {MAX_AUTOCORRELATION:g} may be"
        return (
            f"{self.size} blocks merged at a time into {self.sums.blocks} units, as neighbouring blocks go together "
            f"(lag-1 autocorrelation {self.single:+.2f} of blocks, {self.merged:+.2f} of units, {bound})"
        )


def describe_spell(alone: tuple[float, float], bounds: tuple[float, float], form: str) -> str:
    """That the bounds are wider than those `alone` of independent blocks, and why; empty where they are not."""
    if alone == bounds or is_open(*alone):
        return ""
    return (
        f"the bounds leave room for blocks that go together (lag-1 autocorrelation up to {max(AUTOCORRELATIONS):g}); "
        f"of independent blocks they would be {interval(*alone, form)}"
    )


def merge_as_needed(blocks: Iterable[LossBlock], *, least: int) -> Iterator[MergedBlocks]:
    """After each block with labels the smallest length that keeps the autocorrelation at 0.1 over `least` units.

    Below `least` blocks nothing is known of it, and each block stands alone.
    """
    neighbours = Neighbours()
    lengths = [_Length(1)]
    seen: list[LossBlock] = []
    shortest = 1
    for block in blocks:
        if not block.count:
            continue
        seen.append(block)
        neighbours = neighbours.add(block.loss_difference / block.count)
        for length in lengths:
            length.add(block)
        longest = max(len(seen) // least, 1)
        while len(lengths) < longest:
            longer = _Length(len(lengths) + 1)
            for earlier in seen:
                longer.add(earlier)
            lengths.append(longer)
        size: int | None = None
        for n in range(shortest, longest + 1):
            merged = lengths[n - 1].autocorrelation
            if merged <= MAX_AUTOCORRELATION:
                size = n
                break
        if len(seen) < least:
            size = 1
        shortest = size or shortest
        used = lengths[(size or longest) - 1]
        yield MergedBlocks(
            closed=len(seen),
            size=used.size,
            is_independent=size is not None,
            sums=used.sums,
            single=merged if used.size == 1 else lengths[0].autocorrelation,
            merged=merged,
            neighbours=neighbours,
        )


class _Length:
    """Units of one length as they grow, with the products of neighbours; a block costs the same however many came."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sums = BlockSums()
        self._open = (0, 0.0, 0)
        """Blocks, sum and count of the unit that is not full yet."""
        self._last: tuple[float, int] | None = None
        self._products = (0.0, 0.0, 0.0)
        """Over neighbours: of their sums, of sums with the other's counts both ways, of their counts."""

    def add(self, block: LossBlock) -> None:
        blocks, total, count = self._open
        blocks, total, count = blocks + 1, total + block.loss_difference, count + block.count
        if blocks < self.size:
            self._open = (blocks, total, count)
            return
        self._open = (0, 0.0, 0)
        self.sums = self.sums.add(total, count)
        if self._last is not None:
            before, counted = self._last
            sums, crossed, counts = self._products
            self._products = (
                sums + before * total,
                crossed + before * count + total * counted,
                counts + counted * count,
            )
        self._last = (total, count)

    @property
    def autocorrelation(self) -> float:
        """Lag 1, of the units' residuals S - difference N, whose mean is 0; 0 when they do not vary."""
        difference = self.sums.difference
        squares = self.sums.deviation(difference) ** 2 * (self.sums.blocks - 1)
        if squares <= 0:
            return 0.0
        sums, crossed, counts = self._products
        return (sums - difference * crossed + difference * difference * counts) / squares
