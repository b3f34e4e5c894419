"""The operator's own metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as PromCounter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_LOOK_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counters and gauges with one registry, so that several operators can live in one test process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        gauge, registry = Gauge, self.registry
        self._depth = gauge("capstan_queue_depth", "Systems due for a look.", registry=registry)
        self._waiting = gauge("capstan_queue_waiting", "Systems with a planned look.", registry=registry)
        self._running = gauge("capstan_queue_running", "Looks in progress.", registry=registry)
        self._resting = gauge("capstan_queue_resting", "Systems whose last look failed.", registry=registry)
        self._leader = gauge("capstan_leader", "1 while this operator holds the Lease.", registry=registry)
        self._looks = Histogram(
            "capstan_reconcile_seconds", "Duration of a look.", buckets=_LOOK_BUCKETS, registry=registry
        )
        self._errors = PromCounter(
            "capstan_reconcile_errors", "Looks that failed, by error.", ["error"], registry=registry
        )
        self._put_back = PromCounter(
            "capstan_objects_put_back", "Objects that somebody had changed or deleted.", registry=registry
        )
        self._leader.set(0)

    def note_queue(self, *, depth: int, waiting: int, running: int, resting: int) -> None:
        self._depth.set(depth)
        self._waiting.set(waiting)
        self._running.set(running)
        self._resting.set(resting)

    def note_look(self, seconds: float) -> None:
        self._looks.observe(seconds)

    def note_error(self, error: BaseException) -> None:
        self._errors.labels(type(error).__name__).inc()

    def note_leader(self, *, holds: bool) -> None:
        self._leader.set(int(holds))

    def note_put_back(self) -> None:
        self._put_back.inc()

    def watch(self, read: Callable[[], Iterator[Metric]]) -> None:
        """Ask `read` at every scrape."""
        self.registry.register(_Asked(read))

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self.registry)


class _Asked:
    """Metrics that are counted elsewhere and only read at a scrape."""

    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        return self._read()

    def describe(self) -> Iterator[Metric]:
        # Without this the registry would ask for all values at registration, before anything has started.
        return iter(())


def api_calls(calls: Mapping[tuple[str, str], int]) -> Metric:
    """Calls to the API server by verb and resource, tries included."""
    family = CounterMetricFamily(
        "capstan_api_calls", "Calls to the API server, tries included.", labels=["verb", "resource"]
    )
    for (verb, resource), count in sorted(calls.items()):
        family.add_metric([verb, resource], count)
    return family


def systems_by_phase(phases: Counter[str]) -> Metric:
    """How many systems are in which phase."""
    family = GaugeMetricFamily("capstan_systems", "Systems by phase.", labels=["phase"])
    for phase, count in sorted(phases.items()):
        family.add_metric([phase or "Unknown"], count)
    return family


def webhooks(*, accepted: int, refused: int, malformed: int) -> Metric:
    """Notifications of Alertmanager by what became of them."""
    family = CounterMetricFamily("capstan_webhooks", "Notifications of Alertmanager.", labels=["outcome"])
    for outcome, count in (("accepted", accepted), ("refused", refused), ("malformed", malformed)):
        family.add_metric([outcome], count)
    return family


def watch_ages(ages: Mapping[str, float]) -> Metric:
    """Seconds since each watch was last opened, by resource."""
    family = GaugeMetricFamily(
        "capstan_watch_age_seconds", "Since the watch was last opened.", labels=["resource"]
    )
    for resource, seconds in sorted(ages.items()):
        family.add_metric([resource], seconds)
    return family
