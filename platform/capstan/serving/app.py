"""Answers prediction requests: an ASGI app without a framework, since a framework costs more than the prediction."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from capstan.content_encoding import (
    READ_ENCODINGS,
    BodyTooLargeError,
    UnreadableEncodingError,
    decoded,
)
from capstan.domain.payload_limits import moment_rule
from capstan.errors import InvalidRequestError, UnfitValueError, shown
from capstan.features.images import kept_text
from capstan.features.treatments import RowTreatments
from capstan.ports.online_events import FindsEvents
from capstan.serving import explaining, metrics, open_inference
from capstan.serving.event_lookup import EventLookup, StaleEventsError
from capstan.serving.explaining import BusyError, Explaining
from capstan.serving.familiarity import Familiarity
from capstan.serving.metrics import ServiceMetrics
from capstan.serving.model import Model, Scores
from capstan.serving.payload_log import PayloadLog
from capstan.serving.plain_rows import PlainRows
from capstan.serving.requests import (
    MAX_BODY_BYTES,
    MAX_TOKEN,
    Call,
    ClientLeftError,
    NonfiniteError,
    Receive,
    check_time,
    parse,
    read_body,
    read_headers,
)
from capstan.serving.schema import Row
from capstan.serving.settings import ServiceSettings
from capstan.serving.treated import schema_of
from capstan.tasks import complaint
from capstan.tasks.task import Outputs

Scope = Any
Send = Callable[[Any], Awaitable[None]]

DRAIN = "/payloads/drain"
"""POST: returns when all payloads so far are with the collector; changes nothing, so it needs no token."""
_USUAL_VALUE = 40
"""Bytes. A body that is twice as long as its names and such values is written anew for the payload log: of white space
and of names that are given twice nothing may fill the buffer.
"""
OFF_LOOP_ROWS = 100
"""Larger batches are predicted in a thread, so that health checks and single rows go on."""
_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


class PredictionApp:
    """All routes of a model service; answers 503 until `serve` has given it a model."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._model: Model | None = None
        self._log: PayloadLog | None = None
        self._treatments: RowTreatments | None = None
        self._version_header = (b"x-capstan-version", settings.version.encode())
        self.metrics = ServiceMetrics(settings.system, settings.version)

    def serve(self, model: Model, log: PayloadLog | None, events: FindsEvents | None = None) -> None:
        """Answer with this model from now on; None: payloads are not logged, and no events are looked up."""
        manifest = model.manifest
        stale = self.metrics.stale_counters([one.table for one in manifest.events])
        self._lookup = (
            EventLookup(manifest, events, lambda table: stale[table].inc()) if manifest.events else None
        )
        secrets = self._settings.secrets
        self._treatments = RowTreatments(manifest.treated, secrets) if manifest.treated else None
        self._sticky_by = manifest.keys.get("sticky_by")
        self._schema = schema_of(manifest, self._treatments)
        self._name = self._settings.system or manifest.system
        self._id_column = manifest.keys.get("id")
        self._task, self._learnt = model.task, manifest.learnt
        self._is_of_groups = "group" in self._task.facts.keys
        self._row_outputs = self._task.row_outputs(self._learnt)
        counters = self.metrics.outside_counters([column.name for column in manifest.columns])
        self._plain_rows = PlainRows(manifest, model.known_categories)
        self._familiarity = Familiarity(
            manifest, model.known_categories, lambda column: counters[column].inc()
        )
        self.metrics.set_compiled(not model.fallback)
        if log is not None:
            names = dict.fromkeys([*(column.name for column in manifest.columns), *manifest.keys.values()])
            log.expect(tuple(names), self._id_column)
            self._longest_kept = 2 * sum(len(name) + _USUAL_VALUE for name in names)
            self._images = {column.name: column.image for column in manifest.columns if column.image}
            if self._images:
                # Of images facts are kept, never the request as it was sent.
                self._longest_kept = 0
        self._log = log
        self._explaining = Explaining(model)
        self._model = model

    def owns(self, scope: Scope) -> bool:
        """Whether the path is one of this app's, so that nothing else needs to look at the request."""
        path: str = scope.get("path", "")
        return path.startswith(("/predict", "/v2/", explaining.PATH)) or path in (
            "/metrics",
            "/prometheus",
            DRAIN,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path in ("/predict", "/predict/"):
            if method == "POST":
                await self._predict(scope, receive, send, v2=False)
            else:
                await self._tell(
                    send, 405, "method", f'is {method}; POST one row or {{"rows": [...]}} to /predict'
                )
        elif method == "POST" and path.startswith("/v2/models/") and path.endswith("/infer"):
            await self._predict(scope, receive, send, v2=True)
        elif path in (explaining.PATH, f"{explaining.PATH}/"):
            if method == "POST":
                await self._explain(scope, receive, send)
            else:
                await self._tell(
                    send, 405, "method", f'is {method}; POST one row or {{"rows": [...]}} to /explain'
                )
        elif path == DRAIN and method == "POST":
            drained = self._log is None or await self._log.drain()
            await self._answer(send, 200 if drained else 503, b"{}")
        elif path in ("/metrics", "/prometheus"):
            await self._answer(
                send, 200, self.metrics.exposition(), (b"content-type", metrics.CONTENT_TYPE.encode())
            )
        else:
            await self._inform(path, send)

    async def _inform(self, path: str, send: Send) -> None:
        parts = path.strip("/").split("/")
        ready = self._model is not None
        if parts in (["v2", "health", "live"], ["v2", "health", "ready"]):
            await self._answer(send, 200 if ready or parts[2] == "live" else 503, b"{}")
        elif path.rstrip("/") == "/v2":
            server = {"name": "capstan", "version": self._settings.version, "extensions": []}
            await self._answer(send, 200, orjson.dumps(server))
        elif (
            parts[:2] == ["v2", "models"]
            and len(parts) >= 3
            and self._model is not None
            and parts[2] == self._name
        ):
            rest = parts[3:]
            if rest[:1] == ["versions"]:
                rest = rest[2:] if rest[1:2] == [self._settings.version] else ["?"]
            if rest == ["ready"]:
                await self._answer(send, 200, orjson.dumps({"name": self._name, "ready": True}))
            elif not rest:
                body = open_inference.metadata(self._model.manifest, self._name, self._settings.version)
                await self._answer(send, 200, orjson.dumps(body))
            else:
                await self._answer(send, 404, b'{"error":"no such route"}')
        elif not path.startswith("/v2/"):
            await self._tell(send, 404, "path", "is no route here; POST a row to /predict")
        else:
            await self._answer(send, 503 if not ready else 404, b'{"error":"no such route or model"}')

    async def _tell(self, send: Send, status: int, field: str, rule: str) -> None:
        """What the native route answers without a look at the body."""
        await self._answer(
            send, status, orjson.dumps({"error": {"field": field, "value": None, "rule": rule}})
        )

    async def _predict(self, scope: Scope, receive: Receive, send: Send, *, v2: bool) -> None:
        call = Call(time.perf_counter(), v2=v2)
        try:
            settings = self._settings
            read_headers(
                call, scope["headers"], event_time=settings.event_time_header, copies=settings.copies
            )
            model = self._model
            if model is None:
                if v2:
                    await self._answer(send, 503, b'{"error":"the model is not loaded yet"}')
                else:
                    await self._tell(send, 503, "version", "is not loaded yet; ask again")
                return
            if self._treatments is not None:
                call.unit = self._treatments.unit(self._sticky_by, call.unit)
            body = await read_body(scope["headers"], receive)
            if call.encoding:
                body = decoded(body, call.encoding, limit=MAX_BODY_BYTES)
            if v2 and not self._is_ours(scope["path"]):
                await self._refuse(
                    call,
                    send,
                    404,
                    InvalidRequestError("model", scope["path"], f"is not {self._name}"),
                )
                return
            parsed = parse(body)
            if (
                self._read_rows(call, parsed)
                and self._log is not None
                and len(body) <= self._longest_kept
                and _is_flat(body)
            ):
                call.sent = body
            if v2 and type(parsed.get("id")) is str and not call.request_id:
                call.request_id = parsed["id"][:MAX_TOKEN]
            if call.event_time is not None:
                check_time(call.event_time)
        except InvalidRequestError as error:
            told = self._with_all(call, error) if isinstance(error, NonfiniteError) else error
            call.rows = ()
            await self._refuse(call, send, 422, told)
            return
        except StaleEventsError as error:
            call.rows = ()
            await self._refuse(call, send, 503, error.error)
            return
        except BodyTooLargeError:
            rule = f"must be at most {MAX_BODY_BYTES} bytes; send the rows in several requests"
            await self._refuse(call, send, 413, InvalidRequestError("body", None, rule))
            return
        except UnreadableEncodingError:
            unread = InvalidRequestError("content-encoding", call.encoding, READ_ENCODINGS)
            await self._refuse(call, send, 415, unread)
            return
        except ClientLeftError:
            return
        await self._predict_rows(call, model, send)

    async def _explain(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Asked by people about answers, so nothing of it is logged or counted among the predictions."""
        model, call = self._model, Call(time.perf_counter())
        if model is None:
            await self._tell(send, 503, "version", "is not loaded yet; ask again")
            return
        try:
            read_headers(call, scope["headers"], event_time=False)
            body = await read_body(scope["headers"], receive)
            if call.encoding:
                body = decoded(body, call.encoding, limit=MAX_BODY_BYTES)
            self._read_rows(call, parse(body))
            found = await self._explaining.of(call.rows)
            outputs = self._judged(await _predict_many(model, call.rows))
        except UnfitValueError as error:
            await self._refuse_explaining(send, _named(error, call.rows))
            return
        except InvalidRequestError as error:
            await self._refuse_explaining(send, error)
            return
        except StaleEventsError as error:
            await self._answer(send, 503, orjson.dumps(error.error.document()))
            return
        except BodyTooLargeError:
            await self._tell(send, 413, "body", f"must be at most {MAX_BODY_BYTES} bytes")
            return
        except UnreadableEncodingError:
            await self._tell(send, 415, "content-encoding", READ_ENCODINGS)
            return
        except BusyError:
            await self._tell(send, 429, "rows", "cannot be explained now: others are; ask again")
            return
        except ClientLeftError:
            return
        except Exception as error:
            rule = f"the model raised {type(error).__name__}: {shown(str(error))}"
            await self._tell(send, 500, "prediction", rule)
            return
        sound: Any = outputs
        if None in outputs:
            await self._tell(send, 500, "prediction", "is no sound answer, so there is nothing to explain")
            return
        told = self._task.answers(sound, self._learnt)
        explained = [{**answer, "explanation": one} for answer, one in zip(told, found, strict=True)]
        body = orjson.dumps({"version": self._settings.version, "explanations": explained})
        await self._answer(send, 200, body)

    async def _refuse_explaining(self, send: Send, error: InvalidRequestError) -> None:
        await self._answer(send, 422, orjson.dumps(self._schema.told(error).document()))

    def _with_all(self, call: Call, error: NonfiniteError) -> InvalidRequestError:
        """What the schema says of the same body besides."""
        try:
            self._read_rows(call, error.rest)
        except InvalidRequestError as others:
            return error.joined(others.one_by_one())
        return error

    def _read_rows(self, call: Call, parsed: Any) -> bool:
        """Give the call the rows of its body, all valid; raises InvalidRequestError.

        Returns whether the body is one row that the model reads letter by letter.
        """
        if self._lookup is not None:
            call.late = self._lookup.complete(parsed, v2=call.v2, now=_asked_at(call))
        row = open_inference.one_row(parsed) if call.v2 else parsed
        plain = self._plain_rows.read(row) if self._treatments is None else None
        is_as_sent = False
        if plain is not None:
            (call.rows, is_as_sent), call.plain = plain, True
        elif call.v2:
            call.rows = open_inference.rows_of(parsed, self._schema, row)
        else:
            call.rows = self._schema.rows_of(parsed)
        if self._is_of_groups:
            self._schema.check_group(call.rows)
        return is_as_sent and not call.v2 and self._lookup is None

    async def _predict_rows(self, call: Call, model: Model, send: Send) -> None:
        rows = call.rows
        marks = None if call.plain else self._familiarity.marks(rows)
        if call.late:
            known = marks or {}
            marks = {
                index: [*known.get(index, ()), *call.late.get(index, ())] for index in {*known, *call.late}
            }
        try:
            outputs: Sequence[Outputs | None]
            if len(rows) == 1 and self._row_outputs is not None:
                score = model.predict_row(rows[0])
                scores: Sequence[Any] | Scores = (score,)
                outputs = (self._row_outputs(score),)
            else:
                scores = await _predict_many(model, rows)
                outputs = self._judged(scores)
        except UnfitValueError as error:
            await self._refuse(call, send, 422, _named(error, rows))
            return
        except Exception as error:
            # Any exception of a user's model must become an answer that the gateway can fail over from.
            await self._fail(call, send, f"the model raised {type(error).__name__}: {shown(str(error))}", ())
            return
        if None in outputs:
            self.metrics.nonfinite.inc(outputs.count(None))
            await self._fail(call, send, complaint(self._task, scores, self._learnt), outputs)
            return
        sound: Any = outputs
        request_id = call.request_id or _new_id()
        call.request_id = request_id
        version = self._settings.version
        if call.v2:
            tensors = self._task.tensors(sound, self._learnt)
            body = open_inference.answer(self._name, version, request_id, tensors, marks, rows=len(rows))
        else:
            told = self._task.answers(sound, self._learnt)
            for index, found in marks.items() if marks is not None else ():
                told[index]["outside"] = found
            body = {"version": version, "request_id": request_id, "predictions": told}
        await self._finish(call, send, 200, orjson.dumps(body), outputs)

    def _judged(self, scores: Scores) -> list[Outputs | None]:
        """Of each row its payload columns; None for an answer that no user may get."""
        predictions = self._task.predictions(scores, self._learnt)
        outputs: list[Outputs | None] = list(self._task.outputs(predictions))
        for index in np.flatnonzero(self._task.unsound(predictions)).tolist():
            outputs[index] = None
        return outputs

    def _is_ours(self, path: str) -> bool:
        """`/v2/models/NAME[/versions/VERSION]/infer`, or `/v2/models/infer` as Seldon's executor sends it."""
        own = f"/v2/models/{self._name}"
        return path in ("/v2/models/infer", f"{own}/infer", f"{own}/versions/{self._settings.version}/infer")

    async def _refuse(self, call: Call, send: Send, status: int, error: InvalidRequestError) -> None:
        """4xx: the client's mistake, named; logged without its inputs, which detectors must not see."""
        if call.event_time is not None and moment_rule(call.event_time) is not None:
            # Whatever else is wrong: the collector would refuse the payload for it.
            call.event_time = None
        told = self._schema.told(error)
        body = {"error": str(told)} if call.v2 else told.document()
        await self._finish(call, send, status, orjson.dumps(body), ())

    async def _fail(self, call: Call, send: Send, rule: str, outputs: Sequence[Outputs | None]) -> None:
        """500: the model's mistake; the gateway asks the champion instead."""
        body = {"error": rule} if call.v2 else {"error": {"field": "prediction", "value": None, "rule": rule}}
        await self._finish(call, send, 500, orjson.dumps(body), outputs)

    async def _finish(
        self,
        call: Call,
        send: Send,
        status: int,
        body: bytes,
        outputs: Sequence[Outputs | None],
    ) -> None:
        seconds = time.perf_counter() - call.started
        self.metrics.answered(call.role, status, seconds)
        if self._log is not None:
            call.request_id = call.request_id or _new_id()
            rows = self._without_images(call.rows) if self._images else call.rows
            self._log.add(call, status, seconds, time.time(), rows, outputs)
        await self._answer(send, status, body)

    def _without_images(self, rows: Sequence[Row]) -> Sequence[Row]:
        """What is logged: the hash and the facts of an image in its place."""
        found = []
        for row in rows:
            texts = {name: row.get(name) for name in self._images}
            kept = {
                name: kept_text(text, self._images[name])
                for name, text in texts.items()
                if type(text) is str and text
            }
            found.append({**row, **kept})
        return found

    async def _answer(
        self, send: Send, status: int, body: bytes, content_type: tuple[bytes, bytes] = _JSON
    ) -> None:
        length = (b"content-length", str(len(body)).encode())
        headers = [content_type, length, self._version_header]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _asked_at(call: Call) -> float:
    """Seconds since 1970; in a replay its own time."""
    if call.event_time is not None and moment_rule(call.event_time) is None:
        return datetime.fromisoformat(call.event_time).timestamp()
    return time.time()


def _is_flat(body: bytes) -> bool:
    """Whether nothing lies within a row, not even as a value of a name that is given again.

    What is nested as deep as JSON may be is nested too deep beside the payloads of others, and all of them were lost.
    """
    return b"[" not in body and body.find(b"{", 1) < 0


def _new_id() -> str:
    """As unlikely to come twice as a UUID, which takes three times as long to make."""
    return os.urandom(16).hex()


def _named(error: UnfitValueError, rows: Sequence[Row]) -> InvalidRequestError:
    """The value by its place in the request."""
    place = next((index for index, row in enumerate(rows) if row.get(error.column) == error.value), 0)
    where = f"rows[{place}]." if len(rows) > 1 else ""
    return InvalidRequestError(f"{where}{error.column}", error.value, error.rule)


async def _predict_many(model: Model, rows: Sequence[Row]) -> Scores:
    if len(rows) <= OFF_LOOP_ROWS:
        return model.predict_rows(rows)
    return await asyncio.get_running_loop().run_in_executor(None, model.predict_rows, rows)
