"""Whether a share of bad requests is shown to be above a limit, at any look."""

from __future__ import annotations

import math

from scipy.special import betaincc, betaln

LEAST_BAD = 3
"""Fewer bad requests than this never fail a challenger: one reset connection at start-up is no verdict."""


def log_excess_e_value(bad: float, total: float, limit: float) -> float:
    """ln of the e-value against "the share of bad requests is at most `limit`"; reject at ln(1/alpha), at any look.

    Likelihood ratio against a Beta prior with mean ten times the limit, truncated to shares above it; valid for
    every share below `limit` too, because the ratio rises with the number of bad requests. Counts need not be
    whole: requests that go bad in bursts are divided by the burst's size first.
    """
    if total == 0 or limit >= 1:
        return 0.0
    if limit <= 0:
        return math.inf if bad else 0.0
    a, b = 0.5, max(0.5, 0.05 / limit - 0.5)
    good = total - bad
    above = float(betaincc(a + bad, b + good, limit))
    if above <= 0:
        return -math.inf
    posterior = float(betaln(a + bad, b + good)) + math.log(above)
    prior = float(betaln(a, b)) + math.log(float(betaincc(a, b, limit)))
    return posterior - prior - bad * math.log(limit) - good * math.log1p(-limit)
