"""What kopf tells becomes a look at a system; nothing is decided here.

Only `on.event` handlers are used: kopf then writes nothing, neither annotations nor finalizers. Its connection is ours,
so that each opening of a watch is seen: a watch that went silent is opened again by kopf's own time limits, and a list
in place of a watch means that deletions may have been missed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from capstan.adapters.kubernetes.client import RESOURCES, KubeClient
from capstan.adapters.kubernetes.compressed_state import state_of
from capstan.cluster.names import SYSTEM_LABEL
from capstan.errors import CapstanError
from capstan.ports.kube import Object
from capstan_operator.cache import PAGE, WatchedKind, WatchedKube

SERVER_SECONDS = 25
"""Seconds after which the API server ends a watch. It says how far it got, so an idle watch is opened anew and not
listed.
"""
SILENT_SECONDS = 31.0
"""Seconds without a word after which a connection is dead: even the end of the watch did not come."""
_SETTLE_SECONDS = 0.2
"""Seconds between a pod's change and the look at it. Pods change in bursts, and one look sees them all."""

Told = Callable[[tuple[str, str], bool], None]
"""((namespace, system), whether somebody waits for it)."""


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


def registry_of(
    cache: WatchedKube, watched: Mapping[str, WatchedKind], told: Told, login: Any
) -> kopf.OperatorRegistry:
    """The handlers: one for each watched kind, all alike."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    for kind in watched:
        resource = RESOURCES[kind]
        group, _, version = resource.api_version.rpartition("/")
        kopf.on.event(group, version, resource.plural, registry=registry)(_handler(kind, cache, told))
    return registry


def _handler(kind: str, cache: WatchedKube, told: Told) -> Callable[..., Awaitable[None]]:
    async def note(event: Any, **_: Any) -> None:
        # kopf's listing leaves out what it knows from the list itself.
        document = {"apiVersion": RESOURCES[kind].api_version, "kind": kind, **event["object"]}
        before = _asked(cache, kind, document)
        if cache.observe(kind, event["type"], document):
            key = key_of(kind, document)
            if key is not None:
                told(key, kind == "MLSystem" and _asked(cache, kind, document) != before)

    return note


def _asked(cache: WatchedKube, kind: str, document: Object) -> tuple[Any, ...] | None:
    """Digest of what somebody wants of a system: its spec, its commands and its deletion. The loop's own writes
    change none of them.
    """
    if kind != "MLSystem":
        return None
    meta = document["metadata"]
    kept = cache.get(kind, meta["name"], meta.get("namespace"))
    if kept is None:
        return None
    try:
        commands = state_of(kept).get("command_count")
    except CapstanError:
        # Damaged memory is told by the look itself.
        commands = None
    return kept["metadata"].get("generation"), commands, "deletionTimestamp" in kept["metadata"]


def key_of(kind: str, document: Object) -> tuple[str, str] | None:
    """(namespace, system) that the object belongs to; None if it does not say."""
    meta = document["metadata"]
    system = meta["name"] if kind == "MLSystem" else (meta.get("labels") or {}).get(SYSTEM_LABEL)
    return (str(meta["namespace"]), str(system)) if system and meta.get("namespace") else None


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
