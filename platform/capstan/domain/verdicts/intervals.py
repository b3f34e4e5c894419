"""Bounds of a difference in words."""

from __future__ import annotations

import math


def is_open(lower: float, upper: float) -> bool:
    """Whether nothing is known yet: no side is bounded."""
    return math.isinf(lower) and math.isinf(upper)


def interval(lower: float, upper: float, form: str = "+.4g") -> str:
    """As `[-0.1, +0.2]`; a side without a bound is `open`."""
    low, high = ("open" if math.isinf(one) else format(one, form) for one in (lower, upper))
    return f"[{low}, {high}]"
