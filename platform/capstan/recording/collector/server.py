"""The collector process: takes payloads, labels and events over HTTP, durably, and keeps count of every one.

`python -m capstan.recording.collector.server --config FILE`. The file is JSON: host, port, directory (its own state),
systems (folder with one folder per system), tokens {internal, feedback, executor} (files), secrets, secrets_made_by,
flush_seconds, sync, spec, silence_seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from capstan.content_encoding import READ_ENCODINGS, BodyTooLargeError, UnreadableEncodingError
from capstan.domain.payload_limits import LARGEST_BATCH
from capstan.errors import CapstanError, DiskFullError, InvalidRequestError, UnavailableError, shown
from capstan.recording.collector.asked_requests import MOST_IDS, AskedRequests, answer
from capstan.recording.collector.intake import Intake, Taken
from capstan.recording.collector.metrics import CollectorMetrics
from capstan.recording.collector.mounted_spec import MountedSpec
from capstan.recording.collector.posting import body_of, heading_of
from capstan.recording.collector.webhooks import WebhookDoor, as_response
from capstan.recording.executor_log import Batch, ExecutorLog
from capstan.recording.sole_process import occupy
from capstan.recording.webhooks import MADE_BY

logger = logging.getLogger(__name__)


class CollectorConfig(BaseModel):
    """Where the collector listens and writes."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: int
    directory: Path
    """Its write-ahead log and counts."""
    systems: Path
    """One folder per system; payloads of systems that have none are refused."""
    tokens: dict[str, Path]
    """`internal` and `feedback`: files with one bearer token each; `executor`: opens the route of Seldon's executor."""
    flush_seconds: float = 10.0
    sync: bool = False
    """Whether every append is flushed to the disk: survives a power cut, costs one fsync a batch."""
    spec: Path | None = None
    """The system's file as it is mounted, copied to its folder whenever it changes; None: another writes it there."""
    secrets: Path | None = None
    """Folder with a file NAME/KEY for each secret of a webhook; None: there is none."""
    secrets_made_by: str = MADE_BY
    """How a person makes a secret; {name}, {key} and {path} in it are filled in."""
    silence_seconds: float | None = None
    """Producers that said no last word and nothing for so long have lost what they did not hand in; None: never."""


class _Answer(JSONResponse):
    def render(self, content: object) -> bytes:
        return orjson.dumps(content)


