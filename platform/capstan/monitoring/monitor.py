"""The monitor process: decides windows of the watched version and shows what it decided.

`python -m capstan.monitoring.monitor --config FILE`; the file is JSON: host, port, folder (of the system), token (file
of the internal one), detectors, and for live systems interval_seconds. In a replay `POST /advance` moves it. In a
cluster (artifacts, home, spec) `PUT /target` says what is watched, and the loop asks below `/evidence` for what it
reads from files itself on one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from capstan.artifacts.store import ArtifactStore
from capstan.domain.payload_limits import parse_moment
from capstan.errors import (
    CapstanError,
    InvalidRequestError,
    NotFoundError,
    UntrustedArtifactError,
)
from capstan.monitoring.drift.fitted_detectors import DetectorKind, import_alibi_detect, usual_kind
from capstan.monitoring.evidence import EvidenceRoutes, refused
from capstan.monitoring.exposition import Exposition
from capstan.monitoring.followed_spec import FollowedSpec
from capstan.monitoring.watched_bento import WatchedBento, parse_request
from capstan.monitoring.watching import Advance, Watcher
from capstan.ports.codec import to_json
from capstan.recording.sole_process import occupy

LIVE_GRACE_SECONDS = 60.0
logger = logging.getLogger(__name__)


class MonitorConfig(BaseModel):
    """Where the monitor listens and what it reads."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: int
    folder: Path
    """`systems/<system>`, with spec.json, payloads/, labels/ and monitor/."""
    token: Path
    """File of the internal bearer token."""
    reading_token: Path | None = None
    """File of a bearer token that opens evidence and nothing else; None: there is none."""
    detectors: DetectorKind = Field(default_factory=usual_kind)
    system: str | None = None
    """Its name, for people who read process lists; None: that of the spec."""
    interval_seconds: float | None = None
    """Look by the wall clock so often; None: only when told to advance."""
    grace_seconds: float | None = None
    """Windows close so long after their end, so that payloads under way are in; None: 60 live, else 0."""
    spec: Path | None = None
    """The system's file; followed when it changes. None: spec.json in the folder."""
    artifacts: str | None = None
    """Where Bentos are fetched from; None: the target is a file that another process writes."""
    home: Path | None = None
    """Gets the watched Bento; None: the folder's `monitor`."""


