"""How strongly columns go with the label and with each other, by evenly spaced rows.

Two columns of numbers: Pearson's r. Numbers beside categories: the correlation ratio (eta), the root of the share of
the numbers' variance that lies between categories. Two columns of categories: Cramér's V without correction. True
and false beside numbers count as 1 and 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.description.columns import FEW_TEXTS, MOSTLY_DIFFERENT, spaced
from capstan.features.columns import type_of
from capstan.features.values import ColumnType

MOST_ROWS = 50_000
MOST_COMPARED = 40
"""Columns that are compared with each other."""
MOST_PAIRS = 15
"""Of which a report tells, the strongest first."""
MOST_VALUES = 200
"""Different categories; the rarer ones of a column count as one."""
LEAST_ROWS = 30


@dataclass(frozen=True)
class _Column:
    name: str
    values: npt.NDArray[Any]
    """Floats with nan, or codes with -1 where there is none."""
    is_number: bool
    is_boolean: bool = False
    is_name: bool = False
    """Whether nearly every row has a value of its own, with which everything seems to go."""

    @property
    def is_there(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.values) if self.is_number else self.values >= 0

    @property
    def as_numbers(self) -> _Column:
        """True and false as 1 and 0."""
        values = np.where(self.values >= 0, self.values, np.nan).astype(np.float64)
        return _Column(self.name, values, is_number=True)


def correlations(table: pa.Table, columns: Sequence[str], label: str) -> dict[str, Any]:
    """Of each column with the label, and the strongest pairs of columns; JSON. Null: it cannot be told."""
    few = pa.array(spaced(table.num_rows, MOST_ROWS))
    read = [_read(table[name].take(few), name) for name in columns if name != label]
    target = _read(table[label].take(few), label)
    with_label: list[dict[str, Any]] = [
        {"column": one.name, "by": how, "value": value}
        for one in read
        for how, value in [_together(one, target)]
    ]
    compared = read[:MOST_COMPARED]
    pairs: list[dict[str, Any]] = []
    for at, one in enumerate(compared):
        for other in compared[at + 1 :]:
            how, value = _together(one, other)
            if value is not None:
                pairs.append({"columns": [one.name, other.name], "by": how, "value": value})
    pairs.sort(key=lambda pair: -abs(pair["value"]))
    return {
        "rows": len(few),
        "label": sorted(with_label, key=lambda one: -abs(one["value"] or 0.0)),
        "pairs": pairs[:MOST_PAIRS],
        "left_out": max(0, len(read) - MOST_COMPARED),
    }


def _read(values: pa.ChunkedArray, name: str) -> _Column:
    kind = type_of(values)
    if pa.types.is_null(values.type):
        return _Column(name, np.full(len(values), np.nan), is_number=True)
    if kind is ColumnType.NUMBER:
        return _Column(name, values.cast(pa.float64(), safe=False).to_numpy(), is_number=True)
    if kind is ColumnType.TIME:
        micros = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)), safe=False).cast(
            pa.int64()
        )
        return _Column(name, micros.cast(pa.float64(), safe=False).to_numpy(), is_number=True)
    if kind is ColumnType.BOOLEAN:
        codes = pc.fill_null(values.cast(pa.int8()), -1).to_numpy().astype(np.int64)
        return _Column(name, codes, is_number=False, is_boolean=True)
    encoded = values.combine_chunks().dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    different = len(encoded.dictionary)
    is_name = different > FEW_TEXTS and different > MOSTLY_DIFFERENT * int((codes >= 0).sum())
    return _Column(name, _frequent(codes), is_number=False, is_name=is_name)


def _frequent(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The codes, of those beyond `MOST_VALUES` one for all the rarer."""
    counts = np.bincount(codes[codes >= 0])
    if len(counts) <= MOST_VALUES:
        return codes
    order = np.argsort(-counts, kind="stable")
    new = np.full(len(counts), MOST_VALUES, dtype=np.int64)
    new[order[:MOST_VALUES]] = np.arange(MOST_VALUES)
    return np.where(codes >= 0, new[codes], -1)


def _together(one: _Column, other: _Column) -> tuple[str, float | None]:
    """By which measure, and how strongly; None where one is constant or too few rows have both."""
    if one.is_boolean and other.is_number:
        one = one.as_numbers
    if other.is_boolean and one.is_number:
        other = other.as_numbers
    both = one.is_there & other.is_there
    first, second = one.values[both], other.values[both]
    how = {2: "Pearson", 1: "eta", 0: "Cramér's V"}[one.is_number + other.is_number]
    if one.is_name or other.is_name or both.sum() < LEAST_ROWS or _is_constant(first) or _is_constant(second):
        return how, None
    if how == "Pearson":
        value = float(np.corrcoef(first, second)[0, 1])
    elif how == "eta":
        value = _eta(first, second) if one.is_number else _eta(second, first)
    else:
        from scipy.stats.contingency import association, crosstab

        value = float(association(crosstab(first, second).count, method="cramer"))
    return how, value if math.isfinite(value) else None


def _is_constant(values: npt.NDArray[Any]) -> bool:
    return bool((values == values[0]).all())


def _eta(numbers: npt.NDArray[np.float64], codes: npt.NDArray[np.int64]) -> float:
    _, codes = np.unique(codes, return_inverse=True)
    counts = np.bincount(codes)
    means = np.bincount(codes, weights=numbers) / counts
    total = float(((numbers - numbers.mean()) ** 2).sum())
    return math.sqrt(min(1.0, float((counts * (means - numbers.mean()) ** 2).sum()) / total))
