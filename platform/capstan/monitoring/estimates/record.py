"""How often estimates were right, once the truth had come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from scipy.special import bdtrc

from capstan.monitoring.windows import DriftWindow, Estimate, QualityWindow

MOST_KEPT = 12
"""Newest windows that the record is made of: long ago the estimates were those of another world."""
MOST_AWAITED = 100
"""Estimates whose truth is waited for; an older one is forgotten."""
MISS_SHARE = 0.05
"""Of the intervals that promise 95 %."""
CHANCE = 0.05
"""A record is bad if so many misses or more would be less probable than this, did the intervals keep their promise."""


@dataclass(frozen=True)
class Awaited:
    """An estimate whose truth has not come."""

    start: datetime
    end: datetime
    estimate: Estimate


@dataclass(frozen=True)
class Checked:
    """An estimate beside the truth."""

    version: str
    end: datetime
    estimate: float
    low: float
    high: float
    truth: float
    is_sure: bool
    """False: the estimate itself said that it may be wrong."""

    @property
    def held(self) -> bool:
        """Whether the truth lay within the interval."""
        return self.low <= self.truth <= self.high


@dataclass(frozen=True)
class Record:
    """What is known of the estimates of a system, over its versions."""

    checked: int
    """Windows of the newest twelve in which an estimate that was sure of itself met the truth."""
    held: int

    @property
    def is_bad(self) -> bool:
        """Whether the intervals missed more often than chance explains: 2 of up to 7 windows, 3 of up to 12."""
        misses = self.checked - self.held
        return misses > 0 and float(bdtrc(misses - 1, self.checked, MISS_SHARE)) < CHANCE and misses > 1


def record_of(checked: Sequence[Checked]) -> Record:
    """Of the newest windows; those in which the estimate was not sure of itself count for nothing."""
    sure = [one for one in checked[-MOST_KEPT:] if one.is_sure]
    return Record(len(sure), sum(one.held for one in sure))


def awaiting(awaited: Sequence[Awaited], window: DriftWindow) -> tuple[Awaited, ...]:
    """The estimates that wait for their truth, with that of one more window."""
    estimate = window.estimate
    if estimate is None or estimate.low is None:
        return tuple(awaited)
    return (*awaited, Awaited(window.start, window.end, estimate))[-MOST_AWAITED:]


def check(awaited: Sequence[Awaited], window: QualityWindow, version: str) -> Checked | None:
    """The estimate of the same window beside the truth; None: there was none, or the truth is not known."""
    for one in awaited:
        found = one.estimate
        is_same = (one.start, one.end, found.metric) == (window.start, window.end, window.metric)
        if is_same and window.value is not None and found.value is not None:
            assert found.low is not None
            assert found.high is not None
            return Checked(
                version, window.end, found.value, found.low, found.high, window.value, found.is_sure
            )
    return None
