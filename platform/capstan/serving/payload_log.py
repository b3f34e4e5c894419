"""Sends every answered row to the collector, beside the requests and never in their way.

A bounded buffer takes records; one task sends them in batches and retries until they are acknowledged. When the
collector stays away the oldest are dropped. Each record has a number, so that what is missing downstream is either
counted as lost here or provably a bug.

A record becomes bytes when it is added, while the processor's caches still hold its row: hundreds at once, 100 ms
later, cost three times as much, hold up the requests that come meanwhile, and take more memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import aiohttp
import orjson

from capstan.domain.payload_limits import LARGEST_BATCH

MEDIA_TYPE = "application/cloudevents-batch+json"
BUFFER_RECORDS = 20_000
BUFFER_BYTES = 64 * 2**20
BATCH_RECORDS = 500
BATCH_BYTES = LARGEST_BATCH // 2
"""Rows of thousands of columns fill a batch long before its records do."""
BATCH_SECONDS = 0.1
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
POST_TIMEOUT_SECONDS = 5.0
FLUSH_SECONDS = 5.0
HEARTBEAT_SECONDS = 30.0
"""An idle producer speaks so often, so that one that was killed is told from one that has nothing to say."""
_COPY = "shadow"
_COPY_FIELD = b',"role":"shadow",'
_FIRST_ROW = b',"row":0,'
_NEVER_ACCEPTED = frozenset({400, 409, 413, 415, 422})
"""Answers that sending the same bytes again cannot change."""


class PayloadRecord(NamedTuple):
    """One row of one answered request."""

    request_id: str
    role: str
    attempt: int
    row: int
    wall: float
    """Seconds since the epoch."""
    event_time: str | None
    """RFC 3339; None: the wall time."""
    arm: str | None
    """Version that the request was assigned to; None: to none."""
    unit: str | None
    """Key by which it sticks to its arm; None: it has none."""
    entity_id: str | None
    status: int
    latency_seconds: float
    outputs: Mapping[str, object] | None
    """None: no answer, or one that no user may get."""
    nonfinite: bool
    """Whether the model's answer was no sound one."""
    inputs: Mapping[str, object]
    error: Mapping[str, object] | None


