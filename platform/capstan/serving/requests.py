"""What is read of a prediction request: headers, a body of bounded size, JSON that may be anything."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from capstan.content_encoding import PACKED_UNTOLD, BodyTooLargeError, is_packed
from capstan.domain.payload_limits import LONGEST_ID, PLAIN_NAME, moment_rule
from capstan.errors import InvalidRequestError
from capstan.serving.columns import FINITE, NOT_NULL
from capstan.serving.metrics import ROLES
from capstan.serving.schema import MOST_PROBLEMS, Row

Headers = Sequence[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Any]]

MAX_BODY_BYTES = 1 << 20
MAX_TOKEN = 128
"""Characters of an id in a header."""


class ClientLeftError(Exception):
    """Nobody waits for an answer any more."""


class NonfiniteError(InvalidRequestError):
    """A body that would be JSON but for NaN and infinities."""

    def __init__(self, found: Sequence[InvalidRequestError], rest: object) -> None:
        """`rest`: the body with null in their places."""
        first, *others = found[:MOST_PROBLEMS]
        super().__init__(first.field, first.value, first.rule, others)
        self.rest = rest

    def joined(self, others: Sequence[InvalidRequestError]) -> InvalidRequestError:
        """With what else is wrong in the body; that a value must not be null is no breach of what was sent."""
        named = {one.field for one in self.one_by_one()}
        further = [one for one in others if one.field not in named or one.rule != NOT_NULL]
        return InvalidRequestError(
            self.field, self.value, self.rule, [*self.others, *further][: MOST_PROBLEMS - 1]
        )


_ROLES = {role.encode(): role for role in ROLES if role != "shadow"}
"""Roles that a gateway writes into a header. A copy is none of them: where no gateway of Capstan's takes the header
off, who writes it could hide requests from the record.
"""


@dataclass(slots=True)
class Call:
    """One prediction request on its way."""

    started: float
    role: str = "champion"
    request_id: str = ""
    attempt: int = 1
    arm: str | None = None
    """The version that the gateway's split assigned the request to, whoever answers; None: it was not assigned."""
    unit: str | None = None
    """The key by which the request sticks to its arm; None: it has none, and was drawn for itself."""
    event_time: str | None = None
    encoding: bytes = b""
    """Of the body; empty: as it is."""
    rows: Sequence[Row] = ()
    plain: bool = False
    """Whether `PlainRows` knows the rows, so that none has a mark."""
    sent: bytes = b""
    """The body, if it is the one row as the model reads it; empty: to be written for the payload log."""
    v2: bool = False
    late: Mapping[int, list[dict[str, Any]]] | None = None
    """Marks of features whose events are stale, by row."""


def read_headers(call: Call, headers: Headers, *, event_time: bool, copies: bool | None = None) -> None:
    """Who asks, as the gateway says; `event_time` only in a replay, `copies` as in the settings."""
    # Of this every request pays each part: one dictionary costs less than a comparison for each header and name.
    given = dict(headers).get
    if (request_id := given(b"x-request-id")) is not None:
        call.request_id = request_id[:MAX_TOKEN].decode("latin-1")
    if (attempt := given(b"x-envoy-attempt-count", b"1")) != b"1":
        call.attempt = int(attempt) if attempt.isdigit() and len(attempt) < 4 else 1
    if (encoding := given(b"content-encoding")) is not None:
        call.encoding = encoding.strip().lower()
    if event_time and (moment := given(b"x-capstan-event-time")) is not None:
        call.event_time = moment[:MAX_TOKEN].decode("latin-1")
    # Envoy marks a mirrored request so; the port, if any, comes after the mark.
    if copies is None and b"-shadow" in (host := given(b"host", b"")):
        copies = host.partition(b":")[0].endswith(b"-shadow")
    if copies:
        call.role = "shadow"
        return
    if (role := given(b"x-capstan-role")) is not None:
        call.role = _ROLES.get(role, call.role)
    if (key := given(b"x-capstan-key")) is not None:
        call.unit = _unit(key)
    if (arm := given(b"x-capstan-arm")) is not None and (call.unit is not None or key is None):
        # A key that cannot be stored would make a unit of each of its requests: those count in no arm.
        call.arm = _arm(arm)


@lru_cache(maxsize=64)
def _arm(value: bytes) -> str | None:
    """The gateway's own header; whoever asks the service directly may write anything into it."""
    name = value.decode("latin-1")
    return name if PLAIN_NAME.fullmatch(name) else None


def _unit(key: bytes) -> str | None:
    """As people write it, so that events find it; None for what is no id."""
    try:
        unit = key.decode()
    except UnicodeDecodeError:
        unit = key.decode("latin-1")
    return unit if 0 < len(unit) <= LONGEST_ID else None


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
        rest, found = _without_nonfinite(json.loads(body))
    except (ValueError, RecursionError):
        found = []
    if found:
        raise NonfiniteError(found, rest)
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


def _without_nonfinite(value: object, where: str = "") -> tuple[object, list[InvalidRequestError]]:
    """A JSON value with null for each NaN and infinity, and these, by path; raises RecursionError if it is too deep."""
    if type(value) is float and value - value != 0:
        return None, [InvalidRequestError(where or "body", value, FINITE)]
    if type(value) is dict:
        parts = [
            (name, *_without_nonfinite(item, f"{where}.{name}" if where else name))
            for name, item in value.items()
        ]
        return {name: item for name, item, _ in parts}, [one for *_, found in parts for one in found]
    if type(value) is list:
        items = [_without_nonfinite(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return [item for item, _ in items], [one for _, found in items for one in found]
    return value, []
