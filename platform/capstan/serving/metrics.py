"""The counters of one model service, in one process, at 0 from the start and of bounded cardinality."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

# `bentoml serve` sets it for its workers. Values would then live in files that are kept by pid and that every other
# `bentoml serve` of the same home deletes; one worker needs none of that. prometheus_client reads it when imported.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from capstan.ports.latency import LATENCY_BUCKETS
from capstan.serving.gpus import Gpus

disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_LATEST
ROLES = ("champion", "challenger", "shadow")
CODES = (200, 404, 413, 415, 422, 500, 503)
LOSSES = ("overflow", "rejected", "shutdown")
_BUCKET_NAMES = [floatToGoString(bound) for bound in (*LATENCY_BUCKETS, float("inf"))]  # type: ignore[no-untyped-call]


class Answers(Collector):
    """Counts of what every request changes: plain numbers of one thread, which become metrics when they are asked for.

    `Counter` and `Histogram` of the library lock for each number, and cost six times as much.
    """

    def __init__(self, system: str, version: str) -> None:
        self._labels = (system, version)
        self._payloads = 0
        self._codes = {role: dict.fromkeys(CODES, 0) for role in ROLES}
        self._buckets = {role: [0] * (len(LATENCY_BUCKETS) + 1) for role in ROLES}
        self._seconds = dict.fromkeys(ROLES, 0.0)

    def add(self, role: str, code: int, seconds: float) -> None:
        """One answer."""
        self._codes[role][code] += 1
        self._buckets[role][bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self._seconds[role] += seconds

    def add_payloads(self, count: int) -> None:
        """Payloads that were numbered."""
        self._payloads += count

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "capstan_requests_total",
            "Prediction requests answered.",
            labels=("system", "version", "role", "code"),
        )
        seconds = HistogramMetricFamily(
            "capstan_request_seconds",
            "From the first byte of a prediction request to its answer.",
            labels=("system", "version", "role"),
        )
        for role in ROLES:
            for code, count in self._codes[role].items():
                requests.add_metric((*self._labels, role, str(code)), count)
            buckets = list(zip(_BUCKET_NAMES, accumulate(self._buckets[role]), strict=True))
            seconds.add_metric((*self._labels, role), buckets, self._seconds[role])
        payloads = CounterMetricFamily(
            "capstan_payloads_produced_total", "Payloads numbered so far.", labels=("system", "version")
        )
        payloads.add_metric(self._labels, self._payloads)
        yield from (requests, seconds, payloads)


class ServiceMetrics:
    """One registry per service, so that several can live in one test process."""

    def __init__(self, system: str, version: str) -> None:
        self._registry = CollectorRegistry()
        answers = Answers(system, version)
        self._registry.register(answers)
        # Processor time, memory and open files of the process that answers, where there is /proc.
        ProcessCollector(registry=self._registry)
        self._registry.register(Gpus())
        self.answered = answers.add
        self.nonfinite = Counter(
            "capstan_nonfinite_predictions_total",
            "Predictions that were NaN or infinite, answered with 500.",
            ("version",),
            registry=self._registry,
        ).labels(version)
        self.payloads_produced = answers.add_payloads
        lost = Counter(
            "capstan_payloads_lost_total",
            "Payloads that will never reach the collector.",
            ("system", "version", "reason"),
            registry=self._registry,
        )
        self.lost = {reason: lost.labels(system, version, reason) for reason in LOSSES}
        self._outside = Counter(
            "capstan_outside_training_total",
            "Values that were answered though training never saw their like: out of range, unknown, missing.",
            ("system", "version", "column"),
            registry=self._registry,
        )
        self._stale = Counter(
            "capstan_stale_events_total",
            "Rows whose event features were stale, whatever was done about it.",
            ("system", "version", "table"),
            registry=self._registry,
        )
        self._compiled = Gauge(
            "capstan_compiled_path",
            "1 if single rows go through the compiled path, 0 if it was not equal to the pipeline.",
            ("system", "version"),
            registry=self._registry,
        ).labels(system, version)
        self._system, self._version = system, version

    def set_compiled(self, compiled: bool) -> None:
        self._compiled.set(1 if compiled else 0)

    def outside_counters(self, columns: Sequence[str]) -> dict[str, Counter]:
        return {column: self._outside.labels(self._system, self._version, column) for column in columns}

    def stale_counters(self, tables: Sequence[str]) -> dict[str, Counter]:
        return {table: self._stale.labels(self._system, self._version, table) for table in tables}

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
