"""Keeps the memory of a cluster equal to the cluster: kopf's watches, and a list where a watch may have missed things.

Only `on.event` handlers are used: kopf then writes nothing, neither annotations nor finalizers. Its connection is ours,
so that each opening of a watch is seen: a watch that went silent is opened again by kopf's own time limits, and a list
in place of a watch means that deletions may have been missed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from capstan.adapters.kubernetes.client import RESOURCES, KubeClient
from capstan.cluster.names import SYSTEM_LABEL
from capstan.cluster.watching.cache import PAGE, WatchedKind, WatchedKube
from capstan.errors import CapstanError
from capstan.ports.kube import Object

logger = logging.getLogger(__name__)

SERVER_SECONDS = 25
"""Seconds after which the API server ends a watch. It says how far it got, so an idle watch is opened anew and not
listed.
"""
SILENT_SECONDS = 31.0
"""Seconds without a word after which a connection is dead: even the end of the watch did not come."""
SILENT_WATCH_SECONDS = 75.0
"""Seconds without a new watch after which none is expected. Each watch is opened anew every 25 to 31 s."""

Observe = Callable[[str, "str | None", Object], None]
"""(kind, what happened, the object): takes over what a watch tells."""


class Watches:
    """Runs the watches of one process in threads of their own; the memory is whole once `is_listed` is set."""

    def __init__(
        self,
        client: KubeClient,
        cache: WatchedKube,
        watched: Mapping[str, WatchedKind],
        *,
        namespaces: Sequence[str] = (),
        observe: Observe | None = None,
        on_list: Callable[[Sequence[tuple[str, str]]], None] = lambda _: None,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`observe` takes over what a watch tells, as `cache.observe` does, which is the default.

        `on_list` is told (namespace, system) of all that a list has brought; `on_end` why nothing is watched any more.
        """
        self._client = client
        self._cache = cache
        self._watched = {
            # Asked only now: a standby may have waited for weeks, and Seldon may have come or gone meanwhile.
            kind: watch
            for kind, watch in watched.items()
            if not watch.optional or client.serves(kind)
        }
        self._namespaces = namespaces
        self._observe = observe or self._take_over
        self._on_list = on_list
        self._on_end = on_end
        self._stop = threading.Event()
        self._stop_kopf = threading.Event()
        self.is_listed = threading.Event()
        self._resyncing = ThreadPoolExecutor(1, thread_name_prefix="resync")
        cache.begin(self._watched)
        self.log = WatchLog(self._watched, self._listed)
        self._thread = threading.Thread(target=self._watch, name="kopf", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Take no more lists over; the watches themselves go on until `stop`."""
        self._stop.set()

    def stop(self) -> None:
        self._stop.set()
        self._stop_kopf.set()
        self._thread.join(timeout=5.0)
        self._resyncing.shutdown(wait=False, cancel_futures=True)

    def silent(self) -> list[str]:
        """Watches that do not go on and do not end, as when a watched kind is uninstalled; in words."""
        return [
            f"the watch of {plural} was last opened {age:.0f} s ago"
            for plural, age in self.log.ages().items()
            if age > SILENT_WATCH_SECONDS
        ]

    def _take_over(self, kind: str, event: str | None, document: Object) -> None:
        self._cache.observe(kind, event, document)

    def _watch(self) -> None:
        try:
            kopf.run(
                registry=registry_of(self._watched, self._observe, login_by(self._client, self.log)),
                settings=settings_for(self._watched),
                memories=NoMemories(),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop_kopf,
            )
        except Exception:
            logger.exception("the watches ended")
        if not self._stop.is_set():
            self._on_end("nothing is watched any more")

    def _listed(self, kind: str) -> None:
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
            self._on_list(news)
            if not self._cache.unlisted:
                self.is_listed.set()
            return


class WatchLog:
    """When each watch was last opened, and how often the API server was asked; written by kopf's connection."""

    def __init__(
        self,
        watched: Iterable[str],
        on_list: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_list` is told the kind whenever kopf has listed it in place of watching on; it must not block."""
        self._kinds = {RESOURCES[kind].plural: kind for kind in watched}
        self._on_list = on_list
        self._clock = clock
        self._opened = dict.fromkeys(self._kinds, clock())
        self.calls: dict[tuple[str, str], int] = {}

    def note(self, url: str, status: int) -> None:
        """An answer of the API server to kopf."""
        parts = urlsplit(url)
        plural = parts.path.rstrip("/").rpartition("/")[2]
        watches = "watch" in parse_qs(parts.query)
        verb = "WATCH" if watches else "GET"
        self.calls[verb, plural] = self.calls.get((verb, plural), 0) + 1
        if status != 200 or plural not in self._kinds:
            return
        if watches:
            self._opened[plural] = self._clock()
        elif "continue" not in parse_qs(parts.query):
            self._on_list(self._kinds[plural])

    def ages(self) -> dict[str, float]:
        """Seconds since the watch of each resource was last opened, or since the log began."""
        now = self._clock()
        return {plural: now - opened for plural, opened in sorted(self._opened.items())}


def registry_of(watched: Iterable[str], observe: Observe, login: Any) -> kopf.OperatorRegistry:
    """The handlers: one for each watched kind, all alike."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    for kind in watched:
        resource = RESOURCES[kind]
        group, _, version = resource.api_version.rpartition("/")
        kopf.on.event(group, version, resource.plural, registry=registry)(_handler(kind, observe))
    return registry


def _handler(kind: str, observe: Observe) -> Callable[..., Awaitable[None]]:
    async def note(event: Any, **_: Any) -> None:
        # kopf's listing leaves out what it knows from the list itself.
        document = {"apiVersion": RESOURCES[kind].api_version, "kind": kind, **event["object"]}
        observe(kind, event["type"], document)

    return note


def settings_for(watched: Mapping[str, WatchedKind]) -> kopf.OperatorSettings:
    """kopf's settings: it posts nothing, scans nothing, never gives up, and notices silence."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.process.ultimate_exiting_timeout = None
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.inactivity_timeout = SILENT_SECONDS
    settings.watching.client_timeout = 2 * SILENT_SECONDS
    settings.watching.connect_timeout = 5.0
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = PAGE
    # An idle worker of kopf holds its object; after a list, workers would hold all objects at once.
    settings.queueing.idle_timeout = 0.05
    settings.networking.request_timeout = 60.0
    settings.networking.connect_timeout = 5.0
    settings.networking.error_backoffs = Forever()
    for kind, watch in watched.items():
        if watch.labelled:
            resource = RESOURCES[kind]
            group, _, version = resource.api_version.rpartition("/")
            settings.watching.label_selectors[group, version, resource.plural] = SYSTEM_LABEL
    return settings


class NoMemories(ResourceMemories):  # type: ignore[misc]
    """Keeps kopf from remembering objects, which only handlers that do not exist here would need."""

    async def recall(self, raw_body: Any, **named: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**named, "ephemeral": True})


class Forever:
    """Waits between tries without end: an API server that is away for an hour must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1.0, 2.0)
        while True:
            yield 5.0


def login_by(client: KubeClient, log: WatchLog) -> Callable[..., Awaitable[kopf.AiohttpSession]]:
    """A kopf login with the client's own address and credentials, whose answers are noted in the log."""

    async def ended(_session: Any, _context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        log.note(str(params.url), params.response.status)

    async def login(**_: Any) -> kopf.AiohttpSession:
        settings = client.configuration
        header: str = settings.get_api_key_with_prefix("authorization") or ""
        scheme, token = header.rpartition(" ")[::2]
        info = kopf.ConnectionInfo(
            server=settings.host,
            ca_path=settings.ssl_ca_cert,
            insecure=not settings.verify_ssl,
            username=settings.username or None,
            password=settings.password or None,
            scheme=scheme or None,
            token=token or None,
            certificate_path=settings.cert_file,
            private_key_path=settings.key_file,
        )
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(ended)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            auth=info.as_aiohttp_basic_auth(),
            trace_configs=[trace],
        )
        return kopf.AiohttpSession(server=settings.host, aiohttp_session=session)

    return login
