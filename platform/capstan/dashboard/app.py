"""The page's server: one snapshot, a stream of changes, the story, and the door for Alertmanager's notifications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capstan.adapters.alertmanager.webhook import MAX_BODY_BYTES, WebhookReceiver
from capstan.dashboard.access import HEADERS, LOCAL_HOSTS, PageAccess
from capstan.dashboard.own_metrics import STANDSTILL_PATH, LoopMetrics, render_standstill
from capstan.dashboard.updates import Updates
from capstan.dashboard.view import View
from capstan.errors import CapstanError, InvalidRequestError, NotAllowedError

STATIC = Path(__file__).parent / "static"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_app(
    view: View,
    *,
    page_token: str,
    webhook: WebhookReceiver,
    on_alert: Callable[[], None],
    hosts: Collection[str] = LOCAL_HOSTS,
) -> Starlette:
    """The page of one system. `on_alert` only asks the loop to look; it must return at once and may be called often."""
    access = PageAccess(page_token, hosts)
    pages = _Pages(view, access, webhook, on_alert)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/api/state", pages.state),
            Route("/api/events", pages.events),
            Route("/api/stream", pages.stream),
            Route("/alerts", pages.alerts, methods=["POST"]),
            Route("/metrics", pages.metrics),
            Route(STANDSTILL_PATH, pages.standstill),
            Route("/healthz", pages.health),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(_Guard, access=access)],
    )


class _Guard:
    """Refuses foreign Host headers and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, access: PageAccess) -> None:
        self._app = app
        self._access = access
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if k.lower() not in _NAMES]
                message = {**message, "headers": [*kept, *self._headers]}
            await send(message)

        if not self._access.is_own_host(Request(scope)):
            refused = PlainTextResponse("this page answers only under its own name\n", status_code=421)
            await refused(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


_NAMES = frozenset(name.encode() for name in HEADERS)


class _Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else orjson.dumps(content)


class _Pages:
    def __init__(
        self, view: View, access: PageAccess, webhook: WebhookReceiver, on_alert: Callable[[], None]
    ) -> None:
        self._view = view
        self._access = access
        self._webhook = webhook
        self._on_alert = on_alert
        self._updates = Updates(view)
        self._metrics = LoopMetrics(view, webhook)

    async def index(self, request: Request) -> Response:
        given = request.query_params.get("token")
        if given is not None and self._access.is_token(given):
            # The redirect takes the token out of the address bar, and so out of the browser's history.
            return self._access.admit(RedirectResponse("/", status_code=303))
        if given is not None or not self._access.is_allowed(request):
            return HTMLResponse((STATIC / "locked.html").read_text(), status_code=401)
        return HTMLResponse((STATIC / "index.html").read_text())

    async def state(self, request: Request) -> Response:
        if not self._access.is_allowed(request):
            return _locked()
        try:
            snapshot = await self._updates.newest()
        except CapstanError as error:
            return _Json({"reason": str(error)}, status_code=503)
        return _Json(snapshot.body, headers={"etag": f'"{snapshot.digest}"'})

    async def events(self, request: Request) -> Response:
        if not self._access.is_allowed(request):
            return _locked()
        after = request.query_params.get("after", "0")
        if not after.isdecimal() or len(after) > 15:
            return _Json({"error": {"field": "after", "rule": "is the number of an event"}}, status_code=422)
        try:
            found = await asyncio.to_thread(self._view.events, int(after))
        except CapstanError as error:
            return _Json({"reason": str(error)}, status_code=503)
        return _Json({"events": found})

    async def stream(self, request: Request) -> Response:
        if not self._access.is_allowed(request):
            return _locked()
        return StreamingResponse(
            self._updates.stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    async def alerts(self, request: Request) -> Response:
        """Take a notification as a hint to look; what fires is read from Alertmanager."""
        try:
            self._webhook.receive(request.headers, await _body(request))
        except NotAllowedError as error:
            return _Json({"error": str(error)}, status_code=401, headers={"www-authenticate": "Bearer"})
        except InvalidRequestError as error:
            return _Json({"error": {"field": error.field, "rule": error.rule}}, status_code=422)
        except ClientDisconnect:
            return Response(status_code=400)
        self._on_alert()
        return _Json({"accepted": True})

    async def metrics(self, _request: Request) -> Response:
        try:
            body = await asyncio.to_thread(self._metrics.render)
        except CapstanError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return Response(body, headers={"content-type": METRICS_TYPE})

    async def standstill(self, _request: Request) -> Response:
        try:
            body = await asyncio.to_thread(render_standstill, self._view)
        except CapstanError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return Response(body, headers={"content-type": METRICS_TYPE})

    async def health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")


def _locked() -> Response:
    return _Json(
        {"error": "open the page with its token first, or send it as `Authorization: Bearer`"},
        status_code=401,
        headers={"www-authenticate": "Bearer"},
    )


async def _body(request: Request) -> bytes:
    """Body of a notification, read up to one byte beyond the limit; the receiver refuses a longer one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            break
    return body
