"""Outputs in stored payloads: columns `output.<name>` beside `input.<name>`, and back to the predictions they were."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.spec.tasks import OutputFacts, OutputKind
from capstan.tasks import Predictions, Task

INPUT_PREFIX, OUTPUT_PREFIX = "input.", "output."
TYPES: dict[OutputKind, pa.DataType] = {
    "Number": pa.float64(),
    "Category": pa.string(),
    "Boolean": pa.bool_(),
}


def output_facts(task: Task, name: str) -> OutputFacts | None:
    """The output that a column without its prefix belongs to; None: none of the task's."""
    for facts in task.facts.outputs:
        if name == facts.name or (facts.per_class and name.startswith(f"{facts.name}.")):
            return facts
    return None


def spelled(names: Iterable[str], declared: Iterable[str] = ()) -> dict[str, list[str]]:
    """The name of each stored column, and how else it is spelt among the names; what is `declared` comes first.

    Readers do not tell ASCII's capitals from small letters in the names of columns: of two columns that only capitals
    tell apart they would lose one. No version has two such columns or classes, but two versions of one system may.
    """
    columns: dict[bytes, list[str]] = {}
    first = set(declared)
    for name in [*sorted(first), *sorted(set(names) - first)]:
        columns.setdefault(name.encode().lower(), []).append(name)
    return {spellings[0]: spellings for _, spellings in sorted(columns.items())}


def predictions_of(outputs: pa.Array | pa.ChunkedArray, task: Task) -> Predictions:
    """Stored outputs, structs of columns, as predictions: a missing number is nan, that of a missing class is 0."""
    if isinstance(outputs, pa.ChunkedArray):
        outputs = outputs.combine_chunks()
    columns: dict[str, npt.NDArray[Any]] = {}
    for index, field in enumerate(outputs.type):
        facts = output_facts(task, field.name)
        if facts is None or (facts.per_class and field.name == facts.name):
            continue
        columns[field.name] = _numpy(outputs.field(index), facts)
    for facts in task.facts.outputs:
        if not facts.per_class and facts.name not in columns:
            columns[facts.name] = _numpy(pa.nulls(len(outputs), TYPES[facts.kind]), facts)
    return Predictions(columns)


def _numpy(values: pa.Array, facts: OutputFacts) -> npt.NDArray[Any]:
    if facts.kind != "Number":
        texts: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return texts
    missing = 0.0 if facts.per_class else np.nan
    numbers: npt.NDArray[np.float64] = (
        values.cast(pa.float64()).fill_null(missing).to_numpy(zero_copy_only=False)
    )
    return numbers
