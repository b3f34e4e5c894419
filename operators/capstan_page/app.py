"""One page process: the watches that it reads from, and the server that people see."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.watching.cache import WatchedKind, WatchedKube
from capstan.cluster.watching.watches import Watches
from capstan.dashboard.app import create_app
from capstan.errors import PortInUseError
from capstan_page.access import ClusterAccess
from capstan_page.reviews import Reviews
from capstan_page.systems import ClusterSystems

logger = logging.getLogger(__name__)
PORT = 8089
METRICS_PORT = 8090
"""What Prometheus and the kubelet ask; people have no business there."""
WATCHED: Mapping[str, WatchedKind] = {
    "MLSystem": WatchedKind(labelled=False),
    "TrainingRun": WatchedKind(labelled=False),
    "ModelRollout": WatchedKind(labelled=False),
    "ConfigMap": WatchedKind(),
    "Deployment": WatchedKind(),
    "Pod": WatchedKind(),
    "SeldonDeployment": WatchedKind(optional=True),
}
"""What the page watches: one watch per kind, whatever the number of systems and of open pages."""
LOOK_SECONDS = 2.0
"""Seconds between two looks at a system that somebody watches."""
SWITCH_SECONDS = 0.001
"""Longest time that a thread which looks at systems keeps the server from answering; Python's own is five times it."""
COLLECT_SECONDS = 600.0
"""Seconds between two searches for all garbage. Each stops every answer, for some tenths of a second."""
_STARTS_SECONDS = 15.0
_GUARD_SECONDS = 2.0


@dataclass(frozen=True)
class Options:
    """What differs between processes."""

    host: str = "0.0.0.0"  # noqa: S104
    port: int = PORT
    metrics_port: int = METRICS_PORT
    prefix: str = ""
    namespaces: tuple[str, ...] = ()
    watched: Mapping[str, WatchedKind] = field(default_factory=lambda: WATCHED)


class PageApp:
    """Runs until stopped, or until its watches end."""

    def __init__(
        self,
        client: KubeClient,
        cache: WatchedKube,
        systems: ClusterSystems,
        access: ClusterAccess,
        reviews: Reviews,
        options: Options,
        *,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        self._client = client
        self._cache = cache
        self._systems = systems
        self._is_warm = threading.Event()
        self._reviews = reviews
        self._options = options
        self._end = end
        self._stop = threading.Event()
        self._views: Counter[str] = Counter()
        self._watches: Watches | None = None
        app = create_app(
            systems,
            access,
            prefix=options.prefix,
            interval_seconds=LOOK_SECONDS,
            doors=_doors(self._health, self._ready),
            on_view=lambda: self._views.update(["opened"]),
        )
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Asked(self._measure))

        async def metrics(_: Request) -> Response:
            return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

        probes = Starlette(routes=[Route("/metrics", metrics), *_doors(self._health, self._ready)])
        self._servers = [
            _server(app, options.host, options.port),
            _server(probes, options.host, options.metrics_port),
        ]

    def run(self) -> int:
        """Returns the exit code once it was told to stop; raises PortInUseError."""
        threads = [threading.Thread(target=server.run, name="web", daemon=True) for server in self._servers]
        for server, thread in zip(self._servers, threads, strict=True):
            thread.start()
            _await_start(server, thread)
        self._watches = watches = Watches(
            self._client,
            self._cache,
            self._options.watched,
            namespaces=self._options.namespaces,
            on_end=self._lost,
        )
        watches.start()
        logger.info("listing what there is")
        while not self._stop.is_set() and not watches.is_listed.wait(0.2):
            self._end_if_deaf(watches)
        self._systems.warm()
        quieten()
        self._is_warm.set()
        logger.info("showing %d systems", len(self._systems.addresses()))
        collected_at = time.monotonic()
        while not self._stop.wait(_GUARD_SECONDS):
            self._end_if_deaf(watches)
            if time.monotonic() - collected_at >= COLLECT_SECONDS:
                gc.collect()
                collected_at = time.monotonic()
        # Streams of open pages would go on for ever; browsers come back to another replica.
        for server in self._servers:
            server.should_exit = True
        for thread in threads:
            thread.join(timeout=5.0)
        watches.stop()
        return 0

    def stop(self) -> None:
        """Ask for the end; may be called from a signal handler."""
        self._stop.set()

    def _end_if_deaf(self, watches: Watches) -> None:
        silent = watches.silent()
        if silent:
            self._lost("; ".join(silent))

    def _lost(self, why: str) -> None:
        logger.error("%s: ending at once", why)
        logging.shutdown()
        self._end(1)

    def _health(self) -> list[str]:
        return self._watches.silent() if self._watches is not None else []

    def _ready(self) -> list[str]:
        if self._stop.is_set():
            return ["stopping"]
        return [] if self._is_warm.is_set() else ["listing"]

    def _measure(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "capstan_page_opened", "Pages that were opened.", value=self._views["opened"]
        )
        reviews = CounterMetricFamily(
            "capstan_page_reviews", "Reviews that the API server was asked for.", labels=["kind"]
        )
        for kind in ("TokenReview", "SubjectAccessReview"):
            reviews.add_metric([kind], self._reviews.calls[kind])
        yield reviews
        calls: Counter[tuple[str, str]] = Counter(self._client.calls)
        known = GaugeMetricFamily("capstan_page_objects", "Objects in memory.", labels=["kind"])
        if self._watches is not None:
            calls.update(self._watches.log.calls)
            for kind, count in self._cache.count().items():
                known.add_metric([kind], count)
        yield known
        asked = CounterMetricFamily(
            "capstan_page_api_calls", "Calls to the API server.", labels=["verb", "resource"]
        )
        for (verb, resource), count in sorted(calls.items()):
            asked.add_metric([verb, resource], count)
        yield asked


def quieten() -> None:
    """Let nothing stop all answers at once: what lives as long as the process is never searched for garbage, the
    whole heap only every `COLLECT_SECONDS`, and threads take turns more often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 1_000_000)
    sys.setswitchinterval(SWITCH_SECONDS)


def _doors(health: Callable[[], list[str]], ready: Callable[[], list[str]]) -> list[BaseRoute]:
    def probe(ask: Callable[[], list[str]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            wrong = ask()
            return PlainTextResponse("\n".join(wrong or ["ok"]) + "\n", 503 if wrong else 200)

        return answer

    return [Route("/healthz", probe(health)), Route("/readyz", probe(ready))]


def _server(app: object, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        # Who asks is the peer: headers of a proxy are believed where the settings say so, and only there.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _STARTS_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            where = f"{server.config.host}:{server.config.port}"
            raise PortInUseError(f"{where}: nothing can be served there; choose another --port")
        time.sleep(0.02)


class _Asked(Collector):
    def __init__(self, ask: Callable[[], Iterator[Metric]]) -> None:
        self._ask = ask

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._ask()
