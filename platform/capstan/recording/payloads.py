"""What a stored payload is, and how the columns of blocks become typed ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.features.values import category, truth_of
from capstan.recording.blocks import INTEGER_RANGE, Rows, Values
from capstan.recording.outputs import INPUT_PREFIX, OUTPUT_PREFIX, output_facts, predictions_of, spelled
from capstan.spec.feature_settings import Reading
from capstan.tasks import Task

Kind = Reading
"""How a column is stored and compared."""

Sizes = npt.NDArray[np.int64]

_FLOATS = frozenset((float, type(None)))
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
challenger, shadow for a copy whose answer nobody gets, or batch for a row that no
user asked about. `attempt` is 1, or more where an earlier attempt failed.
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
_ANSWERED = 200
_COMPUTED = ("version", "event_time", "received_at", "nonfinite", "boot", "sequence")


class Part(NamedTuple):
    """Rows that have the same columns."""

    columns: Mapping[str, Values]
    size: int


def parts_of(entries: Iterable[Mapping[str, object]]) -> list[Part]:
    """Rows as they were written, one after the other."""
    parts = []
    for names, group in groupby(entries, tuple):
        rows = [tuple(entry.values()) for entry in group]
        parts.append(Part(dict(zip(names, zip(*rows, strict=True), strict=True)), len(rows)))
    return parts


def columns_of(
    taken: Iterable[tuple[Rows, datetime]], kinds: Mapping[str, Kind], task: Task | None
) -> pa.Table:
    """Payloads with the moments of their receipt as one table: fixed columns, then `input.` and `output.<column>`.

    `kinds` says how declared inputs are used; a value that does not fit becomes null, which the missing rate shows.
    Other columns are numbers if all their values are and floats hold them exactly, else text. A category is stored as
    it came: what it means, the type says that the watched version's reference knows. Outputs have the types of the
    `task`, and an answered row whose outputs are no sound answer of it is marked as `nonfinite`, whoever sent it.
    """
    together = list(taken)
    all_rows, received = [rows for rows, _ in together], [moment for _, moment in together]
    sizes = np.asarray([len(rows) for rows in all_rows], dtype=np.int64)
    outputs = output_columns([Part(rows.outputs, len(rows)) for rows in all_rows], task)
    unsound = unsound_rows(outputs, task, int(sizes.sum()))
    fixed: dict[str, pa.Array] = {
        name: _fixed(all_rows, sizes, name, kind) for name, kind in FIXED_COLUMNS if name not in _COMPUTED
    }
    fixed["event_time"] = pa.array(np.concatenate([rows.moments for rows in all_rows])).cast(TIMESTAMP)
    fixed["received_at"] = _repeated(pa.array(received, type=TIMESTAMP), sizes)
    for name in ("version", "boot"):
        fixed[name] = _repeated(pa.array([getattr(rows, name) for rows in all_rows], type=pa.string()), sizes)
    fixed["sequence"] = pa.array(
        np.concatenate([np.asarray(rows.sequences, dtype=np.int64) for rows in all_rows])
    )
    said = _fixed(all_rows, sizes, "nonfinite", pa.bool_()).fill_null(False).to_numpy(zero_copy_only=False)
    answered = fixed["status"].to_numpy(zero_copy_only=False) == _ANSWERED
    fixed["nonfinite"] = pa.array(said | (unsound & answered))
    arrays = [fixed[name] for name, _ in FIXED_COLUMNS]
    names = [name for name, _ in FIXED_COLUMNS]
    inputs = input_columns([Part(rows.inputs, len(rows)) for rows in all_rows], kinds)
    for column, values in inputs.items():
        names.append(INPUT_PREFIX + column)
        arrays.append(values)
    for column in OPTIONAL_COLUMNS:
        texts = _fixed(all_rows, sizes, column, pa.string())
        if texts.null_count < len(texts):
            names.append(column)
            arrays.append(texts)
    for column, values in outputs.items():
        names.append(OUTPUT_PREFIX + column)
        arrays.append(values)
    return pa.Table.from_arrays(arrays, names=names)


def _fixed(all_rows: Sequence[Rows], sizes: Sizes, name: str, kind: pa.DataType) -> pa.Array:
    """A fixed column of all rows; what the rows of a block share is looked at once."""
    if not any(name in rows.fixed for rows in all_rows):
        return _repeated(pa.array([rows.same.get(name) for rows in all_rows], type=kind), sizes)
    values: list[object] = []
    times: list[int] = []
    for rows in all_rows:
        own = rows.fixed.get(name)
        if own is None:
            values.append(rows.same.get(name))
            times.append(len(rows))
        else:
            values += own
            times += [1] * len(own)
    found = pa.array(values, type=kind)
    return found if len(values) == sizes.sum() else _repeated(found, np.asarray(times, dtype=np.int64))


def _repeated(values: pa.Array, times: Sizes) -> pa.Array:
    """Each value so many times."""
    return values.take(pa.array(np.repeat(np.arange(len(values)), times)))


def input_columns(parts: Sequence[Part], kinds: Mapping[str, Kind]) -> dict[str, pa.Array]:
    """Inputs of all rows as typed columns, without their prefix."""
    return {
        column: _typed(_values(parts, spellings), kinds.get(column))
        for column, spellings in spelled(_names_of(parts), kinds).items()
    }


def output_columns(parts: Sequence[Part], task: Task | None) -> dict[str, pa.Array]:
    """Outputs of all rows as columns of the task's types, without their prefix."""
    own = [] if task is None else [facts.name for facts in task.facts.outputs if not facts.per_class]
    found: dict[str, pa.Array] = {}
    for column, spellings in spelled(_names_of(parts), own).items():
        values = _values(parts, spellings)
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


