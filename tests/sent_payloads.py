"""Payloads as tests write them, one by one, and the body in which a producer would send them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

import orjson

from capstan.recording.blocks import Judged, Rows, accepted, blocks_of, judge, parse_blocks
from capstan.serving.payload_blocks import Part, WaitingRows, body_of
from capstan.serving.payload_log import PayloadLog


def blocks(payloads: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each payload has `id` ("<boot>-<sequence>"), `source` ("/capstan/<system>/<version>") and `data`."""
    told = []
    for place, payload in enumerate(payloads):
        boot, _, number = str(payload["id"]).rpartition("-")
        system, version = str(payload["source"]).split("/")[2:]
        told.append(((boot, system, version, int(number) - place), int(number), payload["data"]))
    found = []
    for (boot, system, version, _), group in groupby(told, lambda one: one[0]):
        numbered = list(group)
        found += blocks_of(system, version, boot, numbered[0][1], [data for _, _, data in numbered])
    return found


def taken(*payloads: Mapping[str, Any]) -> list[Rows]:
    """As the collector reads them once it has judged them."""
    return [accepted(block) for block in orjson.loads(body(payloads))]


def judged(*payloads: Mapping[str, Any]) -> list[Judged]:
    """What the collector finds of them."""
    return [judge(block, strict=True) for block in blocks(payloads)]


def body(payloads: Iterable[Mapping[str, Any]]) -> bytes:
    return orjson.dumps(blocks(payloads), option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass(frozen=True)
class Record:
    """One payload as the collector reads it."""

    request_id: str
    role: str
    attempt: int
    row: int
    event_time: object
    """Text as it was sent, or seconds since the epoch."""
    arm: str | None
    unit: str | None
    entity_id: str | None
    status: int
    latency_seconds: float
    nonfinite: bool
    sequence: int
    outputs: dict[str, Any] | None
    """None: the payload has none."""
    inputs: dict[str, Any]
    """Those that are not null."""


def records(sent: bytes) -> list[Record]:
    """All payloads of a body, none of which may be refused."""
    found, (blocks_sent, strict) = [], parse_blocks(sent)
    for block in blocks_sent:
        judged = judge(block, strict=strict)
        assert judged.rows is not None, judged
        assert not judged.refused, judged
        rows = judged.rows
        names = [one.name for one in fields(Record) if one.name not in ("sequence", "outputs", "inputs")]
        for at, number in enumerate(rows.sequences):
            fixed = {name: rows.of(name)[at] for name in names}
            outputs = {name: values[at] for name, values in rows.outputs.items()} or None
            told = {name: values[at] for name, values in rows.inputs.items()}
            inputs = {name: value for name, value in told.items() if value is not None}
            found.append(Record(**fixed, sequence=number, outputs=outputs, inputs=inputs))
    return found


def written(buffer: Iterable[Part | WaitingRows]) -> list[Part]:
    """As it would be sent."""
    parts: list[Part] = []
    for one in buffer:
        parts += [one] if isinstance(one, Part) else one.written()[0]
    return parts


class RecordingLog(PayloadLog):
    """A payload log that sends nothing, so that what it was given can be looked at."""

    def __init__(self, system: str = "toy", version: str = "v3") -> None:
        super().__init__("http://127.0.0.1:1", f"/capstan/{system}/{version}", version, None)

    @property
    def records(self) -> list[Record]:
        """What a collector would read."""
        return records(body_of(written(self._buffer)))
