"""Bodies of requests and answers as JSON."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response


class Json(Response):
    """Bytes are sent as they are."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else orjson.dumps(content, default=str)


async def body_of(request: Request, most_bytes: int) -> bytes:
    """The body, read up to one byte beyond the limit and a little more; who asked refuses a longer one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            break
    return body


async def document_of(request: Request, most_bytes: int) -> dict[str, Any] | None:
    """The JSON object in the body; None: it is none, or too long."""
    body = await body_of(request, most_bytes)
    if len(body) > most_bytes:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
