"""One request asked of two versions at once: the champion's answer is waited for, the challenger's a moment longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

import aiohttp

from capstan.ports.serving import Endpoint

HOST, SHADOW_HOST = "capstan", "capstan-shadow"
"""Hosts of a request whose answer counts and of a copy, as the gateway writes them."""
SECONDS = 1.8
"""Seconds for which a version is waited for: less than the gateway waits before it tries another."""
PATIENCE_SECONDS = 0.3
"""Seconds after the champion's answer for which users wait for the challenger's."""
_NOT_FORWARDED = frozenset(
    {b"host", b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"expect", b"upgrade"}
)


@dataclass(frozen=True)
class Reply:
    """What a version answered."""

    status: int
    body: bytes
    content_type: str = "application/json"
    version: str = ""
    """Who answered; empty: nobody that has a name."""


class AskError(Exception):
    """A version that did not answer; the message says why."""


@dataclass(frozen=True)
class Question:
    """A request as it came, to be asked elsewhere."""

    path: str
    """With its query."""
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def forwarded(self, host: str) -> list[tuple[str, str]]:
        kept = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self.headers
            if name not in _NOT_FORWARDED
        ]
        return [*kept, ("host", host)]


async def ask(
    session: aiohttp.ClientSession, endpoint: Endpoint, question: Question, *, copy: bool, seconds: float
) -> Reply:
    """The version's answer; raises AskError when it does not answer in so many seconds."""
    url = f"http://{endpoint.host}:{endpoint.port}{question.path}"
    headers = question.forwarded(SHADOW_HOST if copy else HOST)
    try:
        async with (
            asyncio.timeout(seconds),
            session.post(url, data=question.body, headers=headers) as answer,
        ):
            body = await answer.read()
            kind = answer.headers.get("content-type", "application/json")
            return Reply(answer.status, body, kind, answer.headers.get("x-capstan-version", ""))
    except TimeoutError:
        raise AskError(f"did not answer in {seconds:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise AskError(f"cannot be reached: {type(error).__name__}") from error


async def ask_both(
    session: aiohttp.ClientSession, champion: Endpoint, challenger: Endpoint, question: Question
) -> tuple[Reply | AskError, Reply | AskError]:
    """What both answer; a challenger that has said nothing a moment after the champion is late."""
    copy = asyncio.ensure_future(_asked(ask(session, challenger, question, copy=True, seconds=SECONDS)))
    try:
        first = await _asked(ask(session, champion, question, copy=False, seconds=SECONDS))
        # A champion that failed is asked again by the gateway, which should not wait.
        patience = PATIENCE_SECONDS if isinstance(first, Reply) else 0.0
        done, _ = await asyncio.wait([copy], timeout=patience)
        late = AskError(f"did not answer within {PATIENCE_SECONDS:g} s of the champion")
        return first, copy.result() if done else late
    finally:
        copy.cancel()


async def _asked(answer: Awaitable[Reply]) -> Reply | AskError:
    try:
        return await answer
    except AskError as error:
        return error
