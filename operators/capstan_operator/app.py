"""One operator process: first the Lease, then the watches, then the loop; all of it ends together."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import kopf
from prometheus_client.core import Metric

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.settings import RELEASE, ClusterSettings
from capstan.engine.standstill import standstill_metrics
from capstan.errors import CapstanError
from capstan.ports.kube import Kube
from capstan_operator import metrics as measured
from capstan_operator.cache import WATCHED, WatchedKind, WatchedKube
from capstan_operator.handlers import NoMemories, WatchLog, login_by, registry_of, settings_for
from capstan_operator.leader import Leadership, LeaseLock, Timing
from capstan_operator.loop import SystemLoop, Wiring
from capstan_operator.memory import give_back_memory
from capstan_operator.metrics import Metrics
from capstan_operator.web import PORT, Health, WebServer, create_app
from capstan_operator.workers import Key, Workers

logger = logging.getLogger(__name__)

STUCK_SECONDS = 300.0
"""Seconds after which a look is taken for one that will not end by itself."""
SILENT_WATCH_SECONDS = 75.0
"""Seconds without a new watch after which none is expected. Each watch is opened anew every 25 to 31 s."""
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
        self._stop_kopf = threading.Event()
        self._is_listed = threading.Event()
        self._stage = "waiting for the Lease"
        self._watched: dict[str, WatchedKind] = {}
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
        self._resyncing = ThreadPoolExecutor(1, thread_name_prefix="resync")
        self._log: WatchLog | None = None
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
        # Asked only now: a standby may have waited for weeks, and Seldon may have come or gone meanwhile.
        self._watched = {
            kind: watch
            for kind, watch in self._options.watched.items()
            if not watch.optional or self._client.serves(kind)
        }
        self._cache.begin(self._watched)
        self._log = WatchLog(self._watched, self._on_list)
        kopf_thread = threading.Thread(target=self._watch, name="kopf", daemon=True)
        kopf_thread.start()
        while not self._stop.is_set() and not self._is_listed.wait(0.2):
            self._end_if_deaf()
        if self._is_listed.is_set():
            self._stage = "leading"
            self._workers.start()
            logger.info("acting on %d systems", self._cache.count()["MLSystem"])
        while not self._stop.wait(_GUARD_SECONDS):
            self._end_if_deaf()
        return self._finish(kopf_thread)

    def _end_if_deaf(self) -> None:
        """End the process when kopf can neither go on nor end, as when a watched kind is uninstalled."""
        silent = self._silent_watches()
        if silent:
            self._lost("; ".join(silent))

    def _finish(self, kopf_thread: threading.Thread) -> int:
        self._stage = "stopping"
        logger.info("stopping: running looks get %.0f s", FINISH_SECONDS)
        is_idle = self._workers.stop(FINISH_SECONDS)
        self._stop_kopf.set()
        kopf_thread.join(timeout=5.0)
        self._resyncing.shutdown(wait=False, cancel_futures=True)
        if not is_idle:
            # The last call may still be under way, so the Lease is not given back: the next operator waits for its end.
            logger.warning("a look did not end in time; the Lease ends by itself")
            return 0
        self._leadership.release()
        self._metrics.note_leader(holds=False)
        return 0

    def _watch(self) -> None:
        log = self._log
        assert log is not None
        namespaces = self._settings.watch_namespaces
        try:
            kopf.run(
                registry=registry_of(self._cache, self._watched, self._told, login_by(self._client, log)),
                settings=settings_for(self._watched),
                memories=NoMemories(),
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=self._stop_kopf,
            )
        except Exception:
            logger.exception("the watches ended")
        if not self._stop.is_set():
            self._lost("nothing is watched any more")

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

    def _on_list(self, kind: str) -> None:
        if not self._stop.is_set():
            self._resyncing.submit(self._resync, kind)

    def _resync(self, kind: str) -> None:
        while not self._stop.is_set():
            try:
                news = self._cache.resync(kind)
            except CapstanError as error:
                logger.warning("listing %s: %s", kind, error)
                self._stop.wait(2.0)
                continue
            for key in set(news):
                if key[1]:
                    self._workers.add(key)
            give_back_memory()
            if not self._cache.unlisted:
                self._is_listed.set()
            return

    # -- how it goes

    def liveness(self) -> Health:
        """Whether it makes sense to go on with this process."""
        log = self._log
        if log is None or self._stage == "stopping":
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
        ages = self._log.ages() if self._log is not None else {}
        return [
            f"the watch of {plural} was last opened {age:.0f} s ago"
            for plural, age in ages.items()
            if age > SILENT_WATCH_SECONDS
        ]

    def _dead_workers(self) -> list[str]:
        return self._workers.dead() if self._stage == "leading" else []

    def _exposed(self) -> bytes:
        self._workers.note_depth()
        return self._metrics.text()

    def _measure(self) -> Iterator[Metric]:
        calls: Counter[tuple[str, str]] = Counter(self._client.calls)
        calls.update(self._impatient.calls)
        log = self._log
        if log is not None:
            calls.update(log.calls)
            yield measured.watch_ages(log.ages())
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
