"""Requests, errors and latency per version, read from Prometheus for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from capstan.dashboard.page import VersionNumbers
from capstan.ports.measurements import Sample

_ORDER = ("champion", "challenger", "shadow")


class Query(Protocol):
    def instant(self, query: str) -> Sequence[Sample]: ...


class PrometheusNumbers:
    """The `numbers` source of the page; raises UnavailableError when Prometheus is away."""

    def __init__(self, query: Query, system: str, *, window: str = "30s") -> None:
        self._query = query
        self._own = f'system="{system}"'
        self._window = window

    def __call__(self) -> Sequence[VersionNumbers]:
        requests = self._by_version(f"sum by (version,role) (rate({self._counter()}[{self._window}]))")
        refused, errors = (
            self._by_version(f"sum by (version,role) (rate({self._counter(codes)}[{self._window}]))")
            for codes in (',code=~"4.."', ',code=~"5.."')
        )
        p50, p99 = (self._by_version(self._quantile(level)) for level in (0.5, 0.99))
        found = [
            VersionNumbers(
                version, role, rate, refused.get(key, 0.0), errors.get(key, 0.0), p50.get(key), p99.get(key)
            )
            for (version, role), rate in requests.items()
            if rate > 0
            for key in ((version, role),)
        ]
        return in_order(found)

    def _counter(self, more: str = "") -> str:
        return f"capstan_requests_total{{{self._own}{more}}}"

    def _quantile(self, level: float) -> str:
        rate = f"rate(capstan_request_seconds_bucket{{{self._own}}}[{self._window}])"
        return f"histogram_quantile({level}, sum by (version,role,le) ({rate}))"

    def _by_version(self, query: str) -> dict[tuple[str, str], float]:
        return {
            (sample.labels.get("version", ""), sample.labels.get("role", "")): sample.value
            for sample in self._query.instant(query)
        }


def in_order(found: Sequence[VersionNumbers]) -> Sequence[VersionNumbers]:
    """The champion first, shadows last."""
    return sorted(found, key=lambda n: (_ORDER.index(n.role) if n.role in _ORDER else 9, n.version))
