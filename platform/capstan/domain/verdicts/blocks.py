"""Running sums of closed blocks and what they say about the mean loss difference per request.

The unit of inference is the block, because requests of one day are not independent. With S the sum of differences
and N the number of requests of a block, the hypothesis "the true difference is theta" is tested on Z = S - theta N,
whose mean is zero exactly there; no delta method is needed, and the bounds below are the exact inversion of that
test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from capstan.domain.verdicts.evidence import LossBlock

MAX_AUTOCORRELATION = 0.1
"""Up to this lag-1 autocorrelation blocks count as independent."""


@dataclass(frozen=True)
class BlockSums:
    """Means and centred second moments of (S, N) over blocks; adding a block costs the same however many there are."""

    blocks: int = 0
    mean_sum: float = 0.0
    mean_count: float = 0.0
    squares_sum: float = 0.0
    squares_count: float = 0.0
    products: float = 0.0

    def add(self, loss_difference: float, count: int) -> BlockSums:
        """The sums with one more block (Welford's update: no cancellation)."""
        blocks = self.blocks + 1
        from_sum = loss_difference - self.mean_sum
        from_count = count - self.mean_count
        mean_sum = self.mean_sum + from_sum / blocks
        mean_count = self.mean_count + from_count / blocks
        return BlockSums(
            blocks=blocks,
            mean_sum=mean_sum,
            mean_count=mean_count,
            squares_sum=self.squares_sum + from_sum * (loss_difference - mean_sum),
            squares_count=self.squares_count + from_count * (count - mean_count),
            products=self.products + from_sum * (count - mean_count),
        )

    @property
    def difference(self) -> float:
        """Mean loss difference per request: sum of S over sum of N; positive favours the challenger."""
        return self.mean_sum / self.mean_count if self.mean_count else 0.0

    def deviation(self, threshold: float) -> float:
        """Standard deviation (ddof 1) over blocks of Z at `threshold`."""
        if self.blocks < 2:
            return 0.0
        squares = (
            self.squares_sum - 2 * threshold * self.products + threshold * threshold * self.squares_count
        )
        return math.sqrt(max(squares, 0.0) / (self.blocks - 1))

    @property
    def spread(self) -> float:
        """Standard deviation of the blocks' differences, per request."""
        return self.deviation(self.difference) / self.mean_count if self.mean_count else 0.0

    def t_statistic(self, threshold: float) -> float:
        """sqrt(n) mean(Z) / sd(Z) at `threshold`; infinite when every block says the same."""
        excess = self.mean_sum - threshold * self.mean_count
        deviation = self.deviation(threshold)
        if deviation == 0:
            return math.copysign(math.inf, excess) if excess else 0.0
        return math.sqrt(self.blocks) * excess / deviation

    def is_above(self, threshold: float, radius: float) -> bool:
        """Whether the difference is shown to be above `threshold`, at a one-sided radius in standard deviations."""
        if math.isinf(radius):
            return False
        return self.mean_sum - threshold * self.mean_count > radius * self.deviation(threshold)

    def is_below(self, threshold: float, radius: float) -> bool:
        """Whether the difference is shown to be below `threshold`."""
        if math.isinf(radius):
            return False
        return threshold * self.mean_count - self.mean_sum > radius * self.deviation(threshold)

    def bounds(self, radius: float) -> tuple[float, float]:
        """All thresholds that are not rejected (Fieller's interval); infinite where the blocks cannot bound it."""
        if math.isinf(radius) or self.blocks < 2:
            return -math.inf, math.inf
        scale = radius * radius / (self.blocks - 1)
        a = self.mean_count**2 - scale * self.squares_count
        b = self.mean_sum * self.mean_count - scale * self.products
        c = self.mean_sum**2 - scale * self.squares_sum
        if a <= 0:
            return -math.inf, math.inf
        root = math.sqrt(max(b * b - a * c, 0.0))
        return (b - root) / a, (b + root) / a


def sum_blocks(blocks: Iterable[LossBlock]) -> BlockSums:
    """The sums of all blocks that hold at least one labelled pair."""
    sums = BlockSums()
    for block in blocks:
        if block.count:
            sums = sums.add(block.loss_difference, block.count)
    return sums


def residuals(blocks: Sequence[LossBlock]) -> list[float]:
    """(S - difference N) / mean N of each block, in event order: what autocorrelation and skewness are read from."""
    used = [block for block in blocks if block.count]
    sums = sum_blocks(used)
    return [(block.loss_difference - sums.difference * block.count) / sums.mean_count for block in used]


def autocorrelation(values: Sequence[float]) -> float:
    """Lag-1 autocorrelation; 0 when the values do not vary."""
    mean = math.fsum(values) / len(values) if values else 0.0
    centred = [value - mean for value in values]
    squares = math.fsum(value * value for value in centred)
    if squares == 0:
        return 0.0
    return math.fsum(a * b for a, b in pairwise(centred)) / squares


def skewness(values: Sequence[float]) -> float:
    """Third standardised moment; 0 when the values do not vary."""
    if not values:
        return 0.0
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    if deviation == 0:
        return 0.0
    return math.fsum(((value - mean) / deviation) ** 3 for value in values) / len(values)


def merge(blocks: Sequence[LossBlock], size: int) -> tuple[LossBlock, ...]:
    """Neighbouring blocks joined `size` at a time; an unfinished last group is left out, as it is not closed."""
    merged = []
    for first in range(0, len(blocks) - size + 1, size):
        group = blocks[first : first + size]
        count = sum(block.count for block in group)
        answerable = math.fsum(block.count / block.coverage for block in group if block.coverage > 0)
        merged.append(
            LossBlock(
                start=group[0].start,
                count=count,
                loss_difference=math.fsum(block.loss_difference for block in group),
                coverage=min(count / answerable, 1.0) if answerable else 0.0,
            )
        )
    return tuple(merged)


def independent_size(
    history: Sequence[LossBlock],
    *,
    sizes: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 168),
    max_autocorrelation: float = MAX_AUTOCORRELATION,
    min_blocks: int = 50,
) -> int | None:
    """How many neighbouring blocks to merge so that they may be treated as independent.

    The smallest of `sizes` whose lag-1 autocorrelation is at most `max_autocorrelation` over at least `min_blocks`
    past blocks; None when the history is too short to show it for any.
    """
    for size in sorted(sizes):
        merged = [block for block in merge(history, size) if block.count]
        if len(merged) < min_blocks:
            return None
        if autocorrelation(residuals(merged)) <= max_autocorrelation:
            return size
    return None
