"""The counters of one model service, in one process, at 0 from the start and of bounded cardinality."""

from __future__ import annotations

import os
from collections.abc import Sequence

# `bentoml serve` sets it for its workers. Values would then live in files that are kept by pid and that every other
# `bentoml serve` of the same home deletes; one worker needs none of that. prometheus_client reads it when imported.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_LATEST
ROLES = ("champion", "challenger", "shadow")
CODES = (200, 404, 413, 415, 422, 500)
LOSSES = ("overflow", "rejected", "shutdown")
LATENCY_BUCKETS = tuple(0.0005 * 1.5**power for power in range(27))
"""0.5 ms to 19 s."""


class ServiceMetrics:
    """One registry per service, so that several can live in one test process."""

    def __init__(self, system: str, version: str) -> None:
        self._registry = CollectorRegistry()
        requests = Counter(
            "capstan_requests_total",
            "Prediction requests answered.",
            ("system", "version", "role", "code"),
            registry=self._registry,
        )
        seconds = Histogram(
            "capstan_request_seconds",
            "From the first byte of a prediction request to its answer.",
            ("system", "version", "role"),
            buckets=LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._requests = {
            (role, code): requests.labels(system, version, role, str(code))
            for role in ROLES
            for code in CODES
        }
        self._seconds = {role: seconds.labels(system, version, role) for role in ROLES}
        self.nonfinite = Counter(
            "capstan_nonfinite_predictions_total",
            "Predictions that were NaN or infinite, answered with 500.",
            ("version",),
            registry=self._registry,
        ).labels(version)
        self.produced = Counter(
            "capstan_payloads_produced_total",
            "Payloads numbered so far.",
            ("system", "version"),
            registry=self._registry,
        ).labels(system, version)
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
        self._compiled = Gauge(
            "capstan_compiled_path",
            "1 if single rows go through the compiled path, 0 if it was not equal to the pipeline.",
            ("system", "version"),
            registry=self._registry,
        ).labels(system, version)
        self._system, self._version = system, version

    def answered(self, role: str, code: int, seconds: float) -> None:
        self._requests[role, code].inc()
        self._seconds[role].observe(seconds)

    def set_compiled(self, compiled: bool) -> None:
        self._compiled.set(1 if compiled else 0)

    def outside_counters(self, columns: Sequence[str]) -> dict[str, Counter]:
        return {column: self._outside.labels(self._system, self._version, column) for column in columns}

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
