"""The monitor's metrics: what it has decided about the watched version, for Prometheus to repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from capstan.domain.watching import OnlineStanding
from capstan.monitoring.questions import QUESTIONS, alerts
from capstan.monitoring.questions.question import Reading
from capstan.monitoring.watched_version import WatchedVersion

if TYPE_CHECKING:
    # The operator writes the rule of this gauge, and its image has no DuckDB.
    from capstan.monitoring.watching import Watcher

DATA_ALERT = "capstan_data_alert"
"""The gauge behind the rule of every data alert; its label `alert` says which."""


class Exposition(Collector):
    """Read at every scrape; all values are of one checkpoint."""

    def __init__(self, system: str, watcher: Watcher, consecutive: int) -> None:
        self._system = system
        self._watcher = watcher
        self.consecutive = consecutive

    def collect(self) -> Iterable[Metric]:
        checkpoint = self._watcher.checkpoint
        generation = _gauge("capstan_monitor_generation", "Rises with every decision", ["system"])
        generation.add_metric([self._system], checkpoint.generation)
        yield generation
        if checkpoint.watch is not None:
            system = {"system": self._system, "version": checkpoint.watch.version}
            yield from _families(system, self._readings(checkpoint.watch))
        yield from _families({"system": self._system}, _online(self._watcher.online))

    def _readings(self, watch: WatchedVersion) -> Iterable[Reading]:
        held = watch.alerts(consecutive=self.consecutive)
        for alert in alerts():
            labels = {"alert": alert.name}
            yield Reading(DATA_ALERT, "1 while the alert holds", alert.name in held, labels)
        for kind, last in (
            ("drift", watch.last_drift),
            ("quality", watch.last_quality),
            ("rows", watch.online),
        ):
            if last is not None:
                yield Reading(
                    "capstan_window_end_timestamp_seconds",
                    "End of the last window",
                    last.end.timestamp(),
                    {"window": kind},
                )
        for question in watch.questions():
            if question.end is not None:
                yield Reading(
                    "capstan_windows_unjudged",
                    "Windows in a row without a verdict, up to the last; 0 where it had one",
                    question.unjudged,
                    {"question": question.name, "reason": question.reason},
                )
        if watch.last_drift is not None:
            yield Reading("capstan_window_rows", "Rows of the last drift window", watch.last_drift.rows)
        for asked in QUESTIONS.values():
            window = watch.last(asked.kind)
            if window is not None:
                yield from asked.readings(window)


def _online(standings: Iterable[OnlineStanding]) -> Iterable[Reading]:
    for standing in standings:
        labels = {"version": standing.version, "metric": standing.metric}
        delay = standing.delay.total_seconds() if standing.delay is not None else None
        values = {
            ("capstan_online_metric", "Mean outcome of units whose time is over"): standing.value,
            ("capstan_online_standard_error", "Of the mean outcome"): standing.standard_error,
            ("capstan_online_units", "Units behind the mean outcome"): standing.units,
            ("capstan_online_coverage", "Share of units whose time is over"): standing.coverage,
            ("capstan_online_delay_seconds", "Median time from first request to events"): delay,
        }
        for (metric, text), value in values.items():
            if value is not None:
                yield Reading(metric, text, value, labels)


def _families(system: Mapping[str, str], readings: Iterable[Reading]) -> Iterable[Metric]:
    families: dict[str, GaugeMetricFamily] = {}
    for reading in readings:
        labels = {**system, **reading.labels}
        family = families.setdefault(reading.metric, _gauge(reading.metric, reading.text, list(labels)))
        family.add_metric(list(labels.values()), reading.value)
    return families.values()


def _gauge(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)
