"""The doors of a process that runs a loop: Alertmanager's notifications, and what Prometheus asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from capstan.adapters.alertmanager.webhook import MAX_BODY_BYTES, WebhookReceiver
from capstan.dashboard.answers import Json, body_of
from capstan.dashboard.own_metrics import LoopMetrics, render_standstill
from capstan.dashboard.systems import Systems
from capstan.dashboard.view import View
from capstan.errors import CapstanError, InvalidRequestError, NotAllowedError

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class LoopDoors:
    """`on_alert` only asks the loop to look; it must return at once and may be called often."""

    def __init__(self, view: View, webhook: WebhookReceiver, on_alert: Callable[[], None]) -> None:
        self._view = view
        self._webhook = webhook
        self._on_alert = on_alert
        self._metrics = LoopMetrics(view, webhook)

    async def alerts(self, request: Request) -> Response:
        """Take a notification as a hint to look; what fires is read from Alertmanager."""
        answer = await taken(request, self._webhook)
        if answer.status_code == 200:
            self.hint()
        return answer

    def hint(self) -> None:
        """Ask the loop to look."""
        self._on_alert()

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


class HostDoors:
    """The doors of a process that runs several systems' loops: each system's own, found by its name."""

    def __init__(self, webhook: WebhookReceiver, systems: Systems) -> None:
        """`systems`: those of the page, which says what a path without a name means."""
        self._webhook = webhook
        self._systems = systems
        self._doors: dict[str, LoopDoors] = {}

    def open(self, system: str, view: View, on_alert: Callable[[], None]) -> Callable[[], None]:
        """Open the system's doors, in place of older ones of the name; returns what closes them."""
        mine = self._doors[system] = LoopDoors(view, self._webhook, on_alert)

        def close() -> None:
            if self._doors.get(system) is mine:
                del self._doors[system]

        return close

    async def alerts(self, request: Request) -> Response:
        """A notification is a hint to the loops of all: which alerts are whose, each reads by itself."""
        answer = await taken(request, self._webhook)
        if answer.status_code == 200:
            for doors in list(self._doors.values()):
                doors.hint()
        return answer

    def _meant(self, request: Request) -> LoopDoors | None:
        """Those of the system in the path; without one, of the system that the page means then."""
        name = request.path_params.get("name")
        if name is None:
            unnamed = self._systems.unnamed
            name = unnamed.name if unnamed is not None else ""
        return self._doors.get(name)

    async def metrics(self, request: Request) -> Response:
        doors = self._meant(request)
        return await doors.metrics(request) if doors is not None else _gone()

    async def standstill(self, request: Request) -> Response:
        doors = self._meant(request)
        return await doors.standstill(request) if doors is not None else _gone()

    async def health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")


async def taken(request: Request, webhook: WebhookReceiver) -> Response:
    """The answer to a notification: 200 where it is authentic and whole."""
    try:
        webhook.receive(request.headers, await body_of(request, MAX_BODY_BYTES))
    except NotAllowedError as error:
        return Json({"error": str(error)}, status_code=401, headers={"www-authenticate": "Bearer"})
    except InvalidRequestError as error:
        return Json({"error": {"field": error.field, "rule": error.rule}}, status_code=422)
    except ClientDisconnect:
        return Response(status_code=400)
    return Json({"accepted": True})


def _gone() -> Response:
    return PlainTextResponse(
        "there is no such system here; ask for /systems/machine/NAME/metrics\n", status_code=404
    )
