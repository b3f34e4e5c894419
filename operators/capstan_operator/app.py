"""One operator process: first the Lease, then the watches, then the loop; all of it ends together."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.settings import RELEASE, ClusterSettings
from capstan.cluster.watching.cache import WATCHED, WatchedKind, WatchedKube
from capstan.cluster.watching.watches import Watches
from capstan.engine.standstill import standstill_metrics
from capstan.ports.kube import Kube
from capstan_operator import metrics as measured
from capstan_operator.handlers import telling
from capstan_operator.leader import Leadership, LeaseLock, Timing
from capstan_operator.loop import SystemLoop, Wiring
from capstan_operator.memory import give_back_memory
from capstan_operator.metrics import Metrics
from capstan_operator.web import PORT, Health, WebServer, create_app
from capstan_operator.workers import Key, Workers

logger = logging.getLogger(__name__)

STUCK_SECONDS = 300.0
"""Seconds after which a look is taken for one that will not end by itself."""
_GUARD_SECONDS = 2.0
FINISH_SECONDS = 15.0
"""Seconds that running looks get to end when the operator is told to stop."""
_SETTLE_SECONDS = 0.2


@dataclass(frozen=True)
class Options:
    """What differs between operators of one cluster."""

    identity: str
    """Name of the Lease's holder; never the same for two processes."""
    host: str = "0.0.0.0"  # noqa: S104
    port: int = PORT
    threads: int = 8
    timing: Timing = field(default_factory=Timing)
    watched: Mapping[str, WatchedKind] = field(default_factory=lambda: WATCHED)


