"""Rows of a batch as the monitor sees them: payloads of the role `batch`, beside those of requests.

A row has the same number whenever its file is made of the same rows by the same model, so the collector stores it once,
however often a batch is stopped and goes on. Predictions never wait for the monitor: what the collector does not take
is counted and told.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from capstan.domain.batches import PartitionInputs
from capstan.domain.versions import SystemName, VersionName
from capstan.embedded.batch.answering import Answered
from capstan.outages import answer_in_words, in_words
from capstan.serving.payload_blocks import BATCH_BYTES, BATCH_ROWS, BlockWriter, Part, WaitingRows, body_of
from capstan.serving.payload_log import MEDIA_TYPE, NEVER_ACCEPTED
from capstan.serving.requests import Call
from capstan.serving.schema import Row
from capstan.tasks.task import Outputs

MOST_ROWS = 100_000
"""Rows of a batch that the monitor is shown; of more, every second one, every third one, ..."""
ROLE = "batch"
PART = "the collector"
_TRIES = 4
_FIRST_PAUSE_SECONDS = 0.5
_NO_JSON = "a row cannot be written as JSON"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class WatchedRows:
    """Hands the rows of one batch to the collector at `address`."""

    address: str
    token_file: Path
    system: SystemName
    version: VersionName
    id_column: str
    group_column: str | None = None
    """In a task of groups: rows of one group are one request, as they are where users ask; None: each row is alone."""
    clock: Callable[[], datetime] = now
    """Tells when rows are predicted: the windows that have them are those of this moment."""
    pause: Callable[[float], None] = time.sleep
    told: int = 0
    lost: int = 0
    why_lost: str = ""
    """The first reason."""
    _is_away: bool = False
    """Whether the collector did not answer: whoever does not four times is not asked for each of a million rows."""
    _every: int = 1
    _seen: int = 0
    """Requests of the partition so far."""
    _asked: int = 0
    """Those of them that were shown."""
    _number: int = 0
    """Of its last row that was shown."""
    _writer: BlockWriter | None = None
    _inputs: tuple[str, ...] = ()
    _name: str = ""
    _client: httpx.Client | None = None

    def begin(self, partition: str, inputs: PartitionInputs, rows: int) -> None:
        """The next rows are of this partition; `rows` has the whole batch."""
        self._every = max(1, -(-rows // MOST_ROWS))
        content = "\n".join([partition, *map(str, astuple(inputs))])
        self._name = f"{ROLE}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
        self._writer = BlockWriter(self._name, self.system, self.version)
        self._seen = self._asked = self._number = 0
        self._inputs = ()

    def wanted(self, requests: int) -> list[int]:
        """Places of those that are shown of the next so many requests."""
        found = [at for at in range(requests) if (self._seen + at + 1) % self._every == 0]
        self._seen += requests
        return found

    def show(self, requests: Iterable[Sequence[Answered]]) -> None:
        """The rows of each request that is wanted, in order."""
        assert self._writer is not None
        waiting: list[WaitingRows] = []
        # Now, not when the batch began: its last rows would be hours late, and their window decided.
        moment = self.clock().timestamp()
        for request in requests:
            self._asked += 1
            asked = self._asked
            for place, ((row, read), answer) in enumerate(request):
                self._number += 1
                named = (self._name, asked) if self.group_column is None else (f"{self._name}-{asked}", place)
                last = waiting[-1] if waiting else None
                try:
                    found = self._kept(self._writer, last, *named, row, read, answer, moment)
                except (TypeError, ValueError) as error:
                    self._lose(1, f"{_NO_JSON}: {error}")
                    continue
                if found is not last:
                    waiting.append(found)
        parts: list[Part] = []
        for one in waiting:
            written, bad = one.written()
            parts += written
            self._lose(len(bad), _NO_JSON)
        for some in _batches(parts):
            self._send(body_of(some), sum(part.rows for part in some))

    def _kept(
        self,
        writer: BlockWriter,
        waiting: WaitingRows | None,
        request_id: str,
        place: int,
        row: Row,
        read: Row,
        answer: Outputs,
        moment: float,
    ) -> WaitingRows:
        if self._inputs != tuple(read):
            self._inputs = tuple(read)
            writer.expect(self._inputs, self.id_column)
        call = Call(0.0, role=ROLE, request_id=request_id)
        told = {**read, self.id_column: row.get(self.id_column)}
        return writer.add(waiting, call, 200, None, moment, self._number, place, told, answer)

    def _send(self, body: bytes, count: int) -> None:
        why = self.why_lost
        for attempt in range(0 if self._is_away else _TRIES):
            if attempt:
                self.pause(_FIRST_PAUSE_SECONDS * 2**attempt)
            taken, why = self._post(body, count)
            if taken is not None:
                self.told += taken
                self._lose(count - taken, why)
                return
        self._is_away = True
        self._lose(count, why)

    def _lose(self, rows: int, why: str) -> None:
        if rows:
            self.lost += rows
            self.why_lost = self.why_lost or why

    def _post(self, body: bytes, count: int) -> tuple[int | None, str]:
        """How many rows are stored, and why the others are not; None: trying again may help."""
        try:
            if self._client is None:
                token = self.token_file.read_text().strip()
                headers = {"content-type": MEDIA_TYPE, "authorization": f"Bearer {token}"}
                self._client = httpx.Client(timeout=30.0, trust_env=False, headers=headers)
            answer = self._client.post(f"{self.address}/payloads", content=body)
        except OSError as error:
            return None, str(error)
        except httpx.HTTPError as error:
            return None, in_words(error, PART)
        if answer.status_code != httpx.codes.OK:
            taken = 0 if answer.status_code in NEVER_ACCEPTED else None
            return taken, answer_in_words(answer.status_code, answer.text, PART)
        told = answer.json()
        refused = [f"{one['field']}: {one['rule']}" for one in told.get("refused", ())]
        return min(count, told["accepted"] + told["duplicates"]), refused[0] if refused else ""


def _batches(parts: Sequence[Part]) -> list[list[Part]]:
    """As many as one body may hold in each."""
    found: list[list[Part]] = []
    rows = size = 0
    for part in parts:
        if not found or rows + part.rows > BATCH_ROWS or size + part.size > BATCH_BYTES:
            found.append([])
            rows = size = 0
        found[-1].append(part)
        rows += part.rows
        size += part.size
    return found
