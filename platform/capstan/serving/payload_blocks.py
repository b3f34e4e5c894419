"""The bytes of blocks of payloads, as `recording/blocks.py` reads them.

Of a request of one row the service keeps what lies there anyway: the bytes of its inputs, as the client sent them where
the model reads them letter by letter, and what is told of it, in one list for many requests. They become a block when
they are sent: its columns are written at once, its inputs copied once. Inputs that were not sent so are written when
they are answered, while the processor's caches still hold them. Names of columns are written once for all rows of a
block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from capstan.domain.payload_limits import LARGEST_BATCH
from capstan.serving.requests import Call

COPY = "shadow"
BATCH_ROWS = 10_000
"""Rows that are sent at once; the collector takes no more.

Each batch waits for its turn while the collector is busy, so few large ones come through where many small ones do not.
"""
BLOCK_ROWS = 2000
"""Rows of single requests that are written at once: it takes two milliseconds, in which nobody is answered."""
BATCH_BYTES = LARGEST_BATCH // 2
"""Rows of thousands of columns fill a batch long before there are so many."""
_OWN = (
    "request_id", "row", "role", "attempt", "event_time", "arm", "unit", "entity_id", "status", "latency_seconds",
    "nonfinite",
)  # fmt: skip
_ROW, _ROLE = _OWN.index("row"), _OWN.index("role")
_MOST_HEADS = 100
_ROW_BYTES = 300
"""What a row takes while it waits, besides its inputs: ids, times, numbers, and its places in lists."""
_OUTPUT_BYTES = 32
"""What each of its outputs takes: a number, and its place in the list."""


class Part(NamedTuple):
    """A block, written.

    A tuple of plain values, which the garbage collector does not look at while it waits in the buffer.
    """

    first: int
    """The number of its first payload."""
    rows: int
    copies: int
    """How many of them stand for no answer to a user: of mirrored requests, and of rows beside the first."""
    body: bytes

    @property
    def size(self) -> int:
        return len(self.body)


class WaitingRows:
    """Payloads that are numbered one after the other and have the same columns, until they are written."""

    __slots__ = (
        "_dropped",
        "_inputs",
        "_row_bytes",
        "_told",
        "first",
        "following",
        "has_inputs",
        "head",
        "outputs",
        "size",
    )

    def __init__(self, head: Head, first: int, outputs: tuple[str, ...], *, has_inputs: bool) -> None:
        self.head = head
        self.first = self.following = first
        """`following`: the number of the payload that may come next."""
        self.outputs = outputs
        self.has_inputs = has_inputs
        self.size = 0
        """Bytes that they take."""
        self._row_bytes = _ROW_BYTES + _OUTPUT_BYTES * len(outputs)
        self._told: list[Any] = []
        """Of all rows, one after the other, the values of `_OWN` and the outputs."""
        self._inputs: list[bytes] = []
        self._dropped = 0

    @property
    def rows(self) -> int:
        return len(self._inputs) - self._dropped

    @property
    def copies(self) -> int:
        begin, width = self._dropped, self._width
        places, roles = self._told[begin * width + _ROW :: width], self._told[begin * width + _ROLE :: width]
        return _copies(places, roles)

    @property
    def _width(self) -> int:
        return len(_OWN) + len(self.outputs)

    def add(self, told: Iterable[Any], inputs: bytes) -> None:
        """One row: the values of `_OWN` and its outputs, and its inputs as JSON."""
        self._told += told
        self._inputs.append(inputs)
        self.following += 1
        self.size += len(inputs) + self._row_bytes

    def drop_oldest(self) -> tuple[int, int]:
        """Forget the first row; returns 1 for a copy, else 0, and the bytes that it took."""
        at = self._dropped
        size = len(self._inputs[at]) + self._row_bytes
        begin = at * self._width
        self._inputs[at] = b""
        self._dropped = at + 1
        self.size -= size
        return _copies(
            self._told[begin + _ROW : begin + _ROW + 1], self._told[begin + _ROLE : begin + _ROLE + 1]
        ), size

    def written(self) -> tuple[list[Part], list[int]]:
        """As blocks that a batch has room for; and of each row that JSON can't hold: 1 for a copy, else 0."""
        parts: list[Part] = []
        bad: list[int] = []
        self._write(self._dropped, len(self._inputs), parts, bad)
        return parts, bad

    def _write(self, begin: int, end: int, parts: list[Part], bad: list[int]) -> None:
        if begin == end:
            return
        width = self._width
        told = self._told[begin * width : end * width]
        columns = {name: told[at::width] for at, name in enumerate(_OWN)}
        said = [told[len(_OWN) + at :: width] for at in range(len(self.outputs))]
        copies = _copies(columns["row"], columns["role"])
        # Each block has the ids as a column, by which its rows are counted.
        same = {name: found[0] for name, found in columns.items() if name != "request_id" and _is_one(found)}
        own = {name: found for name, found in columns.items() if name not in same}
        try:
            values = orjson.dumps({"same": same, "columns": [*own.values(), *said]})
        except (TypeError, ValueError):
            if end - begin == 1:
                bad.append(copies)
                return
        else:
            head = self.head.of((*own,), self.outputs, has_inputs=self.has_inputs)
            rows = (b',"rows":[', b",".join(self._inputs[begin:end]), b"]") if self.has_inputs else ()
            body = b"".join((head, b',"first":%d,' % (self.first + begin), values[1:-1], *rows, b"}"))
            if len(body) <= BATCH_BYTES or end - begin == 1:
                parts.append(Part(self.first + begin, end - begin, copies, body))
                return
        # What is too large, or bad, is in one of its halves.
        half = (begin + end) // 2
        self._write(begin, half, parts, bad)
        self._write(half, end, parts, bad)


