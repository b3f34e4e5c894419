"""One gateway pod: which configuration its Envoy has, from whom it takes a newer one, and whether requests may come."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence

import orjson

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy import host as envoy_host
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.host import EnvoyHost, Kind
from capstan.adapters.envoy.order import OrderedTraffic, versions_of
from capstan.errors import ConflictError, UnavailableError
from capstan.files import write_whole
from capstan.gateway.documents import Configuration, Document, RefusedError
from capstan.gateway.envoy_process import EnvoyProcess

_LOG = logging.getLogger(__name__)
PART = "the gateway's agent"
BUSY_SECONDS = 4.0
"""Seconds for which a push waits for the change that is under way."""
READY_SECONDS = 2.0
"""Seconds for which a version is waited for before its first requests. It is short, since the operator has waited
already.
"""
WARM_SECONDS = 10.0
"""Seconds for which a starting pod may stay unready for a failing champion. After that other pods cannot do
better.
"""


class GatewayPod(OrderedTraffic):
    """Keeps one Envoy at the newest configuration that it was pushed, that is mounted, or that its peers have."""

    def __init__(self, envoy: EnvoyProcess, host: EnvoyHost, settings: GatewaySettings) -> None:
        super().__init__(settings, ready_timeout_seconds=READY_SECONDS, sleep=time.sleep)
        self.envoy = envoy
        self._host = host
        self._kept = envoy.files.folder / "configuration.json"
        self._changing = threading.Lock()
        self._configuration: Configuration | None = None
        self._early: dict[Kind, Document] = {}
        """Documents that were pushed before Envoy was started."""
        self._started = 0.0
        self._is_warm = False
        self.draining = False

    @property
    def configuration(self) -> Configuration | None:
        """Configuration that Envoy has; None: Envoy is not started yet."""
        return self._configuration

    def begin(self, candidates: Sequence[Configuration]) -> None:
        """Start Envoy with the newest of these, of what an earlier life of the container kept, and of nothing."""
        with self._change():
            empty = Configuration(
                Document(0, envoy_config.document(envoy_config.clusters(None, {}, self.settings))[1]),
                Document(0, envoy_config.document([envoy_config.routes(None, self.settings)])[1]),
            )
            # Of equal ones the first is taken: the mounted one is whole, a kept one may be half of a push.
            newest = max([*candidates, *self._earlier(), empty], key=lambda found: found.rank[0])
            for kind, document in sorted(self._early.items()):
                if document.generation > newest.of(kind).generation:
                    with contextlib.suppress(RefusedError):
                        newest = newest.replaced(kind, document)
            _LOG.info("starting with generation %d", newest.rank[0])
            self._lay("clusters", newest.clusters.content)
            self._lay("routes", newest.routes.content)
            self._remember(newest)
            self._started = time.monotonic()
            self.envoy.start()

    def push(self, kind: Kind, document: Document) -> None:
        """Take what the operator sends.

        Raises ConflictError if it is older than what is obeyed, RefusedError if requests would be lost by it,
        UnavailableError while another change is under way. Before Envoy is started it is only kept for the start.
        """
        with self._change():
            now = self._configuration
            if now is None:
                self._early[kind] = document
                return
            if document.generation < now.of(kind).generation:
                raise ConflictError(f"generation {now.of(kind).generation} is obeyed, which is newer")
            changed = now.replaced(kind, document)
            if kind == "routes":
                self._await_new(document)
            self._lay(kind, document.content)
            self._remember(changed)

    def follow(self, found: Configuration | None) -> bool:
        """Take what is mounted if it is newer than what was pushed, in the safe order; whether it was.

        Raises UnavailableError if a version that is to get its first requests is not ready: it is tried again.
        """
        with self._change():
            now = self._configuration
            if found is None or now is None or found.rank <= now.rank:
                return False
            if any(found.of(kind).content != now.of(kind).content for kind in ("clusters", "routes")):
                _LOG.info("generation %d was mounted and not pushed", found.rank[0])
                self._move(found.clusters.resources, found.routes.resources[0])
            self._remember(found)
            return True

    def is_ready(self) -> bool:
        """Whether Envoy listens, its first champion was found well, and the pod is not on its way out."""
        if self.draining or self._configuration is None:
            return False
        try:
            if self.envoy.read("/ready").strip() != b"LIVE":
                return False
            self._is_warm = self._is_warm or self._has_warmed_up()
        except UnavailableError:
            return False
        return self._is_warm

    def _has_warmed_up(self) -> bool:
        """Whether there is a table of routes whose champion passes its health check, or has failed it for long."""
        tables = envoy_host.live(self._host, "routes")
        if not tables:
            return False
        split = envoy_config.split_of(tables[0])
        is_late = time.monotonic() - self._started > WARM_SECONDS
        return split is None or is_late or envoy_host.health(self._host).get(split.champion, False)

    def is_alive(self) -> bool:
        """Whether Envoy answers, if it was started."""
        return self._configuration is None or self.envoy.answers()

    def _await_new(self, routes: Document) -> None:
        """Wait until the versions that are to get their first requests here pass their health checks.

        The operator has waited for the pods that it found ready, not for one that became so meanwhile.
        """
        wanted = versions_of(envoy_config.split_of(routes.resources[0]))
        with contextlib.suppress(UnavailableError):
            self._await_ready(wanted - self._answering())

    def _hosts(self) -> Sequence[EnvoyHost]:
        return (self._host,)

    def _lay(self, kind: Kind, content: bytes) -> None:
        # Envoy reads the file when it is renamed. The same content is moved there again, in case an edit went unseen.
        self.envoy.files.of(kind).unlink(missing_ok=True)
        self._host.publish(kind, content)

    def _remember(self, configuration: Configuration) -> None:
        write_whole(self._kept, orjson.dumps(configuration.to_json()))
        self._configuration = configuration

    def _earlier(self) -> list[Configuration]:
        try:
            return [Configuration.from_json(orjson.loads(self._kept.read_bytes()))]
        except (OSError, ValueError):
            return []

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        if not self._changing.acquire(timeout=BUSY_SECONDS):
            raise UnavailableError(PART, "another change is under way")
        try:
            yield
        finally:
            self._changing.release()