class App:
    """Runs until stopped, or until the Lease is lost."""

    def __init__(
        self,
        client: KubeClient,
        settings: ClusterSettings,
        wiring: Callable[[Kube, ClusterSettings], Wiring],
        options: Options,
        webhook: WebhookReceiver,
        *,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        """`end` ends the process at once: nothing in progress may go on once the Lease is lost."""
        self._client = client
        self._settings = settings
        self._options = options
        self._end = end
        self._stop = threading.Event()
        self._stage = "waiting for the Lease"
        self._metrics = Metrics()
        self._impatient = client.impatient()
        lock = LeaseLock(self._impatient, settings.namespace, options.identity, timing=options.timing)
        self._leadership = Leadership(lock, self._lost)
        self._cache = WatchedKube(
            client,
            may_write=lambda: self._leadership.is_held,
            watched=options.watched,
            namespaces=settings.watch_namespaces,
        )
        self._loop = SystemLoop(self._cache, wiring(self._cache, settings), self._metrics, release=RELEASE)
        self._workers = Workers(self._loop.look, self._metrics, threads=options.threads)
        self._watches: Watches | None = None
        self._webhook = webhook
        self._metrics.watch(self._measure)
        self._web = WebServer(
            create_app(
                webhook=self._webhook,
                on_alert=self._hint,
                metrics=self._exposed,
                liveness=self.liveness,
                readiness=self.readiness,
            ),
            host=options.host,
            port=options.port,
        )

    # -- from start to end

    def run(self) -> int:
        """Returns the exit code once it was told to stop; raises PortInUseError."""
        self._web.start()
        logger.info("waiting for the Lease as %s", self._options.identity)
        try:
            if not self._leadership.acquire():
                return 0
            self._metrics.note_leader(holds=True)
            self._leadership.keep()
            return self._lead()
        finally:
            self._web.stop()

    def stop(self) -> None:
        """Ask for the end; may be called from a signal handler."""
        self._stop.set()
        self._leadership.give_up()

    def _lead(self) -> int:
        logger.info("holding the Lease; watching")
        self._stage = "listing"
        self._watches = watches = Watches(
            self._client,
            self._cache,
            self._options.watched,
            namespaces=self._settings.watch_namespaces,
            observe=telling(self._cache, self._told),
            on_list=self._on_list,
            on_end=self._lost,
        )
        watches.start()
        while not self._stop.is_set() and not watches.is_listed.wait(0.2):
            self._end_if_deaf()
        if watches.is_listed.is_set():
            self._stage = "leading"
            self._workers.start()
            logger.info("acting on %d systems", self._cache.count()["MLSystem"])
        while not self._stop.wait(_GUARD_SECONDS):
            self._end_if_deaf()
        return self._finish(watches)

    def _end_if_deaf(self) -> None:
        """End the process when kopf can neither go on nor end, as when a watched kind is uninstalled."""
        silent = self._silent_watches()
        if silent:
            self._lost("; ".join(silent))

    def _finish(self, watches: Watches) -> int:
        self._stage = "stopping"
        watches.end()
        logger.info("stopping: running looks get %.0f s", FINISH_SECONDS)
        is_idle = self._workers.stop(FINISH_SECONDS)
        watches.stop()
        if not is_idle:
            # The last call may still be under way, so the Lease is not given back: the next operator waits for its end.
            logger.warning("a look did not end in time; the Lease ends by itself")
            return 0
        self._leadership.release()
        self._metrics.note_leader(holds=False)
        return 0

    def _lost(self, why: str) -> None:
        logger.error("%s: ending at once", why)
        logging.shutdown()
        self._end(1)

    # -- what happens

    def _told(self, key: Key, is_urgent: bool) -> None:
        if is_urgent:
            self._workers.hint(key)
        else:
            self._workers.add(key, after=_SETTLE_SECONDS)

    def _hint(self, systems: frozenset[str]) -> None:
        for namespace, name in self._cache.places("MLSystem"):
            if name in systems:
                self._workers.hint((namespace, name))

    def _on_list(self, news: Sequence[tuple[str, str]]) -> None:
        for key in set(news):
            if key[1]:
                self._workers.add(key)
        give_back_memory()

    # -- how it goes

    def liveness(self) -> Health:
        """Whether it makes sense to go on with this process."""
        if self._watches is None or self._stage == "stopping":
            return Health(True, (self._stage,))
        wrong = [f"thread {name} has ended" for name in self._dead_workers()]
        seconds = self._workers.longest_look_seconds()
        if seconds > STUCK_SECONDS:
            wrong.append(f"a look has been running for {seconds:.0f} s")
        wrong += self._silent_watches()
        return Health(not wrong, tuple(wrong) or (self._stage,))

    def readiness(self) -> Health:
        """A standby is ready too: it takes over as soon as it may."""
        if self._stage == "waiting for the Lease":
            holder = self._leadership.holder
            return Health(True, (f"standby; the Lease is held by {holder or 'nobody yet'}",))
        return Health(self._stage == "leading", (self._stage,))

    def _silent_watches(self) -> list[str]:
        return self._watches.silent() if self._watches is not None else []

    def _dead_workers(self) -> list[str]:
        return self._workers.dead() if self._stage == "leading" else []

    def _exposed(self) -> bytes:
        self._workers.note_depth()
        return self._metrics.text()

    def _measure(self) -> Iterator[Metric]:
        calls: Counter[tuple[str, str]] = Counter(self._client.calls)
        calls.update(self._impatient.calls)
        if self._watches is not None:
            calls.update(self._watches.log.calls)
            yield measured.watch_ages(self._watches.log.ages())
        yield measured.api_calls(calls)
        yield measured.webhooks(
            accepted=self._webhook.accepted,
            refused=self._webhook.refused,
            malformed=self._webhook.malformed,
        )
        phases: Counter[str] = Counter()
        for document in self._cache.walk("MLSystem"):
            phases[str((document.get("status") or {}).get("phase") or "")] += 1
        yield measured.systems_by_phase(phases)
        yield from standstill_metrics(self._loop.standstills())


def new_identity(name: str) -> str:
    """A name for one process. A pod that is started again must not take its former Lease for its present one."""
    return f"{name}_{os.getpid()}_{int(time.time() * 1000):x}"