class CollectorService:
    """The routes around one intake."""

    def __init__(self, config: CollectorConfig) -> None:
        self._config = config
        self._tokens = {
            name: path.read_text().strip().encode()
            for name, path in config.tokens.items()
            if name != "executor" or path.exists()
        }
        occupy(config.directory)
        self._spec = MountedSpec(config.spec, config.systems) if config.spec is not None else None
        if self._spec is not None:
            self._spec.follow()
        self.intake = Intake(config.directory, config.systems, sync=config.sync, secrets=config.secrets)
        self._asked = AskedRequests(self.intake, config.systems)
        self._executor = ExecutorLog(config.systems)
        self._webhooks = WebhookDoor(config.systems, config.secrets, made_by=config.secrets_made_by)
        self._wake = asyncio.Event()
        self._flush_error: str | None = None
        self._refused_senders = 0
        self._disk_full = 0
        self._registry = CollectorRegistry()
        self._registry.register(CollectorMetrics(self.intake.ledger, self._counts, self._asked.counts))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/payloads", self._payloads, methods=["POST"]),
                Route("/feedback", self._feedback, methods=["POST"]),
                Route("/events", self._events, methods=["POST"]),
                Route("/webhooks/{sender}", self._webhook, methods=["POST"]),
                Route("/webhooks/{sender}/", self._webhook, methods=["POST"]),
                Route("/flush", self._flush, methods=["POST"]),
                Route("/stats", self._stats),
                Route("/metrics", self._metrics),
                Route("/healthz", self._health),
                Route("/livez", self._alive),
                Route("/seldon/{token}/{arm}", self._seldon, methods=["POST"]),
            ],
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _no_such},
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        timer = asyncio.create_task(self._flush_often())
        yield
        timer.cancel()
        with suppress(CapstanError):
            self._take(self._executor.close(), datetime.now(UTC))
        self.intake.close()

    async def _flush_often(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._config.flush_seconds)
            self._wake.clear()
            self._look_around()
            await self._flush_now()

    def _look_around(self) -> None:
        """What no request brings about: an edited file, producers that fell silent, halves that waited in vain."""
        now = datetime.now(UTC)
        try:
            if self._spec is not None:
                self._spec.follow()
            if self._config.silence_seconds is not None:
                self.intake.notice_silence(now, timedelta(seconds=self._config.silence_seconds))
            self._take(self._executor.expire(now), now)
            self._webhooks.look()
        except CapstanError as error:
            # Next time; a full disk is told by the flush that follows.
            logger.warning("%s", error)

    async def _flush_now(self) -> CapstanError | None:
        self.intake.seal()
        try:
            await asyncio.to_thread(self.intake.flush_sealed)
        except CapstanError as error:
            self._flush_error = str(error)
            return error
        except Exception as error:
            # The log keeps everything and the timer must live on; /healthz says what is wrong until a flush succeeds.
            logger.exception("a flush failed")
            self._flush_error = f"{type(error).__name__}: {error}"
            return CapstanError(self._flush_error)
        self._flush_error = None
        return None

    async def _payloads(self, request: Request) -> Response:
        if not self._is_allowed(request, "internal"):
            return self._refuse_sender()
        received = datetime.now(UTC)
        try:
            body = await body_of(request)
            judgement = self.intake.receive(heading_of(request), body, received)
        except (BodyTooLargeError, UnreadableEncodingError) as error:
            return _unreadable(request, error)
        except (InvalidRequestError, DiskFullError) as error:
            return self._failed(error)
        if self.intake.is_full:
            self._wake.set()
        answer: dict[str, object] = {"accepted": judgement.taken, "duplicates": judgement.duplicates}
        if judgement.refused:
            answer["refused"] = [refusal._asdict() for refusal in judgement.refused[:100]]
        return _Answer(answer)

    async def _feedback(self, request: Request) -> Response:
        return await self._posted(request, self.intake.feedback)

    async def _events(self, request: Request) -> Response:
        return await self._posted(request, self.intake.events)

    async def _posted(self, request: Request, take: Callable[..., Taken]) -> Response:
        if not self._is_allowed(request, "feedback"):
            return self._refuse_sender()
        received = datetime.now(UTC)
        try:
            body = await body_of(request)
            taken = take(body, received, system=request.headers.get("x-capstan-system"))
        except (BodyTooLargeError, UnreadableEncodingError) as error:
            return _unreadable(request, error)
        except (InvalidRequestError, UnavailableError, DiskFullError) as error:
            return self._failed(error)
        if self.intake.is_full:
            self._wake.set()
        said: dict[str, object] = {
            "accepted": len(taken.entries) - len(taken.known),
            "duplicates": len(taken.known),
        }
        if unread := self.intake.unread(taken):
            said["unread"] = unread[:MOST_IDS]
        if taken.match:
            finding = await self._asked.find(taken, halves=self._executor.waiting)
            said |= answer(taken, finding)
        return _Answer(said)

    async def _webhook(self, request: Request) -> Response:
        try:
            answer = await self._webhooks.post(request, lambda: datetime.now(UTC))
        except UnavailableError as error:
            return self._failed(error)
        return as_response(answer)

    async def _seldon(self, request: Request) -> Response:
        """One half of a prediction as Seldon's executor logs it. The executor can send no header of ours: its token
        is in the path."""
        given = request.path_params["token"].encode()
        if "executor" not in self._tokens or not hmac.compare_digest(given, self._tokens["executor"]):
            return self._refuse_sender()
        received = datetime.now(UTC)
        try:
            body = await body_of(request)
            batches = self._executor.add(request.headers, body, request.path_params["arm"], received)
            self._take(batches, received)
        except (BodyTooLargeError, UnreadableEncodingError) as error:
            return _unreadable(request, error)
        except (InvalidRequestError, DiskFullError) as error:
            return self._failed(error)
        if self.intake.is_full:
            self._wake.set()
        # Accepted, not yet durable, until its other half is here.
        return _Answer({"payloads": sum(batch.payloads for batch in batches)}, status_code=202)

    def _take(self, batches: list[Batch], received: datetime) -> None:
        for batch in batches:
            try:
                self.intake.receive(batch.heading, orjson.dumps(batch.blocks), received)
            except CapstanError:
                self._executor.lose(batch)
                raise

    async def _flush(self, request: Request) -> Response:
        if not self._is_allowed(request, "internal"):
            return self._refuse_sender()
        error = await self._flush_now()
        return self._failed(error) if error else _Answer({"flushed": True})

    async def _stats(self, _request: Request) -> Response:
        return _Answer(self.intake.ledger.statistics())

    async def _metrics(self, _request: Request) -> Response:
        return PlainTextResponse(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

    async def _alive(self, _request: Request) -> Response:
        """For Kubernetes: a full disk is no reason to kill a process that still keeps count."""
        return PlainTextResponse("ok\n")

    async def _health(self, _request: Request) -> Response:
        if self._flush_error:
            return PlainTextResponse(f"cannot flush: {self._flush_error}\n", status_code=503)
        return PlainTextResponse("ok\n")

    def _is_allowed(self, request: Request, token: str) -> bool:
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode("latin-1"), b"Bearer " + self._tokens[token])

    def _refuse_sender(self) -> Response:
        self._refused_senders += 1
        return _Answer(
            {"error": {"field": "authorization", "rule": "must be a valid bearer token"}}, status_code=401
        )

    def _failed(self, error: CapstanError) -> Response:
        if isinstance(error, InvalidRequestError):
            return _Answer(error.document(), status_code=422)
        if isinstance(error, DiskFullError):
            self._disk_full += 1
            self._asked.unsettle()
            return _Answer({"error": {"rule": str(error)}}, status_code=507)
        status = 503 if isinstance(error, UnavailableError) else 500
        return _Answer({"error": {"rule": str(error)}}, status_code=status)

    def _counts(self) -> dict[str, float]:
        """What only this process knows."""
        return {
            "senders": self._refused_senders,
            "full": self._disk_full,
            "waiting": self.intake.waiting,
            "failing": self._flush_error is not None,
            "halves": self._executor.waiting,
            "unpaired": self._executor.unpaired,
            "repeated": self._executor.repeated,
            "calls": self._webhooks.taken,
            "calls_repeated": self._webhooks.repeated,
            "calls_refused": self._webhooks.refused,
        }


