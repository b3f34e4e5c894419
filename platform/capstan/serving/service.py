"""The BentoML service of a model version: loads the verified model, answers at the front door, flushes its log.

Imported twice by `bentoml serve`: by the supervisor, which must stay small, and by the one worker, which loads the
model. So nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import time
from pathlib import Path
from typing import Any, cast

import bentoml
from _bentoml_sdk import Service  # type: ignore[import-untyped]

from capstan.artifacts.content import MODEL_FOLDER, verify_content
from capstan.domain.versions import Digest
from capstan.ports.online_events import FindsEvents
from capstan.serving.app import PredictionApp
from capstan.serving.payload_log import PayloadLog
from capstan.serving.settings import ServiceSettings

GC_THRESHOLDS = (50_000, 50, 50)
"""The default (700, 10, 10) stalls requests for 100-250 ms in a process with the model's libraries loaded."""

logger = logging.getLogger("bentoml.capstan")
settings = ServiceSettings.from_environment(os.environ)
app = PredictionApp(settings)


class FrontDoorService(Service[Any]):  # type: ignore[misc]
    """Hands prediction requests to the app directly; everything else goes through BentoML's own layers.

    Those layers (tracing, timeout, context, two routers) cost more than the prediction itself, see
    docs/decisions/serving-front-door.md.
    """

    def to_asgi(self, is_main: bool = True) -> Any:
        bento_app = super().to_asgi(is_main)

        async def front_door(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and app.owns(scope):
                await app(scope, receive, send)
            else:
                await bento_app(scope, receive, send)

        return front_door


# The mount makes the routes part of the service as BentoML sees it; requests take the front door before they get there.
@bentoml.service(
    name="capstan_model",
    service_class=FrontDoorService,
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app, path="/")
class ModelService:
    """One version of a model."""

    def __init__(self) -> None:
        from capstan.serving.model import load

        model_dir = settings.model_dir or Path(_bento_path(), MODEL_FOLDER)
        if settings.digest is not None:
            verify_content(Path(_bento_path()), Digest(settings.digest))
        model = load(model_dir)
        if model.fallback:
            logger.warning("single rows go through the fitted pipeline: %s", model.fallback)
        self._log = _payload_log()
        if self._log is not None:
            self._log.start()
        app.serve(model, self._log, _events())
        gc.collect()
        _return_free_memory()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def flush(self) -> None:
        if self._log is not None:
            await self._log.stop()

    async def __is_ready__(self) -> bool:
        return True


def _return_free_memory() -> None:
    """What loading and compiling needed for a moment; 10-30 MB where the C library is glibc."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _bento_path() -> str:
    bento: Any = cast(Any, ModelService).bento
    if bento is None:
        raise RuntimeError("not started from a Bento: set CAPSTAN_MODEL_DIR to a model folder")
    return str(bento.path)


def _events() -> FindsEvents | None:
    if settings.events_file is None:
        return None
    from capstan.online.resting import RestingEvents
    from capstan.online.stores import LOOKUP_SECONDS, open_stores

    stores = open_stores(
        settings.events_file,
        settings.events_servers,
        system=settings.system,
        secrets=settings.secrets,
        timeout_seconds=LOOKUP_SECONDS,
    )
    return RestingEvents(stores, time.monotonic)


def _payload_log() -> PayloadLog | None:
    if settings.collector_url is None:
        return None
    counters = app.metrics
    return PayloadLog(
        collector_url=settings.collector_url.rstrip("/"),
        source=f"/capstan/{settings.system}/{settings.version}",
        version=settings.version,
        token_file=settings.token_file,
        flush_seconds=settings.flush_seconds,
        on_produced=counters.payloads_produced,
        on_lost=lambda reason, records: counters.lost[reason].inc(records),
    )
