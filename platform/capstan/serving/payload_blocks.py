"""The bytes of blocks of payloads, as `recording/blocks.py` reads them.

A row becomes bytes when it is answered, while the processor's caches still hold it: hundreds at once, 100 ms later,
cost three times as much, hold up the requests that come meanwhile, and take more memory. Names of columns are written
once for all rows of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson

from capstan.serving.requests import Call

COPY = "shadow"
_NAMES = (
    "row", "request_id", "role", "attempt", "event_time", "arm", "unit", "entity_id", "status", "latency_seconds",
    "nonfinite",
)  # fmt: skip
_MOST_HEADS = 100
_BLOCK_BYTES = 40
"""What a block has besides its names and values."""


Part = tuple[bytes, int, int, int, bytes, bool]
"""Payloads of one request, written: how a block of its layout begins, the number of its first payload, how many they
are, how many of them stand for no answer to a user (of mirrored requests, and of rows beside the first), the bytes, and
whether it is one row, which may follow others in their block.

A plain tuple of plain values, which the garbage collector does not look at while it waits in the buffer.
"""


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
        self._heads: dict[tuple[str, ...], bytes] = {}
        self._layout: tuple[bool, tuple[str, ...]] | None = None
        self._head = b""

    def row(
        self,
        call: Call,
        status: int,
        seconds: float | None,
        wall: float,
        number: int,
        place: int,
        row: Mapping[str, Any] | None,
        outputs: Mapping[str, Any] | None,
        nonfinite: bool = False,
    ) -> Part:
        """One row, by its place in the request; raises TypeError or ValueError for what JSON can't hold.

        None: `seconds` where nobody waited, `row` of a request that was refused, `outputs` where no user may get the
        answer.
        """
        told = () if outputs is None else tuple(outputs)
        if self._layout != (row is not None, told):
            self._layout = (row is not None, told)
            self._head = self._begun(_NAMES, told, () if row is None else self._inputs)
        entity: str | None = None
        values: Sequence[Any] = ()
        if row is not None:
            entity = self._entity(row)
            try:
                values = self._values(row) if self._values is not None else self._some(row)
            except KeyError:
                values = self._some(row)
        body = orjson.dumps(
            (
                place, call.request_id, call.role, call.attempt, call.event_time or wall, call.arm, call.unit, entity,
                status, seconds, nonfinite, *(() if outputs is None else outputs.values()), *values,
            )
        )  # fmt: skip
        copies = 1 if place or call.role == COPY else 0
        return self._head, number, 1, copies, body, True

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
        """Rows of one request that were answered soundly, as columns, from a place on; raises as `row` does."""
        count, told = len(outputs), tuple(outputs[0])
        if {*map(len, outputs)} != {len(told)}:
            raise ValueError("answers of one request have different columns")
        inputs = [name for name in self._inputs if name in columns]
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
        return self._begun(own, told, inputs), number, count, copies, body, False

    def _entity(self, row: Mapping[str, Any]) -> str | None:
        found = None if self._id_column is None else row.get(self._id_column)
        return None if found is None else str(found)

    def _some(self, row: Mapping[str, Any]) -> Sequence[Any]:
        """The values of a row that lacks columns."""
        return [row.get(name) for name in self._inputs]

    def _begun(self, own: Iterable[str], outputs: Iterable[str], inputs: Iterable[str]) -> bytes:
        """The same object for the same names."""
        names = (*own, *(f"output.{name}" for name in outputs), *(f"input.{name}" for name in inputs))
        if names not in self._heads:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[names] = orjson.dumps({**self._producer, "names": names}).removesuffix(b"}")
        return self._heads[names]


def with_lengths(parts: Iterable[Part]) -> Iterator[tuple[Part, int]]:
    """Each part with the bytes that it adds to a body: names of columns may be more than the values."""
    head, following = b"", -1
    for part in parts:
        begun, first, rows, _, body, joins = part
        if joins and begun is head and first == following:
            yield part, len(body) + 1
        else:
            yield part, len(begun) + len(body) + _BLOCK_BYTES
            head = begun if joins else b""
        following = first + rows


def body_of(parts: Iterable[Part]) -> bytes:
    """What is sent: rows that follow each other are one block, a request of many rows is one of its own."""
    pieces: list[bytes] = []
    head, following, closing = b"", -1, b""
    for begun, first, rows, _, body, joins in parts:
        if joins and begun is head and first == following:
            pieces += (b",", body)
        else:
            pieces += (closing, b"," if pieces else b"", begun, b',"first":%d,' % first)
            pieces += (b'"rows":[', body) if joins else (body,)
            head, closing = (begun, b"]}") if joins else (b"", b"")
        following = first + rows
    return b"[%b%b]" % (b"".join(pieces), closing)
