"""What the gateway answers by itself, as JSON like everything that a version answers.

Envoy's own replies are plain text or empty. Each gets the shape of the route that was asked: `{"error": {"field",
"rule"}}`, and `{"error": "..."}` below /v2/ and /NAME/v2/.
"""

from __future__ import annotations

from typing import Any

from capstan.domain.payload_limits import LARGEST_CALL

Json = dict[str, Any]

NO_VERSION = "no version is ready yet"
NO_ROUTE = (
    "is no route here; POST a row to /predict, tensors to /v2/models/NAME/infer, labels to /feedback, "
    "events to /events, signed calls to /webhooks/SENDER"
)
BELOW_V2 = "(/[^/?]+)?/v2/.*"
"""Paths of the V2 protocol: of one system, and below the name of one of several."""
_REPLY = "%LOCAL_REPLY_BODY%"
"""Envoy's own words, or those of a direct response."""


def direct(status: int, text: str) -> Json:
    """Answer of a route itself; it gets its shape as all replies of the gateway do."""
    return {"status": status, "body": {"inline_string": text}}


def local_replies(*, body_bytes: int, feedback_bytes: int, timeout_seconds: float) -> Json:
    """`local_reply_config` of the connection manager; the limits are named in what is refused by them."""
    too_large = (
        f"is too large; at most {body_bytes} bytes go to a prediction, {feedback_bytes} to /feedback and /events, "
        f"{LARGEST_CALL} to /webhooks: send it in several requests"
    )
    unanswered = ("UH", "UF", "UC", "UR", "UO", "LR")
    replies = [
        _reply("request", "is not HTTP/1.1 or HTTP/1.0 as it can be read here", [_status(400)]),
        _reply("path", _REPLY, [_status(404)]),
        _reply("request", "did not come in time", [_status(408)]),
        _reply("body", too_large, [_status(413)]),
        _reply("headers", "are too large", [_status(431)]),
        _reply(
            "version",
            "did not answer; ask again",
            [_status(503), {"response_flag_filter": _flags(unanswered)}],
        ),
        _reply("version", _REPLY, [_status(503)]),
        _reply("version", f"none answered within {timeout_seconds:g} s; ask again", [_status(504)]),
    ]
    mappers = [mapper for pair in [*replies, _reply("request", _REPLY, [])] for mapper in pair]
    return {"mappers": mappers}


def _reply(field: str, rule: str, filters: list[Json]) -> tuple[Json, Json]:
    """The reply in the shape of the V2 protocol and in the native one; the first that fits is taken."""
    header = {"name": ":path", "string_match": {"safe_regex": {"regex": BELOW_V2}}}
    v2 = {"json_format": {"error": f"{field}: {rule}"}}
    native = {"json_format": {"error": {"field": field, "rule": rule}}}
    return (
        {"filter": _all([*filters, {"header_filter": {"header": header}}]), "body_format_override": v2},
        {"filter": _all(filters), "body_format_override": native},
    )


def _all(filters: list[Json]) -> Json:
    if not filters:
        return {"not_health_check_filter": {}}
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": filters}}


def _status(code: int) -> Json:
    value = {"default_value": code, "runtime_key": "capstan.none"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _flags(names: tuple[str, ...]) -> Json:
    return {"flags": list(names)}
