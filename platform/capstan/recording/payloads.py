"""What a logged payload is: which events are taken, and how they become typed columns.

A batch is judged event by event: one poisoned event is refused by field and rule, its neighbours are kept. Input values
are scalars, so no payload can smuggle in nesting, and a number that is not finite never reaches a detector.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from capstan.domain import payload_limits as limits
from capstan.domain.drawn_shares import read_shares
from capstan.domain.payload_limits import parse_moment
from capstan.errors import InvalidRequestError, shown
from capstan.features.values import category, truth_of
from capstan.recording.outputs import OUTPUT_PREFIX, output_facts, predictions_of, spelled
from capstan.spec.features import Reading
from capstan.tasks import Task

MOST_EVENTS = 10_000
ROLES = ("champion", "challenger", "shadow")
Kind = Reading
"""How a column is stored and compared."""

SYSTEM_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_INTEGER_RANGE = 2**53
"""Beyond it not every whole number is a float."""
_PLAIN_NUMBERS = frozenset((float, int, type(None)))
_TEXTS = frozenset((str, type(None)))

TIMESTAMP = pa.timestamp("us", tz="UTC")
FIXED_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("request_id", pa.string()),
    ("row", pa.int32()),
    ("version", pa.string()),
    ("role", pa.string()),
    ("attempt", pa.int32()),
    ("event_time", TIMESTAMP),
    ("received_at", TIMESTAMP),
    ("arm", pa.string()),
    ("unit", pa.string()),
    ("entity_id", pa.string()),
    ("status", pa.int32()),
    ("latency_seconds", pa.float64()),
    ("nonfinite", pa.bool_()),
    ("boot", pa.string()),
    ("sequence", pa.int64()),
)
"""One row for each row of an answered request.