def _names_of(parts: Sequence[Part]) -> set[str]:
    # Each layout once: blocks of a version nearly always have the same.
    return {name for names in {tuple(part.columns) for part in parts} for name in names}


def _values(parts: Sequence[Part], spellings: Sequence[str]) -> list[object]:
    """Of each row the value of the first spelling that it has."""
    values: list[object] = []
    for columns, size in parts:
        name = next((name for name in spellings if name in columns), None)
        values += [None] * size if name is None else columns[name]
    return values


def unsound_rows(outputs: Mapping[str, pa.Array], task: Task | None, rows: int) -> npt.NDArray[np.bool_]:
    """Which rows' outputs are no sound answer of the task."""
    columns = list(outputs.values())
    if task is None or not columns:
        return np.zeros(rows, dtype=np.bool_)
    struct = pa.StructArray.from_arrays(columns, names=list(outputs))
    return np.asarray(task.unsound(predictions_of(struct, task)), dtype=np.bool_)


def _typed(values: Sequence[object], kind: Kind | None) -> pa.Array:
    types = {*map(type, values)}
    if kind is None:
        # Nearly always one look at the types tells.
        numeric = types <= _FLOATS or (types <= _PLAIN_NUMBERS and all(map(_is_exact, values)))
        kind = "numeric" if numeric else "categorical"
    if kind == "numeric":
        if types <= _PLAIN_NUMBERS:
            # A whole number that no float holds exactly is none to Arrow.
            with suppress(pa.ArrowInvalid):
                return pa.array(values, type=pa.float64())
        return pa.array([_number(value) for value in values], type=pa.float64())
    if types <= _TEXTS:
        return pa.array([value or None for value in values], type=pa.string())
    return pa.array([category(value) for value in values], type=pa.string())


def _is_exact(value: object) -> bool:
    """Whether a column of floats holds the value, or its absence, as it was sent."""
    if type(value) is int:
        return abs(value) <= INTEGER_RANGE
    return value is None or type(value) is float


def _number(value: object) -> float | None:
    if isinstance(value, str):
        # A column of booleans may be a number; its texts are those of a request.
        value = truth_of(value)
    return float(value) if isinstance(value, bool | int | float) else None
