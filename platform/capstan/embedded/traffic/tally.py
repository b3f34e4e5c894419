"""What became of traffic: counts by version, and latencies in buckets of 2 %, so that hours of it take no memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from capstan.embedded.replay.client import Answer

MOST_FAILURES = 20
_SHORTEST_SECONDS = 1e-5
_GROWTH = math.log(1.02)


@dataclass
class Latencies:
    """Quantiles to within 1 %."""

    _buckets: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        self._buckets[round(math.log(max(seconds, _SHORTEST_SECONDS)) / _GROWTH)] += 1

    def quantile(self, share: float) -> float | None:
        """In seconds; None where there is none."""
        rank = math.ceil(share * self._buckets.total())
        passed = 0
        for bucket, count in sorted(self._buckets.items()):
            passed += count
            if passed >= max(rank, 1):
                return math.exp(bucket * _GROWTH)
        return None


@dataclass
class Tally:
    """Counts so far."""

    failed: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    """Answered requests by the version that answered."""
    failures: Counter[str] = field(default_factory=Counter)
    """The first few reasons, and how often each came."""
    latencies: Latencies = field(default_factory=Latencies)
    """Of answered requests."""
    labels: int = 0
    """Handed in."""
    without_label: int = 0
    """Rows that were said to have no label."""
    labels_left: int = 0
    """Whose time had not come when the traffic ended."""
    events: Counter[str] = field(default_factory=Counter)
    """Handed in, by name."""
    not_taken: int = 0
    """Labels and events that the collector did not take."""
    why_not_taken: str = ""

    @property
    def answered(self) -> int:
        return self.versions.total()

    @property
    def sent(self) -> int:
        return self.answered + self.failed

    def add(self, answer: Answer, seconds: float) -> None:
        if answer.problem is None:
            self.versions[answer.version] += 1
            self.latencies.add(seconds)
            return
        self.failed += 1
        if answer.problem in self.failures or len(self.failures) < MOST_FAILURES:
            self.failures[answer.problem] += 1

    def document(self) -> Mapping[str, Any]:
        return {
            "sent": self.sent,
            "answered": self.answered,
            "failed": self.failed,
            "versions": dict(sorted(self.versions.items())),
            "p50_seconds": self.latencies.quantile(0.5),
            "p99_seconds": self.latencies.quantile(0.99),
            "failures": dict(self.failures),
            "labels": self.labels,
            "without_label": self.without_label,
            "labels_left": self.labels_left,
            "events": dict(sorted(self.events.items())),
            "not_taken": self.not_taken,
            "why_not_taken": self.why_not_taken or None,
        }
