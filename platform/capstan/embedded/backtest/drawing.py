"""Which arm a request is assigned to, as Envoy draws it: by the xxHash64 of its salted key.

A request without a key is drawn by its own id; Envoy draws it by chance.
"""

from __future__ import annotations

from xxhash import xxh64_intdigest

from capstan.domain.assignment import stretches
from capstan.domain.traffic import Arm, TrafficSplit


def arm_of(split: TrafficSplit, key: str) -> Arm:
    """The arm of a unit; a split of one arm draws nothing."""
    if len(split.arms) == 1:
        return split.arms[0]
    parts = stretches(split)
    place = xxh64_intdigest(f"{split.salt}/{key}".encode()) % sum(part.weight for part in parts)
    for part in parts:
        if place < part.weight:
            return part
        place -= part.weight
    raise AssertionError("weights sum up to more than any place")


def is_drawn(percent: int, key: str) -> bool:
    """Whether a request is in so many percent of them, by its id: the same in every backtest."""
    return percent >= 100 or xxh64_intdigest(f"mirror/{key}".encode()) % 100 < percent