`request_id` is the gateway's, `row` the place in the request, from 0. `version` answered, as `role`: champion,
challenger, or shadow for a copy whose answer nobody gets. `attempt` is 1, or more where an earlier attempt failed.
`event_time` is the moment of the request (a replay's own, else wall time), `received_at` that of the collector.
`arm` is the version that the request was assigned to, `unit` the key by which it sticks to it; null: none.
`entity_id` is the case, by which labels are joined; null: the request had none. `status` is the HTTP status,
`latency_seconds` the service's own time. `nonfinite`: the model's answer was no sound one. `boot` is one life of the
service and `sequence` its number in it: both together are never stored twice, and a gap is a loss.
"""
PAYLOAD_COLUMNS = pa.schema(FIXED_COLUMNS)
OPTIONAL_COLUMNS = ("shares",)
"""Texts that a segment holds only if a payload of it has one, as all that an earlier version wrote are without.

`shares` are those by which a router drew the arm of this request, as `v1=60 v2=40`.
"""
INPUT_PREFIX = "input."
_ANSWERED = 200


class Payload(NamedTuple):
    """One accepted event."""

    system: str
    boot: str
    sequence: int
    event_time: datetime
    data: Mapping[str, Any]


class Refusal(NamedTuple):
    """One event that is not taken, and why."""

    id: str
    field: str
    rule: str


class _RefusedError(Exception):
    def __init__(self, field: str, rule: str) -> None:
        self.field = field
        self.rule = rule


def parse_batch(body: bytes) -> list[object]:
    """The events of a CloudEvents batch, unjudged; raises InvalidRequestError if the body is no JSON list."""
    try:
        events = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The standard library reads NaN and Infinity; so they are refused one by one, not with their batch.
        try:
            events = json.loads(body)
        except (ValueError, RecursionError):
            raise InvalidRequestError("body", body, f"is not JSON: {error}") from None
    if not isinstance(events, list):
        raise InvalidRequestError("body", type(events).__name__, "must be a list of CloudEvents")
    if len(events) > MOST_EVENTS:
        raise InvalidRequestError(
            "body", len(events), f"holds more than {MOST_EVENTS} events; send fewer at once"
        )
    return events


def judge(event: object) -> Payload | Refusal:
    """The event as a payload, or the field and rule that it breaks."""
    try:
        return _payload(event)
    except _RefusedError as refused:
        identity = event.get("id") if isinstance(event, dict) else None
        return Refusal(str(shown(identity)), refused.field, refused.rule)


def accepted(event: Any) -> Payload:
    """The payload of an event that was judged before; what is not judged again costs a third."""
    boot, _, number = event["id"].rpartition("-")
    data = event["data"]
    moment = datetime.fromisoformat(data["event_time"]).astimezone(UTC)
    return Payload(event["source"].split("/")[2], boot, int(number), moment, data)


def _payload(event: object) -> Payload:
    if not isinstance(event, dict):
        raise _RefusedError("event", "must be an object")
    identity, source, data = event.get("id"), event.get("source"), event.get("data")
    if not isinstance(identity, str):
        raise _RefusedError("id", "must be '<boot>-<sequence>'")
    boot, _, number = identity.rpartition("-")
    if (
        not limits.PLAIN_NAME.fullmatch(boot)
        or not number.isascii()
        or not number.isdigit()
        or len(number) > 15
    ):
        raise _RefusedError("id", "must be '<boot>-<sequence>'")
    if not isinstance(source, str):
        raise _RefusedError("source", "must be '/capstan/<system>/<version>'")
    parts = source.split("/")
    if (
        len(parts) != 4
        or parts[1] != "capstan"
        or not SYSTEM_NAME.fullmatch(parts[2])
        or not limits.PLAIN_NAME.fullmatch(parts[3])
    ):
        raise _RefusedError("source", "must be '/capstan/<system>/<version>'")
    if not isinstance(data, dict):
        raise _RefusedError("data", "must be an object")
    _text(data, "request_id", required=True)
    _text(data, "entity_id", required=False)
    _text(data, "unit", required=False)
    arm = data.get("arm")
    if arm is not None and (type(arm) is not str or not limits.PLAIN_NAME.fullmatch(arm)):
        raise _RefusedError("data.arm", "must be the name of a version or null")
    if data.get("shares") is not None and read_shares(data["shares"]) is None:
        raise _RefusedError("data.shares", "must be whole percents that make 100, such as 'v1=60 v2=40'")
    if data.get("version") != parts[3]:
        raise _RefusedError("data.version", "must be the version of the source")
    if data.get("role") not in ROLES:
        raise _RefusedError("data.role", "must be champion, challenger or shadow")
    _whole(data, "row", 0, 1_000_000)
    _whole(data, "attempt", 0, 1000)
    _whole(data, "status", 0, 999)
    _finite(data, "latency_seconds")
    if type(data.get("nonfinite", False)) is not bool:
        raise _RefusedError("data.nonfinite", "must be true or false")
    moment = parse_moment(data.get("event_time"))
    if moment is None:
        raise _RefusedError("data.event_time", limits.moment_rule(data.get("event_time")) or "is no time")
    for name in ("inputs", "outputs"):
        if data.get(name) is not None:
            _columns(data[name], name)
    return Payload(parts[2], boot, int(number), moment, data)


def _text(data: Mapping[str, Any], name: str, *, required: bool) -> None:
    value = data.get(name)
    if value is None and not required:
        return
    rule = limits.id_rule(value)
    if rule is not None:
        raise _RefusedError(f"data.{name}", rule)


def _whole(data: Mapping[str, Any], name: str, least: int, most: int) -> None:
    value = data.get(name)
    if type(value) is not int or not least <= value <= most:
        raise _RefusedError(f"data.{name}", f"must be a whole number from {least} to {most}")


def _finite(data: Mapping[str, Any], name: str) -> None:
    value = data.get(name)
    if value is None:
        return
    if type(value) is float:
        if not math.isfinite(value):
            raise _RefusedError(f"data.{name}", "must be a finite number or null")
    elif type(value) is not int or abs(value) > _INTEGER_RANGE:
        raise _RefusedError(f"data.{name}", "must be a finite number or null")


def _columns(columns: object, part: str) -> None:
    field = f"data.{part}"
    if not isinstance(columns, dict):
        raise _RefusedError(field, "must be an object")
    if len(columns) > limits.MOST_INPUTS:
        raise _RefusedError(field, f"must have at most {limits.MOST_INPUTS} columns")
    for column, value in columns.items():
        rule = limits.column_rule(column)
        if rule is not None:
            raise _RefusedError(field, rule)
        rule = limits.input_rule(value)
        if rule is not None:
            raise _RefusedError(f"{field}.{column[:100]}", rule)


def columns_of(
    payloads: Iterable[tuple[Payload, datetime]], kinds: Mapping[str, Kind], task: Task | None
) -> pa.Table:
    """Payloads with the moments of their receipt as one table: fixed columns, then `input.` and `output.<column>`.

    `kinds` says how declared inputs are used; a value that does not fit becomes null, which the missing rate shows.
    Other columns are numbers if all their values are and floats hold them exactly, else text. A category is stored as
    it came: what it means, the type says that the watched version's reference knows. Outputs have the types of the
    `task`, and an answered row whose outputs are no sound answer of it is marked as `nonfinite`, whoever sent it.
    """
    rows = list(payloads)
    data = [payload.data for payload, _ in rows]
    fixed: dict[str, list[object]] = {
        name: [entry.get(name) for entry in data]
        for name in ("request_id", "row", "version", "role", "attempt", "arm", "unit", "entity_id", "status")
    }
    fixed["latency_seconds"] = [_number(entry.get("latency_seconds")) for entry in data]
    fixed["event_time"] = [payload.event_time for payload, _ in rows]
    fixed["received_at"] = [received for _, received in rows]
    fixed["boot"] = [payload.boot for payload, _ in rows]
    fixed["sequence"] = [payload.sequence for payload, _ in rows]
    outputs = output_columns([entry.get("outputs") or {} for entry in data], task)
    unsound = unsound_rows(outputs, task, len(rows))
    fixed["nonfinite"] = [
        entry.get("nonfinite", False) or (entry.get("status") == _ANSWERED and wrong)
        for entry, wrong in zip(data, unsound, strict=True)
    ]
    arrays = [pa.array(fixed[name], type=kind) for name, kind in FIXED_COLUMNS]
    names = [name for name, _ in FIXED_COLUMNS]
    for column, values in input_columns([entry.get("inputs") or {} for entry in data], kinds).items():
        names.append(INPUT_PREFIX + column)
        arrays.append(values)
    for column in OPTIONAL_COLUMNS:
        texts = [entry.get(column) for entry in data]
        if any(text is not None for text in texts):
            names.append(column)
            arrays.append(pa.array(texts, type=pa.string()))
    for column, values in outputs.items():
        names.append(OUTPUT_PREFIX + column)
        arrays.append(values)
    return pa.Table.from_arrays(arrays, names=names)


def input_columns(entries: list[Mapping[str, object]], kinds: Mapping[str, Kind]) -> dict[str, pa.Array]:
    """Inputs of each row as typed columns, without their prefix."""
    found = spelled({column for entry in entries for column in entry}, kinds)
    return {
        column: _typed(_values(entries, spellings), kinds.get(column)) for column, spellings in found.items()
    }


def output_columns(entries: list[Mapping[str, object]], task: Task | None) -> dict[str, pa.Array]:
    """Outputs of each row as columns of the task's types, without their prefix."""
    own = [] if task is None else [facts.name for facts in task.facts.outputs if not facts.per_class]
    found: dict[str, pa.Array] = {}
    for column, spellings in spelled({column for entry in entries for column in entry}, own).items():
        values = _values(entries, spellings)
        facts = None if task is None else output_facts(task, column)
        if facts is None or facts.kind == "Number":
            found[column] = _typed(values, None if facts is None else "numeric")
        elif facts.kind == "Boolean":
            found[column] = pa.array(
                [value if type(value) is bool else None for value in values], type=pa.bool_()
            )
        else:
            found[column] = pa.array(
                [None if value is None else str(value) for value in values], type=pa.string()
            )
    return found


def _values(entries: list[Mapping[str, object]], spellings: Sequence[str]) -> list[object]:
    """Of each entry the value of the first spelling that it has."""
    if len(spellings) == 1:
        return [entry.get(spellings[0]) for entry in entries]
    return [next((entry[name] for name in spellings if name in entry), None) for entry in entries]


def unsound_rows(outputs: Mapping[str, pa.Array], task: Task | None, rows: int) -> list[bool]:
    """Which rows' outputs are no sound answer of the task."""
    columns = list(outputs.values())
    if task is None or not columns:
        return [False] * rows
    struct = pa.StructArray.from_arrays(columns, names=list(outputs))
    wrong: list[bool] = task.unsound(predictions_of(struct, task)).tolist()
    return wrong


def _typed(values: list[object], kind: Kind | None) -> pa.Array:
    if kind is None:
        numeric = all(_is_exact(value) for value in values)
        kind = "numeric" if numeric else "categorical"
    if kind == "numeric":
        if {*map(type, values)} <= _PLAIN_NUMBERS:
            # A whole number that no float holds exactly is none to Arrow.
            with suppress(pa.ArrowInvalid):
                return pa.array(values, type=pa.float64())
        return pa.array([_number(value) for value in values], type=pa.float64())
    if {*map(type, values)} <= _TEXTS:
        return pa.array([value or None for value in values], type=pa.string())
    return pa.array([category(value) for value in values], type=pa.string())


def _is_exact(value: object) -> bool:
    """Whether a column of floats holds the value, or its absence, as it was sent."""
    if type(value) is int:
        return abs(value) <= _INTEGER_RANGE
    return value is None or type(value) is float


def _number(value: object) -> float | None:
    if isinstance(value, str):
        # A column of booleans may be a number; its texts are those of a request.
        value = truth_of(value)
    return float(value) if isinstance(value, bool | int | float) else None
