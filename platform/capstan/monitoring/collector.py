"""The collector process: takes payloads and labels over HTTP, durably, and keeps count of every one.

`python -m capstan.monitoring.collector --config FILE`; the file is JSON: host, port, directory (its own state), systems
(folder with one folder per system), tokens {internal, feedback} (files), flush_seconds, sync.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hmac
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from capstan.errors import CapstanError, DiskFullError, InvalidRequestError
from capstan.monitoring.intake import Intake
from capstan.monitoring.ledger import Heading, Ledger

logger = logging.getLogger(__name__)
LARGEST_BODY = 10 * 2**20


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
    """`internal` and `feedback`: files with one bearer token each."""
    flush_seconds: float = 10.0
    sync: bool = False
    """Whether every append is flushed to the disk: survives a power cut, costs one fsync a batch."""


class _Answer(JSONResponse):
    def render(self, content: object) -> bytes:
        return orjson.dumps(content)


class _TooLargeError(Exception):
    pass


class CollectorService:
    """The routes around one intake."""

    def __init__(self, config: CollectorConfig) -> None:
        self._config = config
        self._tokens = {name: path.read_text().strip().encode() for name, path in config.tokens.items()}
        self.intake = Intake(config.directory, config.systems, sync=config.sync)
        self._wake = asyncio.Event()
        self._flush_error: str | None = None
        self._refused_senders = 0
        self._disk_full = 0
        self._registry = CollectorRegistry()
        self._registry.register(_Counts(self))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/events", self._events, methods=["POST"]),
                Route("/feedback", self._feedback, methods=["POST"]),
                Route("/flush", self._flush, methods=["POST"]),
                Route("/stats", self._stats),
                Route("/metrics", self._metrics),
                Route("/healthz", self._health),
            ],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        timer = asyncio.create_task(self._flush_often())
        yield
        timer.cancel()
        self.intake.close()

    async def _flush_often(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._config.flush_seconds)
            self._wake.clear()
            await self._flush_now()

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

    async def _events(self, request: Request) -> Response:
        if not self._is_allowed(request, "internal"):
            return self._refuse_sender()
        received = datetime.now(UTC)
        try:
            body = await _body(request)
            judgement = self.intake.receive(_heading(request), body, received)
        except _TooLargeError:
            return _too_large()
        except (InvalidRequestError, DiskFullError) as error:
            return self._failed(error)
        if self.intake.is_full:
            self._wake.set()
        answer: dict[str, object] = {"accepted": judgement.taken, "duplicates": judgement.duplicates}
        if judgement.refused:
            answer["refused"] = [refusal._asdict() for refusal in judgement.refused[:100]]
        return _Answer(answer)

    async def _feedback(self, request: Request) -> Response:
        if not self._is_allowed(request, "feedback"):
            return self._refuse_sender()
        received = datetime.now(UTC)
        try:
            body = await _body(request)
            accepted, duplicates = self.intake.feedback(
                body, received, system=request.headers.get("x-capstan-system")
            )
        except _TooLargeError:
            return _too_large()
        except (InvalidRequestError, DiskFullError) as error:
            return self._failed(error)
        if self.intake.is_full:
            self._wake.set()
        return _Answer({"accepted": accepted, "duplicates": duplicates})

    async def _flush(self, request: Request) -> Response:
        if not self._is_allowed(request, "internal"):
            return self._refuse_sender()
        error = await self._flush_now()
        return self._failed(error) if error else _Answer({"flushed": True})

    async def _stats(self, _request: Request) -> Response:
        return _Answer(self.intake.ledger.statistics())

    async def _metrics(self, _request: Request) -> Response:
        return PlainTextResponse(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

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
            return _Answer(
                {"error": {"field": error.field, "value": str(error.value)[:200], "rule": error.rule}},
                status_code=422,
            )
        if isinstance(error, DiskFullError):
            self._disk_full += 1
            return _Answer({"error": {"rule": str(error)}}, status_code=507)
        return _Answer({"error": {"rule": str(error)}}, status_code=500)

    @property
    def ledger(self) -> Ledger:
        return self.intake.ledger

    @property
    def counts(self) -> dict[str, float]:
        """What only this process knows."""
        return {"senders": self._refused_senders, "full": self._disk_full, "waiting": self.intake.waiting}


class _Counts(Collector):
    def __init__(self, service: CollectorService) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        ledger, own = self._service.ledger, self._service.counts
        totals = {
            "capstan_collector_payloads_stored": ("Payloads taken", ledger.stored),
            "capstan_collector_payloads_lost": (
                "Payloads that producers lost or that were refused",
                ledger.lost,
            ),
            "capstan_collector_payloads_refused": ("Payloads that break a rule", ledger.refused),
            "capstan_collector_payloads_duplicate": ("Payloads taken before", ledger.duplicates),
            "capstan_collector_requests_answered": ("Requests whose answer is stored", ledger.answered),
            "capstan_collector_labels": ("Labels taken", ledger.labels),
            "capstan_collector_no_labels": ("Cases that will never have a label", ledger.no_labels),
            "capstan_collector_labels_duplicate": ("Labels known before", ledger.label_duplicates),
            "capstan_collector_senders_refused": ("Calls without a valid token", own["senders"]),
            "capstan_collector_disk_full": ("Calls answered 507", own["full"]),
        }
        for name, (text, value) in totals.items():
            yield CounterMetricFamily(name, text, value=value)
        yield GaugeMetricFamily(
            "capstan_collector_waiting_bytes", "Taken, not yet in Parquet", value=own["waiting"]
        )
        lost = CounterMetricFamily(
            "capstan_collector_version_payloads_lost",
            "Lost payloads by version",
            labels=["system", "version"],
        )
        for system, versions in ledger.losses.items():
            for version, days in versions.items():
                lost.add_metric([system, version], sum(days.values()))
        yield lost


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > LARGEST_BODY:
        raise _TooLargeError
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise _TooLargeError
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large() -> Response:
    rule = f"must be at most {LARGEST_BODY} bytes; send fewer at once"
    return _Answer({"error": {"field": "body", "rule": rule}}, status_code=413)


def _heading(request: Request) -> Heading | None:
    boot = request.headers.get("x-capstan-boot")
    if not boot:
        return None
    if len(boot) > 64:
        raise InvalidRequestError("x-capstan-boot", boot[:80], "must be at most 64 characters")
    counts = []
    for name in ("x-capstan-produced", "x-capstan-lost"):
        text = request.headers.get(name, "0")
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise InvalidRequestError(name, text[:40], "must be a whole number")
        counts.append(int(text))
    version = request.headers.get("x-capstan-version")
    return Heading(boot, version[:63] if version else None, *counts)


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
