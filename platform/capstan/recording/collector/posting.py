"""What a producer's request carries besides its events, read with bounded memory."""

from __future__ import annotations

from starlette.requests import Request

from capstan.content_encoding import BodyTooLargeError, decoded
from capstan.domain.payload_limits import LARGEST_BATCH
from capstan.errors import InvalidRequestError
from capstan.recording.blocks import SYSTEM_NAME
from capstan.recording.collector.boots import Heading


async def body_of(request: Request) -> bytes:
    """The body, unpacked if it came as gzip.

    Raises BodyTooLargeError as soon as it is above LARGEST_BATCH, packed or not, UnreadableEncodingError, and
    InvalidRequestError for what is no whole gzip stream.
    """
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > LARGEST_BATCH:
        raise BodyTooLargeError
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BATCH:
            raise BodyTooLargeError
        chunks.append(chunk)
    encoding = request.headers.get("content-encoding", "").strip().lower()
    return decoded(b"".join(chunks), encoding.encode("latin-1"), limit=LARGEST_BATCH)


def heading_of(request: Request) -> Heading | None:
    """What the producer says about itself; None: nothing. Raises InvalidRequestError."""
    boot = request.headers.get("x-capstan-boot")
    if not boot:
        return None
    if len(boot) > 64:
        raise InvalidRequestError("x-capstan-boot", boot[:80], "must be at most 64 characters")
    counts = []
    for name in ("x-capstan-produced", "x-capstan-lost", "x-capstan-lost-copies"):
        text = request.headers.get(name, "0")
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise InvalidRequestError(name, text[:40], "must be a whole number")
        counts.append(int(text))
    version = request.headers.get("x-capstan-version")
    ended = request.headers.get("x-capstan-ended") == "true"
    system = request.headers.get("x-capstan-system", "")
    return Heading(
        boot,
        version[:63] if version else None,
        counts[0],
        counts[1],
        ended,
        counts[2],
        system if SYSTEM_NAME.fullmatch(system) else None,
    )
