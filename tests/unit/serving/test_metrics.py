"""The service's own counts are told as the library would tell them."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from capstan.serving.metrics import CODES, LATENCY_BUCKETS, ROLES, Answers, ServiceMetrics


def told(registry: CollectorRegistry) -> list[str]:
    return sorted(generate_latest(registry).decode().splitlines())


def test_counts_of_answers_are_told_as_counter_and_histogram_tell_them() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    answers = Answers("toy", "v1")
    ours.register(answers)
    requests = Counter(
        "capstan_requests_total",
        "Prediction requests answered.",
        ("system", "version", "role", "code"),
        registry=theirs,
    )
    seconds = Histogram(
        "capstan_request_seconds",
        "From the first byte of a prediction request to its answer.",
        ("system", "version", "role"),
        buckets=LATENCY_BUCKETS,
        registry=theirs,
    )
    payloads = Counter(
        "capstan_payloads_produced_total", "Payloads numbered so far.", ("system", "version"), registry=theirs
    ).labels("toy", "v1")
    for role in ROLES:
        seconds.labels("toy", "v1", role)
        for code in CODES:
            requests.labels("toy", "v1", role, str(code))
    assert told(ours) == told(theirs)
    rng = random.Random(7)
    for took in (*LATENCY_BUCKETS, 0.0, 100.0, *(rng.expovariate(100) for _ in range(500))):
        role, code = rng.choice(ROLES), rng.choice(CODES)
        answers.add(role, code, took)
        requests.labels("toy", "v1", role, str(code)).inc()
        seconds.labels("toy", "v1", role).observe(took)
        answers.add_payloads(1)
        payloads.inc()
    assert told(ours) == told(theirs)


def test_a_service_tells_its_answers_and_payloads() -> None:
    metrics = ServiceMetrics("toy", "v1")
    metrics.answered("shadow", 422, 0.0003)
    metrics.payloads_produced(1)
    lines = metrics.exposition().decode().splitlines()
    assert 'capstan_requests_total{code="422",role="shadow",system="toy",version="v1"} 1.0' in lines
    assert 'capstan_request_seconds_bucket{le="0.0005",role="shadow",system="toy",version="v1"} 1.0' in lines
    assert 'capstan_payloads_produced_total{system="toy",version="v1"} 1.0' in lines
