"""Sends every answered row to the collector, beside the requests and never in their way.

A bounded buffer takes payloads as they lie there; one task writes and sends them in batches and retries until they are
acknowledged. When the collector stays away the oldest are dropped. Each payload has a number, so that what is missing
downstream is either counted as lost here or provably a bug.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from capstan.features.columns import columns_of
from capstan.serving.payload_blocks import (
    BATCH_BYTES,
    BATCH_ROWS,
    BLOCK_ROWS,
    COPY,
    BlockWriter,
    Part,
    WaitingRows,
    body_of,
)
from capstan.serving.requests import Call

MEDIA_TYPE = "application/json"
BUFFER_ROWS = 400_000
"""Bytes fill the buffer first where requests have one row; small rows of requests of many meet this bound first."""
BUFFER_BYTES = 64 * 2**20
BATCH_SECONDS = 0.1
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
POST_TIMEOUT_SECONDS = 5.0
FLUSH_SECONDS = 5.0
HEARTBEAT_SECONDS = 30.0
"""An idle producer speaks so often, so that one that was killed is told from one that has nothing to say."""
NEVER_ACCEPTED = frozenset({400, 409, 413, 415, 422})
"""Answers that sending the same bytes again cannot change."""

Columns = Mapping[str, Sequence[Any]]
Outputs = Mapping[str, Any]


@dataclass
class PayloadLog:
    """Call `start` and `stop` on the event loop that calls `add`."""

    collector_url: str
    source: str
    """`/capstan/<system>/<version>`."""
    version: str
    token_file: Path | None
    on_produced: Callable[[int], None] = lambda _payloads: None
    on_lost: Callable[[str, int], None] = lambda _reason, _payloads: None
    buffer_rows: int = BUFFER_ROWS
    buffer_bytes: int = BUFFER_BYTES
    flush_seconds: float = FLUSH_SECONDS
    boot: str = field(default_factory=lambda: uuid4().hex)
    produced: int = 0
    lost: int = 0
    lost_copies: int = 0
    """Of those: payloads that stand for no answer to a user, of mirrored requests and of rows beside the first."""
    _buffer: deque[Part | WaitingRows] = field(default_factory=deque)
    _waiting: WaitingRows | None = None
    """The last of the buffer, if it may take another row."""
    _batch: list[Part] = field(default_factory=list)
    """Being sent; also counts as buffered."""
    _rows: int = 0
    """Of the buffer, without the batch."""
    _bytes: int = 0
    """Of the buffer, without the batch."""
    _sending: int = 0
    """Rows of the batch."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _full: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    """The collector has said something."""
    _draining: int = 0
    """Who waits for the buffer to be empty."""
    _stopping: bool = False
    _told: tuple[int, int] = (0, 0)
    """The counters that the collector last acknowledged."""
    _task: asyncio.Task[None] | None = None
    _token: str | None = None
    """None: to be read from its file."""
    _inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._system = self.source.split("/")[2]
        self._writer = BlockWriter(self.boot, self._system, self.version)
        self._much = min(BATCH_BYTES, self.buffer_bytes)

    def expect(self, inputs: Sequence[str], id_column: str | None) -> None:
        """Rows have these columns and no others; `id_column` holds the case. None: they have no ids."""
        self._inputs = tuple(inputs)
        self._writer.expect(inputs, id_column)

    def add(
        self,
        call: Call,
        status: int,
        seconds: float,
        wall: float,
        rows: Sequence[Mapping[str, Any]],
        outputs: Sequence[Outputs | None],
    ) -> None:
        """Number the rows of an answered request and buffer them; never blocks, never raises.

        Drops the oldest when the buffer is full. No rows: the request was refused. No outputs: it failed; None of a
        row: its answer was no sound one. `seconds` it took; `wall`: seconds since the epoch.
        """
        if len(rows) > 1:
            self._add_many(call, status, seconds, wall, rows, outputs)
            return
        # One row is what nearly every request has: here each call and attribute counts.
        self.produced = number = self.produced + 1
        self.on_produced(1)
        row, said = rows[0] if rows else None, outputs[0] if outputs else None
        self._add_row(call, status, seconds, wall, number, 0, row, said, said is None and len(outputs) > 0)

    def _add_row(
        self,
        call: Call,
        status: int,
        seconds: float,
        wall: float,
        number: int,
        place: int,
        row: Mapping[str, Any] | None,
        outputs: Outputs | None,
        nonfinite: bool,
    ) -> None:
        if self._rows + self._sending >= self.buffer_rows and not self._has_room(1):
            self._lose_unwritten("overflow", call, place, 1)
            return
        last = self._waiting
        before = 0 if last is None else last.size
        try:
            waiting = self._writer.add(
                last, call, status, seconds, wall, number, place, row, outputs, nonfinite
            )
        except (TypeError, ValueError):
            # A value that JSON can't hold must cost its own payload, not the log.
            self._lose_unwritten("rejected", call, place, 1)
            return
        if waiting is not last:
            self._waiting = waiting
            self._buffer.append(waiting)
            before = 0
        self._count(1, waiting.size - before)

    def _add_many(
        self,
        call: Call,
        status: int,
        seconds: float,
        wall: float,
        rows: Sequence[Mapping[str, Any]],
        outputs: Sequence[Outputs | None],
    ) -> None:
        if outputs and None not in outputs:
            columns = columns_of(rows, self._inputs)
            self.add_columns(call, status, seconds, wall, columns, outputs)  # type: ignore[arg-type]
            return
        first = self._numbered(len(rows))
        for place, row in enumerate(rows):
            said = outputs[place] if outputs else None
            is_unsound = said is None and len(outputs) > 0
            self._add_row(call, status, seconds, wall, first + place, place, row, said, is_unsound)

    def add_columns(
        self,
        call: Call,
        status: int,
        seconds: float,
        wall: float,
        columns: Columns,
        outputs: Sequence[Outputs],
    ) -> None:
        """The same for rows of one request, as columns, that were all answered soundly."""
        first = self._numbered(len(outputs))
        self._add_columns(call, status, seconds, wall, first, 0, columns, outputs)

    def _add_columns(
        self,
        call: Call,
        status: int,
        seconds: float,
        wall: float,
        first: int,
        place: int,
        columns: Columns,
        outputs: Sequence[Outputs],
    ) -> None:
        count = len(outputs)
        if not self._has_room(count):
            self._lose_unwritten("overflow", call, place, count)
            return
        try:
            part = self._writer.rows(call, status, seconds, wall, first, place, columns, outputs)
            if part.size <= BATCH_BYTES or count == 1:
                self._waiting = None
                self._buffer.append(part)
                self._count(count, part.size)
                return
        except (TypeError, ValueError):
            if count == 1:
                self._lose_unwritten("rejected", call, place, 1)
                return
        # What is too large, or bad, is one of its halves.
        half = count // 2
        for begin, end in ((0, half), (half, count)):
            some = {name: values[begin:end] for name, values in columns.items()}
            self._add_columns(
                call, status, seconds, wall, first + begin, place + begin, some, outputs[begin:end]
            )

    def _numbered(self, count: int) -> int:
        """The number of the first of so many payloads."""
        self.produced += count
        self.on_produced(count)
        return self.produced - count + 1

    def _has_room(self, count: int) -> bool:
        """Make room by dropping the oldest, where that helps."""
        while self._buffer and self._rows + self._sending + count > self.buffer_rows:
            self._drop_oldest()
        return self._rows + self._sending + count <= self.buffer_rows

    def _count(self, rows: int, size: int) -> None:
        """So much was added to the buffer."""
        self._rows = all_rows = self._rows + rows
        self._bytes = all_bytes = self._bytes + size
        if all_rows == rows:
            self._wake.set()
        if all_rows >= BATCH_ROWS or all_bytes >= self._much:
            self._full.set()
            while self._bytes > self.buffer_bytes and self._has_older():
                self._drop_oldest()

    def _has_older(self) -> bool:
        """Whether something would be left without the oldest."""
        return len(self._buffer) > 1 or (
            isinstance(self._buffer[0], WaitingRows) and self._buffer[0].rows > 1
        )

    def _drop_oldest(self) -> None:
        """Lose the oldest row, or the oldest block where it is written."""
        oldest = self._buffer[0]
        if isinstance(oldest, WaitingRows):
            rows = 1
            copies, size = oldest.drop_oldest()
        else:
            rows, copies, size = oldest.rows, oldest.copies, oldest.size
        self._rows -= rows
        self._bytes -= size
        self._count_lost("overflow", rows, copies)
        if not isinstance(oldest, WaitingRows) or not oldest.rows:
            self._buffer.popleft()
            if oldest is self._waiting:
                self._waiting = None

    def _take_oldest(self) -> Part | WaitingRows:
        oldest = self._buffer.popleft()
        if oldest is self._waiting:
            self._waiting = None
        self._rows -= oldest.rows
        self._bytes -= oldest.size
        return oldest

    def _next_batch(self) -> list[Part]:
        """The oldest payloads, as many as one request may hold."""
        batch: list[Part] = []
        rows = size = written = 0
        while self._buffer:
            oldest = self._buffer[0]
            if isinstance(oldest, WaitingRows):
                if batch and written + oldest.rows > BLOCK_ROWS:
                    break
                written += oldest.rows
                self._write_oldest()
                continue
            if batch and (rows + oldest.rows > BATCH_ROWS or size + oldest.size > BATCH_BYTES):
                break
            self._take_oldest()
            batch.append(oldest)
            rows += oldest.rows
            size += oldest.size
        self._sending = rows
        return batch

    def _write_oldest(self) -> None:
        """Put blocks in the place of rows that wait."""
        waiting = self._take_oldest()
        assert isinstance(waiting, WaitingRows)
        parts, bad = waiting.written()
        for copy in bad:
            self._count_lost("rejected", 1, copy)
        for part in reversed(parts):
            self._buffer.appendleft(part)
            self._rows += part.rows
            self._bytes += part.size

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="payload-log")

    async def drain(self, timeout_seconds: float = POST_TIMEOUT_SECONDS) -> bool:
        """Send what is buffered without waiting for a batch to fill; whether the collector has acknowledged it all."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        # What was told may run ahead of what was sent: the counters of a batch include what is still buffered.
        while self._buffer or self._batch or self._told != (self.produced, self.lost):
            left = deadline - loop.time()
            if left <= 0:
                return False
            self._draining += 1
            self._full.set()
            self._heard.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), left)
            self._draining -= 1
        return True

    async def stop(self) -> None:
        """Send what is buffered, for `flush_seconds` at most; count the rest as lost; say the last word, if heard."""
        if self._task is None:
            return
        self._stopping = True
        self._wake.set()
        self._full.set()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(self._task, self.flush_seconds)
        self._task = None
        if left := [*self._batch, *self._buffer]:
            self._buffer.clear()
            self._waiting = None
            self._rows = self._bytes = 0
            self._sent()
            self._lose("shutdown", left)
        with contextlib.suppress(Exception):
            async with self._session() as session:
                await asyncio.wait_for(self._post(session, b"[]", ended=True), 1.0)

    def _lose(self, reason: str, parts: Iterable[Part | WaitingRows]) -> None:
        rows = copies = 0
        for part in parts:
            rows += part.rows
            copies += part.copies
        self._count_lost(reason, rows, copies)

    def _lose_unwritten(self, reason: str, call: Call, place: int, count: int) -> None:
        self._count_lost(reason, count, count if call.role == COPY else count - (place == 0))
        self._wake.set()

    def _count_lost(self, reason: str, rows: int, copies: int) -> None:
        self.lost += rows
        self.lost_copies += copies
        self.on_lost(reason, rows)

    def _sent(self) -> None:
        self._batch, self._sending = [], 0
        self._heard.set()

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=POST_TIMEOUT_SECONDS))

    async def _run(self) -> None:
        async with self._session() as session:
            await self._deliver(session)  # the first word: this boot exists
            while True:
                if not self._buffer and self._told == (self.produced, self.lost):
                    if self._stopping:
                        return
                    await self._wait()
                if (
                    not self._stopping
                    and not self._draining
                    and self._rows < BATCH_ROWS
                    and self._bytes < BATCH_BYTES
                ):
                    await self._fill()
                self._batch = self._next_batch()
                await self._deliver(session)

    async def _wait(self) -> None:
        """Until there is something to send; a word now and then tells that nothing was left unsent."""
        timer = asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        self._wake.clear()

    async def _fill(self) -> None:
        """Wait until a batch is full or its time is over; `wait_for` would cost a task each time."""
        self._full.clear()
        timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._full.set)
        await self._full.wait()
        timer.cancel()

    async def _deliver(self, session: aiohttp.ClientSession) -> None:
        """Retry until the batch is acknowledged or refused for good."""
        body = body_of(self._batch)
        delay = FIRST_RETRY_SECONDS
        while True:
            counters = (self.produced, self.lost)
            status = await self._post(session, body)
            if status == 200:
                self._told = counters
                self._sent()
                return
            if status in NEVER_ACCEPTED:
                refused = self._batch
                self._sent()
                if refused:
                    self._lose("rejected", refused)
                else:
                    self._told = counters
                    self._heard.set()
                return
            await self._pause(delay)
            delay = min(delay * 2, LAST_RETRY_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Between two attempts; short while stopping, where the whole time is short."""
        if self._stopping:
            await asyncio.sleep(min(seconds, FIRST_RETRY_SECONDS))
            return
        step = 0.25
        while seconds > 0 and not self._stopping:
            await asyncio.sleep(min(seconds, step))
            seconds -= step

    async def _post(self, session: aiohttp.ClientSession, body: bytes, *, ended: bool = False) -> int:
        """The status, or 0 if there was none."""
        headers = {
            "content-type": MEDIA_TYPE,
            "x-capstan-boot": self.boot,
            "x-capstan-system": self._system,
            "x-capstan-version": self.version,
            "x-capstan-produced": str(self.produced),
            "x-capstan-lost": str(self.lost),
            "x-capstan-lost-copies": str(self.lost_copies),
        }
        if ended:
            headers["x-capstan-ended"] = "true"
        try:
            if self.token_file is not None:
                self._token = self._token or self.token_file.read_text().strip()
                headers["authorization"] = f"Bearer {self._token}"
            async with session.post(f"{self.collector_url}/payloads", data=body, headers=headers) as response:
                await response.read()
                if response.status == 401:
                    # Another token may have been written since.
                    self._token = None
                return response.status
        except (TimeoutError, aiohttp.ClientError, OSError):
            return 0
