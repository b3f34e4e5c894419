"""What comes packed is read as it was, within its limit, and nothing that is packed costs more than what it holds."""

from __future__ import annotations

import gzip
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.content_encoding import MOST_STREAMS, BodyTooLargeError, decoded
from capstan.errors import InvalidRequestError


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(-1, 1))
def test_streams_are_read_up_to_the_limit_and_not_a_byte_beyond(parts: list[bytes], over: int) -> None:
    whole = b"".join(parts)
    body = b"".join(map(gzip.compress, parts))
    limit = len(whole) - over
    if over > 0:
        with pytest.raises(BodyTooLargeError):
            decoded(body, b"gzip", limit=limit)
    else:
        assert decoded(body, b"gzip", limit=limit) == whole


def test_a_body_of_many_pieces_is_read_whole() -> None:
    noise = random.Random(1).randbytes(700_000)
    assert decoded(gzip.compress(noise) + gzip.compress(b"end"), b"gzip", limit=2**20) == noise + b"end"


@given(st.integers(1, 60))
def test_a_stream_that_is_cut_anywhere_is_refused(missing: int) -> None:
    body = gzip.compress(b"some labels, some more labels, and again labels", mtime=0)
    with pytest.raises(InvalidRequestError, match="ends in the middle"):
        decoded(body[: max(1, len(body) - missing)], b"gzip", limit=1000)


def test_ten_megabytes_of_empty_streams_are_refused_at_once() -> None:
    empty = gzip.compress(b"", mtime=0)
    began = time.monotonic()
    with pytest.raises(InvalidRequestError, match=f"more than {MOST_STREAMS} gzip streams"):
        decoded(empty * (10 * 2**20 // len(empty)), b"gzip", limit=10 * 2**20)
    assert time.monotonic() - began < 2
