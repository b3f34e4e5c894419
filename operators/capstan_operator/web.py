"""The operator's own HTTP server: alert hints, metrics, and whether it lives and is ready; standbys serve it too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from capstan.adapters.alertmanager.webhook import MAX_BODY_BYTES, WebhookReceiver
from capstan.errors import InvalidRequestError, NotAllowedError, PortInUseError

PORT = 8088
_STARTS_SECONDS = 15.0


@dataclass(frozen=True)
class Health:
    """An answer to a probe, with its reasons for whoever asks by hand."""

    is_good: bool
    reasons: tuple[str, ...]


def create_app(
    *,
    webhook: WebhookReceiver,
    on_alert: Callable[[frozenset[str]], None],
    metrics: Callable[[], bytes],
    liveness: Callable[[], Health],
    readiness: Callable[[], Health],
) -> Starlette:
    """`on_alert` is told the names of the systems that an authentic notification speaks of."""

    async def alerts(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                break
        try:
            hint = webhook.receive(request.headers, body)
        except NotAllowedError as error:
            return JSONResponse({"error": str(error)}, status_code=401)
        except InvalidRequestError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        on_alert(hint.systems)
        return Response(status_code=204)

    async def exposed(_: Request) -> Response:
        return Response(await run_in_threadpool(metrics), media_type="text/plain; version=0.0.4")

    def probe(ask: Callable[[], Health]) -> Callable[[Request], Response]:
        def answer(_: Request) -> Response:
            health = ask()
            return PlainTextResponse("\n".join(health.reasons) + "\n", 200 if health.is_good else 503)

        return answer

    return Starlette(
        routes=[
            Route("/alerts", alerts, methods=["POST"]),
            Route("/metrics", exposed),
            Route("/healthz", probe(liveness)),
            Route("/readyz", probe(readiness)),
        ]
    )


class WebServer:
    """Serves the app in a thread of its own."""

    def __init__(self, app: Starlette, *, host: str, port: int) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._address = f"{host}:{port}"
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)

    def start(self) -> None:
        """Returns when it answers; raises PortInUseError."""
        self._thread.start()
        deadline = time.monotonic() + _STARTS_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise PortInUseError(f"{self._address}: nothing can be served there; choose another --port")
            time.sleep(0.02)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5.0)
