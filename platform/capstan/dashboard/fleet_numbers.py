"""Requests, errors, latency and totals of all systems of a cluster, asked of Prometheus once for all pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from capstan.dashboard.budgets import Budget, budgets_of, queries
from capstan.dashboard.numbers import Query, in_order
from capstan.dashboard.page import Totals, VersionNumbers
from capstan.ports.measurements import Sample

Key = tuple[str, str]
"""(namespace, system)."""
_TOTALS = {
    "stored": "capstan_collector_payloads_stored_total",
    "labels": "capstan_collector_labels_total",
    "answered": "capstan_collector_requests_answered_total",
    "refused": "capstan_collector_requests_refused_total",
}


@dataclass(frozen=True)
class FleetNumbers:
    """What Prometheus knew at one moment."""

    versions: Mapping[Key, Sequence[VersionNumbers]] = field(default_factory=dict)
    totals: Mapping[Key, Totals] = field(default_factory=dict)
    budgets: Mapping[Key, Mapping[str, Budget]] = field(default_factory=dict)


class FleetQuery:
    """Asks for all systems at once, whatever their number; raises UnavailableError when Prometheus is away."""

    def __init__(self, query: Query, *, window: str = "1m") -> None:
        self._query = query
        self._window = window

    def __call__(self) -> FleetNumbers:
        requests, refused, errors = (
            self._by_version(f"rate(capstan_requests_total{{{codes}}}[{self._window}])")
            for codes in ('namespace!=""', 'namespace!="",code=~"4.."', 'namespace!="",code=~"5.."')
        )
        p50, p99 = (self._quantile(level) for level in (0.5, 0.99))
        versions: dict[Key, list[VersionNumbers]] = {}
        for (namespace, system, version, role), rate in requests.items():
            if rate <= 0:
                continue
            key = (namespace, system, version, role)
            versions.setdefault((namespace, system), []).append(
                VersionNumbers(
                    version,
                    role,
                    rate,
                    refused.get(key, 0.0),
                    errors.get(key, 0.0),
                    p50.get(key),
                    p99.get(key),
                )
            )
        return FleetNumbers(
            {key: in_order(found) for key, found in versions.items()}, self._totals(), self._budgets()
        )

    def _budgets(self) -> Mapping[Key, Mapping[str, Budget]]:
        left, burning = (self._by_system(query) for query in queries('namespace!=""'))
        return {key: budgets_of(left.get(key, ()), burning.get(key, ())) for key in left | burning}

    def _by_system(self, query: str) -> dict[Key, list[Sample]]:
        found: dict[Key, list[Sample]] = {}
        for sample in self._query.instant(query):
            key = (sample.labels.get("namespace", ""), sample.labels.get("system", ""))
            found.setdefault(key, []).append(sample)
        return found

    def _totals(self) -> Mapping[Key, Totals]:
        found: dict[Key, dict[str, int]] = {}
        for name, metric in _TOTALS.items():
            for sample in self._query.instant(f'sum by (namespace,system) ({metric}{{namespace!=""}})'):
                key = (sample.labels.get("namespace", ""), sample.labels.get("system", ""))
                found.setdefault(key, {})[name] = int(sample.value)
        return {key: _totals(counts) for key, counts in found.items()}

    def _quantile(self, level: float) -> dict[tuple[str, ...], float]:
        rate = f'rate(capstan_request_seconds_bucket{{namespace!=""}}[{self._window}])'
        return self._read(f"histogram_quantile({level}, sum by (namespace,system,version,role,le) ({rate}))")

    def _by_version(self, rate: str) -> dict[tuple[str, ...], float]:
        return self._read(f"sum by (namespace,system,version,role) ({rate})")

    def _read(self, query: str) -> dict[tuple[str, ...], float]:
        names = ("namespace", "system", "version", "role")
        return {
            tuple(sample.labels.get(name, "") for name in names): sample.value
            for sample in self._query.instant(query)
        }


def system_numbers(ask: Callable[[], FleetNumbers], key: Key) -> Callable[[], Sequence[VersionNumbers]]:
    """Those of one system."""
    return lambda: ask().versions.get(key, ())


def system_totals(ask: Callable[[], FleetNumbers], key: Key) -> Callable[[], Totals]:
    """Those of one system; nothing is known of one that Prometheus does not know."""
    return lambda: ask().totals.get(key, Totals())


def system_budgets(ask: Callable[[], FleetNumbers], key: Key) -> Callable[[], Mapping[str, Budget]]:
    """Those of one system."""
    return lambda: ask().budgets.get(key, {})


def _totals(counts: Mapping[str, int]) -> Totals:
    answered, refused = counts.get("answered"), counts.get("refused")
    if answered is not None and refused is not None:
        # The collector counts the refused among the answered.
        answered -= refused
    return Totals(
        answered=answered, refused=refused, stored=counts.get("stored"), labels=counts.get("labels")
    )