@dataclass
class PayloadLog:
    """Call `start` and `stop` on the event loop that calls `add`."""

    collector_url: str
    source: str
    """CloudEvents source, `/capstan/<system>/<version>`."""
    version: str
    token_file: Path | None
    on_produced: Callable[[], None] = lambda: None
    on_lost: Callable[[str, int], None] = lambda _reason, _records: None
    buffer_records: int = BUFFER_RECORDS
    buffer_bytes: int = BUFFER_BYTES
    flush_seconds: float = FLUSH_SECONDS
    boot: str = field(default_factory=lambda: uuid4().hex)
    produced: int = 0
    lost: int = 0
    lost_copies: int = 0
    """Of those: payloads that stand for no answer to a user, of mirrored requests and of rows beside the first."""
    _buffer: deque[bytes] = field(default_factory=deque)
    _batch: list[bytes] = field(default_factory=list)
    """Being sent; also counts as buffered."""
    _bytes: int = 0
    """Of the buffer, without the batch."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _full: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False
    _told: tuple[int, int] = (0, 0)
    """The counters that the collector last acknowledged."""
    _task: asyncio.Task[None] | None = None
    _token: str | None = None
    """None: to be read from its file."""

    def __post_init__(self) -> None:
        self._system = self.source.split("/")[2]
        self._writer = _EventWriter(self.boot, self.source, self.version)

    def add(self, record: PayloadRecord) -> None:
        """Number the record and buffer it; drops the oldest when the buffer is full. Never blocks, never raises."""
        self.produced += 1
        self.on_produced()
        buffer = self._buffer
        if len(buffer) + len(self._batch) >= self.buffer_records:
            if buffer:
                self._lose("overflow", [self._oldest()])
            else:
                self._lose_unwritten("overflow", record)
                return
        try:
            event = self._writer.write(self.produced, record)
        except (TypeError, ValueError):
            # A value that JSON can't hold must cost its own record, not the log.
            self._lose_unwritten("rejected", record)
            return
        buffer.append(event)
        self._bytes += len(event)
        while self._bytes > self.buffer_bytes and len(buffer) > 1:
            self._lose("overflow", [self._oldest()])
        if len(buffer) == 1:
            self._wake.set()
        elif len(buffer) >= BATCH_RECORDS or self._bytes >= BATCH_BYTES:
            self._full.set()

    def _oldest(self) -> bytes:
        event = self._buffer.popleft()
        self._bytes -= len(event)
        return event

    def _next_batch(self) -> list[bytes]:
        """The oldest records, as many as one request may hold."""
        batch: list[bytes] = []
        size = 0
        buffer = self._buffer
        while buffer and len(batch) < BATCH_RECORDS and (not batch or size + len(buffer[0]) <= BATCH_BYTES):
            batch.append(self._oldest())
            size += len(batch[-1])
        return batch

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="payload-log")

    async def drain(self, timeout_seconds: float = POST_TIMEOUT_SECONDS) -> bool:
        """Send what is buffered without waiting for a batch to fill; whether the collector has acknowledged it all."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        # What was told may run ahead of what was sent: the counters of a batch include what is still buffered.
        while self._buffer or self._batch or self._told != (self.produced, self.lost):
            if asyncio.get_running_loop().time() > deadline:
                return False
            self._full.set()
            await asyncio.sleep(0.002)
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
            self._bytes = 0
            self._batch = []
            self._lose("shutdown", left)
        with contextlib.suppress(Exception):
            async with self._session() as session:
                await asyncio.wait_for(self._post(session, b"[]", ended=True), 1.0)

    def _lose(self, reason: str, events: Sequence[bytes]) -> None:
        self.lost += len(events)
        self.lost_copies += sum(map(_stands_for_no_answer, events))
        self.on_lost(reason, len(events))

    def _lose_unwritten(self, reason: str, record: PayloadRecord) -> None:
        self.lost += 1
        self.lost_copies += record.role == _COPY or record.row > 0
        self.on_lost(reason, 1)
        self._wake.set()

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
                if not self._stopping and len(self._buffer) < BATCH_RECORDS and self._bytes < BATCH_BYTES:
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
        body = b"[%b]" % b",".join(self._batch)
        delay = FIRST_RETRY_SECONDS
        while True:
            counters = (self.produced, self.lost)
            status = await self._post(session, body)
            if status == 200:
                self._told = counters
                self._batch = []
                return
            if status in _NEVER_ACCEPTED:
                refused, self._batch = self._batch, []
                if refused:
                    self._lose("rejected", refused)
                else:
                    self._told = counters
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


def _stands_for_no_answer(event: bytes) -> bool:
    """Of the bytes of an event; a column may be named `role` too, but outputs and inputs come last."""
    end = event.find(b',"outputs":')
    return event.find(_COPY_FIELD, 0, end) >= 0 or event.find(_FIRST_ROW, 0, end) < 0


class _EventWriter:
    """Makes the bytes of CloudEvents whose constant parts are written once."""

    def __init__(self, boot: str, source: str, version: str) -> None:
        constant = {
            "specversion": "1.0",
            "source": source,
            "type": "dev.capstan.prediction",
            "datacontenttype": "application/json",
            "id": f"{boot}-",
        }
        # Up to the open quote of the id, which ends with the sequence number.
        self._head = orjson.dumps(constant).removesuffix(b'"}')
        self._version = version
        self._seconds = float("nan")
        self._wall = datetime.fromtimestamp(0, UTC)

    def write(self, sequence: int, record: PayloadRecord) -> bytes:
        """Raises TypeError or ValueError for what JSON can't hold."""
        if record.wall != self._seconds:
            self._seconds, self._wall = record.wall, datetime.fromtimestamp(record.wall, UTC)
        data: dict[str, object] = {
            "request_id": record.request_id,
            "version": self._version,
            "role": record.role,
            "attempt": record.attempt,
            "row": record.row,
            "event_time": record.event_time or self._wall,
            "arm": record.arm,
            "unit": record.unit,
            "entity_id": record.entity_id,
            "status": record.status,
            "latency_seconds": record.latency_seconds,
            "nonfinite": record.nonfinite,
            "outputs": record.outputs,
            "inputs": record.inputs,
        }
        if record.error is not None:
            data["error"] = record.error
        own = orjson.dumps({"time": self._wall, "data": data})
        return b'%b%d",%b' % (self._head, sequence, own[1:])