class MonitorService:
    """The routes around one watcher."""

    def __init__(self, config: MonitorConfig) -> None:
        self._config = config
        self._token = config.token.read_text().strip().encode()
        reading = config.reading_token
        self._reading_token = reading.read_text().strip().encode() if reading is not None else b""
        occupy(config.folder / "monitor")
        self._spec = FollowedSpec(config.spec or config.folder / "spec.json", config.folder)
        system = self._spec.read()
        self._watcher = Watcher(
            system,
            config.folder,
            detectors=config.detectors,
            grace=_grace(config),
        )
        self._evidence = EvidenceRoutes(config.folder, system, self._may_read)
        target = config.folder / "monitor"
        self._bento = (
            WatchedBento(target / "target.json", ArtifactStore(config.artifacts), config.home or target)
            if config.artifacts is not None
            else None
        )
        self._error: str | None = None
        self._exposition = Exposition(
            system.metadata.name, self._watcher, system.spec.monitoring.drift.consecutive
        )
        self._registry = CollectorRegistry()
        self._registry.register(self._exposition)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/advance", self._advance, methods=["POST"]),
                Route("/target", self._target, methods=["PUT"]),
                *self._evidence.routes(),
                Route("/windows", self._windows),
                Route("/metrics", self._metrics),
                Route("/healthz", self._health),
                Route("/livez", self._alive),
            ],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        # Seconds of imports: begun at once, beside the first requests, not within the first advance.
        tasks = []
        if self._config.detectors == "AlibiDetect":
            tasks.append(asyncio.create_task(asyncio.to_thread(import_alibi_detect)))
        if self._config.interval_seconds is not None:
            tasks.append(asyncio.create_task(self._poll(self._config.interval_seconds)))
        yield
        for task in tasks:
            task.cancel()

    async def _poll(self, seconds: float) -> None:
        while True:
            try:
                await asyncio.to_thread(self._advance_to, datetime.now(UTC))
                self._error = None
            except Exception as error:
                # Whatever it is, the next look must come; /healthz says what is wrong until one succeeds.
                self._error = str(error) or type(error).__name__
                logger.warning("could not advance: %s", error, exc_info=not isinstance(error, CapstanError))
            await asyncio.sleep(seconds)

    def _advance_to(self, now: datetime) -> Advance:
        if (system := self._spec.changed()) is not None:
            self._watcher.follow(system)
            self._evidence.follow(system)
            self._exposition.consecutive = system.spec.monitoring.drift.consecutive
        return self._watcher.advance(now)

    async def _advance(self, request: Request) -> Response:
        if not self._is_allowed(request):
            return refused(401, "authorization", "must be a valid bearer token")
        try:
            document = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            return refused(422, "body", 'must be {"now": RFC 3339}')
        now = parse_moment(document.get("now")) if isinstance(document, dict) else None
        if now is None:
            return refused(422, "now", "must be an RFC 3339 time with a zone")
        try:
            advance = await asyncio.to_thread(self._advance_to, now)
        except CapstanError as error:
            self._error = str(error)
            return refused(503, "advance", str(error))
        self._error = None
        return JSONResponse(
            {
                "generation": advance.generation,
                "alerting_changed": advance.alerting_changed,
                "alerts": list(advance.alerts),
            }
        )

    async def _target(self, request: Request) -> Response:
        if not self._is_allowed(request):
            return refused(401, "authorization", "must be a valid bearer token")
        if self._bento is None:
            return refused(405, "target", "is a file here, which the loop writes by itself")
        try:
            wanted = parse_request(orjson.loads(await request.body()))
            changed = await asyncio.to_thread(self._bento.watch, wanted)
        except orjson.JSONDecodeError:
            return refused(422, "body", "must be JSON")
        except InvalidRequestError as error:
            return refused(422, error.field, error.rule)
        except NotFoundError as error:
            return refused(404, "bento_tag", str(error))
        except UntrustedArtifactError as error:
            return refused(409, "digest", str(error))
        except CapstanError as error:
            return refused(503, "target", str(error))
        return JSONResponse({"version": wanted.version, "changed": changed})

    async def _windows(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 15:
            return refused(422, "after", "must be a generation: a whole number")
        checkpoint = self._watcher.checkpoint
        watch = checkpoint.watch
        document = {
            "generation": checkpoint.generation,
            "version": watch.version if watch else None,
            "since": watch.since.isoformat() if watch else None,
            "alerts": self._watcher.alerts,
            "error": self._error,
            "questions": [to_json(question) for question in watch.questions()] if watch else [],
            "estimated": to_json(watch.estimated()) if watch else None,
            "online": [to_json(standing) for standing in self._watcher.online],
            "windows": [window for window in checkpoint.told if window["generation"] > int(after)],
        }
        return Response(orjson.dumps(document), media_type="application/json")

    async def _metrics(self, _request: Request) -> Response:
        return PlainTextResponse(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

    def _is_allowed(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode("latin-1")
        return hmac.compare_digest(given, b"Bearer " + self._token)

    def _may_read(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode("latin-1")
        has_token = bool(self._reading_token)
        return self._is_allowed(request) or (
            has_token and hmac.compare_digest(given, b"Bearer " + self._reading_token)
        )

    async def _alive(self, _request: Request) -> Response:
        """For Kubernetes: what a restart cannot mend is told by /healthz, not by being killed."""
        return PlainTextResponse("ok\n")

    async def _health(self, _request: Request) -> Response:
        if self._error:
            return PlainTextResponse(f"{self._error}\n", status_code=503)
        return PlainTextResponse("ok\n")


def _grace(config: MonitorConfig) -> timedelta:
    if config.grace_seconds is not None:
        return timedelta(seconds=config.grace_seconds)
    return timedelta(seconds=LIVE_GRACE_SECONDS if config.interval_seconds is not None else 0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    config = MonitorConfig.model_validate_json(arguments.parse_args().config.read_bytes())
    uvicorn.run(
        MonitorService(config).app(),
        host=config.host,
        port=config.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