async def _no_such(request: Request, error: Exception) -> Response:
    """A path or a method that is not here."""
    assert isinstance(error, HTTPException)
    rule = (
        f"{request.method} {request.url.path} is not answered here; POST labels to /feedback, events to /events, "
        "signed calls to /webhooks/SENDER"
    )
    return _Answer({"error": {"field": "path", "rule": rule}}, status_code=error.status_code)


def _unreadable(request: Request, error: BodyTooLargeError | UnreadableEncodingError) -> Response:
    if isinstance(error, UnreadableEncodingError):
        encoding = shown(request.headers.get("content-encoding"))
        problem = {"field": "content-encoding", "value": encoding, "rule": READ_ENCODINGS}
        return _Answer({"error": problem}, status_code=415)
    rule = f"must be at most {LARGEST_BATCH} bytes, before and after unpacking; send fewer at once"
    return _Answer({"error": {"field": "body", "rule": rule}}, status_code=413)


def serve(config: CollectorConfig) -> None:
    """Listen until told to stop; what was taken is flushed before the end."""
    uvicorn.run(
        CollectorService(config).app(),
        host=config.host,
        port=config.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )


def main() -> None:
    # A batch makes thousands of small objects and no cycles: the collector's passes over them were a third of the CPU.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    serve(CollectorConfig.model_validate_json(arguments.parse_args().config.read_bytes()))


if __name__ == "__main__":
    main()
