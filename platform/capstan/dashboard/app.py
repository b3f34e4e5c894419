"""The page's server, the same on one machine and in a cluster: a list of systems, and all that is known of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capstan.dashboard.access import CARD_POLICY, HEADERS, Access
from capstan.dashboard.notifications import HostDoors, LoopDoors
from capstan.dashboard.pages import Pages
from capstan.dashboard.static_files import KEEP, VERSION, Files
from capstan.dashboard.systems import Systems, system_path

UNGUARDED = frozenset({"/healthz", "/readyz"})
"""Paths that answer under any name: a kubelet asks by the pod's address. They tell nothing of a system."""


def create_app(
    systems: Systems,
    access: Access,
    *,
    doors: Sequence[BaseRoute] = (),
    prefix: str = "",
    interval_seconds: float = 1.0,
    on_view: Callable[[], None] = lambda: None,
    is_machine: bool = False,
) -> Starlette:
    """The page of these systems. It answers below the prefix, and without it too: an Ingress may take it away.

    `is_machine`: programs need not name a system, whichever come and go. `doors`: further routes of the process, such
    as `/metrics`; `on_view` is told of each page that is opened.
    """
    pages = Pages(systems, access, interval_seconds=interval_seconds, on_view=on_view)
    system = "/systems/{namespace}/{name}"
    routes: list[BaseRoute] = [
        Route("/", pages.root),
        Route("/api/me", pages.me),
        Route("/api/systems", pages.listed),
        *access.routes(),
        Route(system, pages.with_slash),
        Route(f"{system}/", pages.system),
        # Named by their content, so a browser keeps them; a new release has other names.
        Mount(f"/static/{VERSION}", Files(keep=True)),
        Mount("/static", Files(keep=False)),
    ]
    # Programs, and the page at the root of one machine, need not know the system's name.
    for place in (*([""] if is_machine or systems.only is not None else []), system):
        routes += [
            Route(f"{place}/card/{{version}}", pages.card),
            Route(f"{place}/data/{{version}}", pages.data_report),
            Route(f"{place}/api/state", pages.state),
            Route(f"{place}/api/events", pages.events),
            Route(f"{place}/api/stream", pages.stream),
            Route(f"{place}/api/log", pages.log),
            Route(f"{place}/api/may", pages.may),
            Route(f"{place}/api/actions", pages.order, methods=["POST"]),
        ]
    below: list[BaseRoute] = [Mount(prefix, routes=routes)] if prefix else []
    return Starlette(
        routes=[*doors, *below, *routes],
        middleware=[Middleware(_Guard, access=access)],
    )


def loop_doors(doors: LoopDoors) -> list[BaseRoute]:
    """What Alertmanager and Prometheus ask of the process that runs a system's loop."""
    from capstan.dashboard.own_metrics import STANDSTILL_PATH

    return [
        Route("/alerts", doors.alerts, methods=["POST"]),
        Route("/metrics", doors.metrics),
        Route(STANDSTILL_PATH, doors.standstill),
        Route("/healthz", doors.health),
    ]


def host_doors(doors: HostDoors) -> list[BaseRoute]:
    """What Alertmanager and Prometheus ask of a process that runs the loops of several systems.

    Paths without a name mean the system that the page's paths without a name mean.
    """
    from capstan.dashboard.own_metrics import STANDSTILL_PATH

    system = system_path("{name}")
    return [
        Route("/alerts", doors.alerts, methods=["POST"]),
        *(Route(f"{place}/metrics", doors.metrics) for place in ("", system)),
        *(Route(f"{place}{STANDSTILL_PATH}", doors.standstill) for place in ("", system)),
        Route("/healthz", doors.health),
    ]


class _Guard:
    """Refuses foreign Host headers and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message["headers"] if header in _OWN]
                kept = [(k, v) for k, v in message["headers"] if k.lower() not in _NAMES]
                ours = [(k, v) for k, v in self._headers if k not in {name for name, _ in own}]
                message = {**message, "headers": [*kept, *own, *ours]}
            await send(message)

        if scope["path"] not in UNGUARDED and not self._access.is_own_host(Request(scope)):
            refused = PlainTextResponse("this page answers only under its own name\n", status_code=421)
            await refused(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


_OWN = ((b"cache-control", KEEP.encode()), (b"content-security-policy", CARD_POLICY.encode()))
"""Headers that an answer may have in place of ours."""
_NAMES = frozenset(name.encode() for name in HEADERS)
