"""Connections that are kept alive to one address, on which requests are posted one after the other.

A client library takes as long for a request as the gateway and the model together; this is asyncio's protocol with
httptools' parser.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from urllib.parse import urlsplit

import httptools

IDLE_SECONDS = 30.0
"""A connection that was idle for longer is not used again: the other side may be about to close it."""
TRUSTED_SECONDS = 0.01
"""A connection that was idle for less is used without a look at its socket."""


class Connections:
    """As many as are busy at once."""

    def __init__(self, url: str, *, deadline_seconds: float) -> None:
        """`url` is what is posted to; `deadline_seconds` bounds each request, with the connection that it may need."""
        parts = urlsplit(url)
        self._host, self._secure = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = f"POST {target} HTTP/1.1\r\nhost: {parts.netloc.rpartition('@')[2]}\r\n"
        self._deadline = deadline_seconds
        self._idle: list[_Connection] = []

    async def post(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; raises OSError without one, and ValueError for a header of several lines.

        It is sent once. TimeoutError, an OSError, is raised past the deadline.
        """
        loop = asyncio.get_running_loop()
        sent = self._written(headers, body)
        until = loop.time() + self._deadline
        connection = self._kept(loop.time())
        if connection is None:
            async with asyncio.timeout_at(until):
                _, connection = await loop.create_connection(
                    _Connection,
                    self._host,
                    self._port,
                    ssl=ssl.create_default_context() if self._secure else None,
                )
        answer = connection.ask(sent)
        timer = loop.call_at(until, connection.give_up, self._deadline)
        try:
            return await answer
        finally:
            timer.cancel()
            if connection.is_open:
                connection.idle_since = loop.time()
                self._idle.append(connection)
            else:
                # Nobody waits for the answer any more, and it must not become that of another request.
                connection.close()

    def _written(self, headers: dict[str, str], body: bytes) -> bytes:
        for name, value in headers.items():
            if any(mark in value for mark in "\r\n\0"):
                raise ValueError(f"a header must be one line of text: {name}: {value[:100]!r}")
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        return "".join([self._head, *lines, f"content-length: {len(body)}\r\n\r\n"]).encode() + body

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _kept(self, now: float) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            idle = now - connection.idle_since
            # Between two calls of a client its loop stands still, and hears of nothing that is closed.
            if (
                connection.is_open
                and idle < IDLE_SECONDS
                and (idle < TRUSTED_SECONDS or connection.is_silent)
            ):
                return connection
            connection.close()
        return None


class _Connection(asyncio.Protocol):
    """Parses the answers to one request at a time."""

    idle_since = 0.0

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether another request may follow."""
        return self._transport is not None and self._answer is None

    @property
    def is_silent(self) -> bool:
        """Whether nothing came that nobody asked for, as the end of the connection."""
        if self._transport is None:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def ask(self, sent: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None:
            self._fail(ConnectionResetError("the connection was closed"))
        else:
            self._transport.write(sent)
        return self._answer

    def give_up(self, seconds: float) -> None:
        self._fail(TimeoutError(f"no answer within {seconds:g} s"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(exc or ConnectionResetError("the connection was closed without an answer"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"what was answered is no HTTP: {error}"))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._body.clear()
            return
        body, self._body = b"".join(self._body), []
        if not self._parser.should_keep_alive():
            self.close()
        answer, self._answer = self._answer, None
        if answer is None:
            # Nobody asked: whatever comes next could be taken for the answer to another request.
            self.close()
        elif not answer.done():
            answer.set_result((status, body))

    def _fail(self, error: BaseException) -> None:
        """The request has no answer, and no other may follow it here."""
        answer, self._answer = self._answer, None
        self.close()
        if answer is not None and not answer.done():
            answer.set_exception(error)
