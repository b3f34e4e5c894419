"""The loop's own metrics: webhook notifications, decisions, and who is champion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.dashboard.view import View
from capstan.engine.standstill import standstill_metrics

STANDSTILL_PATH = "/metrics/standstill"
"""Path that Prometheus asks for all the time; for the other metrics everything is looked at."""


class _Loop(Collector):
    def __init__(self, view: View, webhook: WebhookReceiver) -> None:
        self._view = view
        self._webhook = webhook
        self._decisions: Counter[str] = Counter()
        self._told = 0

    def collect(self) -> Iterator[Metric]:
        notifications = CounterMetricFamily(
            "capstan_webhook_notifications", "Alert notifications by what became of them.", labels=["outcome"]
        )
        for outcome in ("accepted", "refused", "malformed"):
            notifications.add_metric([outcome], getattr(self._webhook, outcome))
        yield notifications
        page = self._view.snapshot()
        for event in self._view.events(self._told):
            self._told = event.number
            self._decisions[event.reason] += 1
        decisions = CounterMetricFamily(
            "capstan_decisions", "Lines of the story by reason.", labels=["system", "reason"]
        )
        for reason, count in sorted(self._decisions.items()):
            decisions.add_metric([page.head.name, reason], count)
        yield decisions
        roles = GaugeMetricFamily(
            "capstan_version_info",
            "1 for each version that has a role.",
            labels=["system", "version", "role"],
        )
        for version in page.versions:
            if version.role:
                roles.add_metric([page.head.name, version.name, version.role], 1)
        yield roles


class LoopMetrics:
    """Renders `/metrics`."""

    def __init__(self, view: View, webhook: WebhookReceiver) -> None:
        self._loop = _Loop(view, webhook)

    def render(self) -> bytes:
        """The text format; raises what the view raises."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Described(self._loop))
        return bytes(generate_latest(registry))


def render_standstill(view: View) -> bytes:
    """Standstill of this loop in Prometheus' text format; raises NotFoundError before there is a system."""
    system, standstill = view.standstill()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(list(standstill_metrics([(None, system, standstill)]))))
    return bytes(generate_latest(registry))


class _Given(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


class _Described(Collector):
    """A collector that is registered without a look at the system."""

    def __init__(self, inner: Collector) -> None:
        self._inner = inner

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._inner.collect()
