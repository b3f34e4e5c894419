"""Bodies of HTTP requests as they were before their encoding, with bounded memory: for serving and the collector."""

from __future__ import annotations

import zlib

from capstan.errors import InvalidRequestError

PACKED_UNTOLD = "is gzip; say so by the header content-encoding: gzip"
READ_ENCODINGS = "is not read here; send gzip, or the body as it is"
MOST_STREAMS = 1000
"""Of one body. A compressor of blocks writes one for each 64 KiB; millions of empty ones would cost minutes."""
_PIECE_BYTES = 2**16
"""Each stream copies what is behind it in its piece."""
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"


class BodyTooLargeError(Exception):
    """The body is above the limit, as it came or unpacked; answered with 413."""


class UnreadableEncodingError(Exception):
    """The body is encoded in a way that is not read here; answered with 415."""


def decoded(body: bytes, encoding: bytes, *, limit: int) -> bytes:
    """The body as it was before its encoding, gzip or none; `encoding` is the header in lower case.

    Raises BodyTooLargeError as soon as that is above `limit` bytes, whatever a bomb holds; UnreadableEncodingError;
    InvalidRequestError for what is no whole gzip stream.
    """
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise UnreadableEncodingError
    parts: list[bytes] = []
    at = streams = 0
    left = limit
    while at < len(body):
        stream = zlib.decompressobj(_GZIP)
        streams += 1
        if streams > MOST_STREAMS:
            raise InvalidRequestError(
                "body", None, f"is of more than {MOST_STREAMS} gzip streams; pack it as one"
            )
        while not stream.eof:
            piece = body[at : at + _PIECE_BYTES]
            if not piece:
                raise InvalidRequestError("body", None, "ends in the middle of its gzip stream")
            try:
                parts.append(stream.decompress(piece, left + 1))
            except zlib.error:
                raise InvalidRequestError("body", None, "is not gzip, as content-encoding says") from None
            left -= len(parts[-1])
            if left < 0:
                raise BodyTooLargeError
            at += len(piece) - len(stream.unused_data)
    return b"".join(parts)


def is_packed(body: bytes) -> bool:
    """Whether a body that is no JSON begins as gzip does."""
    return body.startswith(_GZIP_MAGIC)
