"""What is read of a prediction request: headers, a body of bounded size, JSON that may be anything."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from capstan.content_encoding import PACKED_UNTOLD, BodyTooLargeError, is_packed
from capstan.domain.payload_limits import moment_rule
from capstan.errors import InvalidRequestError
from capstan.serving.metrics import ROLES
from capstan.serving.schema import Row

Headers = Sequence[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Any]]

MAX_BODY_BYTES = 1 << 20
MAX_TOKEN = 128
"""Characters of an id in a header."""


class ClientLeftError(Exception):
    """Nobody waits for an answer any more."""


@dataclass(slots=True)
class Call:
    """One prediction request on its way."""

    started: float
    role: str = "champion"
    request_id: str = ""
    attempt: int = 1
    event_time: str | None = None
    encoding: bytes = b""
    """Of the body; empty: as it is."""
    rows: Sequence[Row] = ()
    plain: bool = False
    """Whether `PlainRows` knows the rows, so that none has a mark."""
    v2: bool = False


def read_headers(call: Call, headers: Headers, *, event_time: bool) -> None:
    """Who asks, as the gateway says; `event_time` only in a replay."""
    role, shadow = "", False
    for name, value in headers:
        if name == b"x-request-id":
            call.request_id = value[:MAX_TOKEN].decode("latin-1")
        elif name == b"x-capstan-role":
            role = value.decode("latin-1")
        elif name == b"host":
            # Envoy marks a mirrored request so; the port, if any, comes after the mark.
            shadow = b"-shadow" in value and value.partition(b":")[0].endswith(b"-shadow")
        elif name == b"x-envoy-attempt-count":
            call.attempt = int(value) if value.isdigit() and len(value) < 4 else 1
        elif name == b"content-encoding":
            call.encoding = value.strip().lower()
        elif event_time and name == b"x-capstan-event-time":
            call.event_time = value[:MAX_TOKEN].decode("latin-1")
    if shadow:
        call.role = "shadow"
    elif role in ROLES:
        call.role = role


async def read_body(headers: Headers, receive: Receive) -> bytes:
    """The whole body; raises BodyTooLargeError before more than the limit is kept."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLargeError
        return body
    for name, value in headers:
        if name == b"content-length" and (not value.isdigit() or int(value) > MAX_BODY_BYTES):
            raise BodyTooLargeError
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise BodyTooLargeError
    return b"".join(parts)


def parse(body: bytes) -> Any:
    """The JSON value; raises InvalidRequestError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        rule = f"is not JSON: {error}"
    # NaN and Infinity are not JSON, but many clients write them: parse as they do, to name the field. What this lax
    # parser reads is never served: it also lets through texts that could not be logged.
    try:
        found = nonfinite(json.loads(body))
    except (ValueError, RecursionError):
        found = None
    if found is not None:
        raise InvalidRequestError(*found, "must be a finite number")
    if "depth limit" in rule:
        rule = "is nested too deeply"
    if is_packed(body):
        raise InvalidRequestError("body", None, PACKED_UNTOLD)
    raise InvalidRequestError("body", body, rule)


def check_time(text: str) -> None:
    """Raises InvalidRequestError unless it is a moment that the collector takes."""
    rule = moment_rule(text)
    if rule is not None:
        raise InvalidRequestError("x-capstan-event-time", text, rule)


def nonfinite(value: object, where: str = "") -> tuple[str, float] | None:
    """Path and value of the first NaN or infinity in a JSON value; raises RecursionError if it is too deep."""
    if type(value) is float and value - value != 0:
        return where or "body", value
    if type(value) is dict:
        inside = ((f"{where}.{name}" if where else name, item) for name, item in value.items())
    elif type(value) is list:
        inside = ((f"{where}[{index}]", item) for index, item in enumerate(value))
    else:
        return None
    return next((found for path, item in inside if (found := nonfinite(item, path)) is not None), None)