class Head:
    """How blocks of one producer begin; the same bytes for the same names."""

    def __init__(self, producer: Mapping[str, str], inputs: Sequence[str]) -> None:
        self._producer, self._inputs = producer, tuple(inputs)
        self._known: dict[tuple[object, ...], bytes] = {}

    def of(self, own: tuple[str, ...], outputs: tuple[str, ...], *, has_inputs: bool) -> bytes:
        """With these columns, then the outputs, then all inputs."""
        return self.with_inputs(own, outputs, self._inputs if has_inputs else ())

    def with_inputs(self, own: tuple[str, ...], outputs: tuple[str, ...], inputs: tuple[str, ...]) -> bytes:
        key = (own, outputs, inputs)
        if key not in self._known:
            if len(self._known) >= _MOST_HEADS:
                self._known.clear()
            names = [*own, *(f"output.{name}" for name in outputs), *(f"input.{name}" for name in inputs)]
            self._known[key] = orjson.dumps({**self._producer, "names": names}).removesuffix(b"}")
        return self._known[key]


class BlockWriter:
    """Writes payloads of one life of one version."""

    def __init__(self, boot: str, system: str, version: str) -> None:
        self._producer = {"boot": boot, "system": system, "version": version}
        self.expect((), None)

    def expect(self, inputs: Sequence[str], id_column: str | None) -> None:
        """Rows have these columns and no others; `id_column` holds the case. None: they have no ids."""
        self._inputs, self._id_column = tuple(inputs), id_column
        # Of one name it would give the bare value.
        self._values = itemgetter(*self._inputs) if len(self._inputs) > 1 else None
        self._head = Head(self._producer, self._inputs)

    def add(
        self,
        waiting: WaitingRows | None,
        call: Call,
        status: int,
        seconds: float | None,
        wall: float,
        number: int,
        place: int,
        row: Mapping[str, Any] | None,
        outputs: Mapping[str, Any] | None,
        nonfinite: bool = False,
    ) -> WaitingRows:
        """Keep one row, by its place in the request, with the rows that wait; others are begun where it can't follow.

        Raises TypeError or ValueError for inputs that JSON can't hold. None: `waiting` where no rows wait, `seconds`
        where nobody waited for the answer, `row` of a request that was refused, `outputs` where no user may get it.
        """
        entity: str | None = None
        inputs = b""
        if row is not None:
            if self._id_column is not None and (found := row.get(self._id_column)) is not None:
                entity = str(found)
            inputs = call.sent or self._written(row)
        told = (
            call.request_id, place, call.role, call.attempt, call.event_time or wall, call.arm, call.unit, entity,
            status, seconds, nonfinite,
        )  # fmt: skip
        names: tuple[str, ...] = ()
        if outputs is not None:
            names = tuple(outputs)
            told += tuple(outputs.values())
        if (
            waiting is None
            or waiting.outputs != names
            or waiting.has_inputs is (row is None)
            or waiting.following != number
            or waiting.following - waiting.first >= BLOCK_ROWS
            or waiting.size >= BATCH_BYTES
            or waiting.head is not self._head
        ):
            waiting = WaitingRows(self._head, number, names, has_inputs=row is not None)
        waiting.add(told, inputs)
        return waiting

    def rows(
        self,
        call: Call,
        status: int,
        seconds: float,
        wall: float,
        number: int,
        place: int,
        columns: Mapping[str, Sequence[Any]],
        outputs: Sequence[Mapping[str, Any]],
    ) -> Part:
        """Rows of one request that were answered soundly, as columns, from a place on.

        Raises TypeError or ValueError for what JSON can't hold.
        """
        count, told = len(outputs), tuple(outputs[0])
        if {*map(len, outputs)} != {len(told)}:
            raise ValueError("answers of one request have different columns")
        inputs = tuple(name for name in self._inputs if name in columns)
        same = {
            "request_id": call.request_id, "role": call.role, "attempt": call.attempt,
            "event_time": call.event_time or wall, "arm": call.arm, "unit": call.unit, "status": status,
            "latency_seconds": seconds, "nonfinite": False,
        }  # fmt: skip
        ids = columns.get(self._id_column) if self._id_column is not None else None
        own: dict[str, Sequence[Any]] = {"row": list(range(place, place + count))}
        own |= {} if ids is None else {"entity_id": [None if one is None else str(one) for one in ids]}
        said = [[one[name] for one in outputs] for name in told]
        block = {"same": same, "columns": [*own.values(), *said, *(columns[name] for name in inputs)]}
        body = orjson.dumps(block, option=orjson.OPT_SERIALIZE_NUMPY)[1:]
        copies = count if call.role == COPY else count - (place == 0)
        head = self._head.with_inputs((*own,), told, inputs)
        return Part(number, count, copies, b'%b,"first":%d,%b' % (head, number, body))

    def _written(self, row: Mapping[str, Any]) -> bytes:
        """The values of the row, in the order of the inputs; null where it lacks one."""
        if self._values is not None:
            try:
                return _kept(self._values(row))
            except KeyError:
                pass
        return _kept([row.get(name) for name in self._inputs])


def body_of(parts: Iterable[Part]) -> bytes:
    """What is sent."""
    return b"[%b]" % b",".join([part.body for part in parts])


def _kept(values: Sequence[Any]) -> bytes:
    """As JSON, in no more memory than it is long: what orjson gives keeps its whole buffer, which is 4 KiB."""
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)[:-1]


def _is_one(values: Sequence[Any]) -> bool:
    """Whether all values are the same."""
    return values.count(values[0]) == len(values)


def _copies(places: Sequence[int], roles: Sequence[str]) -> int:
    """How many rows stand for no answer to a user."""
    if COPY not in roles:
        return len(places) - places.count(0)
    return sum(place > 0 or role == COPY for place, role in zip(places, roles, strict=True))
