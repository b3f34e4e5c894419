"""Whether a spell could look like a difference: neighbouring blocks that are alike, and no difference at all.

Ten days of which each is like the day before look as ten days with a gain do, and say too little of their own
autocorrelation to tell one from the other. So a bound must leave out two things: what independent blocks would leave
out, and each difference without which the blocks would be about as likely as a spell. The second is a ratio of
densities. Above stand independent blocks with a difference, below AR(1) blocks without one, by the autocorrelation that
fits better; the standard deviation of a block is integrated out of both by the same prior (1/sigma), as in the
t-mixture.

A block counts by its mean, whatever its size: a spell moves all requests of a day alike. Sums would take days of many
and of few requests for days that vary, and bound nothing for two weeks where they do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

AUTOCORRELATIONS = (0.3, 0.6)
"""Lag 1, of the spells that are considered; what lies between is held by them."""
VARIANCE = 16.0
"""Of a difference, in variances of the mean of so many blocks: seven show one of many standard deviations at once, and
many show a small one."""
LIKELIHOOD = 0.5
"""Times 1/alpha: how much likelier a difference must be than a spell; 10 at 0.05. Set by simulation so that at most
alpha of equal models are called different at an autocorrelation of 0.6."""

Form = tuple[float, float, float]
"""a, b, c of the quadratic a - 2 b x + c x^2 in the threshold x."""


@dataclass(frozen=True)
class Neighbours:
    """Single blocks in their order as sums; adding a block costs the same however many there are."""

    blocks: int = 0
    total: float = 0.0
    """Sum of the blocks' mean differences per request."""
    squares: float = 0.0
    products: float = 0.0
    """Sum over blocks of the mean times the one before it."""
    first: float = 0.0
    last: float = 0.0

    def add(self, mean: float) -> Neighbours:
        """The sums with one more block, by its mean difference per request."""
        return Neighbours(
            blocks=self.blocks + 1,
            total=self.total + mean,
            squares=self.squares + mean * mean,
            products=self.products + mean * self.last if self.blocks else 0.0,
            first=self.first if self.blocks else mean,
            last=mean,
        )

    def bounds(self, alpha: float) -> tuple[float, float]:
        """The smallest and the largest difference that a spell may hide, two-sided at `alpha`.

        Infinite where so few blocks exclude nothing. (inf, -inf) where they exclude every spell: then independent
        blocks have the say alone.
        """
        if self.blocks < 2:
            return -math.inf, math.inf
        ends = [self._hidden(autocorrelation, alpha) for autocorrelation in AUTOCORRELATIONS]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _hidden(self, autocorrelation: float, alpha: float) -> tuple[float, float]:
        """All thresholds at which this spell is nearly as likely as a difference."""
        n = self.blocks
        log_ratio = (
            math.log(LIKELIHOOD / alpha)
            + 0.5 * math.log1p(VARIANCE)
            - 0.5 * (n - 1) * math.log1p(-(autocorrelation**2))
        )
        scale = math.exp(2 * log_ratio / n)
        explained = VARIANCE / (1 + VARIANCE) / n
        squares: Form = (self.squares, self.total, n)
        total: Form = (self.total * self.total, self.total * n, n * n)
        different = _sum(squares, total, -explained)
        a, b, c = _sum(self._spell(autocorrelation), different, -scale)
        # The difference is likelier by enough where a - 2 b x + c x^2 >= 0.
        if c <= 0:
            return -math.inf, math.inf
        discriminant = b * b - a * c
        if discriminant <= 0:
            return math.inf, -math.inf
        root = math.sqrt(discriminant)
        return (b - root) / c, (b + root) / c

    def _spell(self, autocorrelation: float) -> Form:
        """Sum of squares of what each block adds to the one before it, by an AR(1) series of mean 0."""
        n, first, last = self.blocks, self.first, self.last
        squares: Form = (self.squares, self.total, n)
        products: Form = (self.products, self.total - 0.5 * (first + last), n - 1)
        ends: Form = (first * first + last * last, first + last, 2)
        square = autocorrelation**2
        form = _sum(_sum(squares, squares, square), products, -2 * autocorrelation)
        a, b, c = _sum(form, ends, -square)
        return a / (1 - square), b / (1 - square), c / (1 - square)


def expected_log_ratio(blocks: int, effect: float) -> float:
    """ln of how much likelier than a spell a difference is after so many independent blocks that show just `effect`.

    `effect` in standard deviations of a block, at a threshold of 0.
    """
    square, noise = effect * effect, blocks - 1
    different = noise + blocks * square / (1 + VARIANCE)
    ratios = []
    for rho in AUTOCORRELATIONS:
        kept = 1 - rho * rho
        alike = (
            (1 + rho * rho) * (noise + blocks * square)
            - 2 * rho * rho * (1 + square)
            - 2 * rho * noise * square
        )
        ratios.append(blocks * math.log(alike / kept / different) + noise * math.log(kept))
    return 0.5 * (min(ratios) - math.log1p(VARIANCE))


def _sum(one: Form, other: Form, times: float = 1.0) -> Form:
    return one[0] + times * other[0], one[1] + times * other[1], one[2] + times * other[2]
