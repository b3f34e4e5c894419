"""Numbers and categories out of whatever holds a column: an Arrow table, a pandas frame, a mapping of lists.

The same value gives the same number and the same category, alone in a request or in a table of millions; everything
here is numpy and plain Python, so that serving need not import what training reads with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def column_of(table: Any, name: str) -> Any:
    """The column of that name; raises InvalidDataError if the table has none."""
    try:
        return table[name]
    except KeyError:
        names = getattr(table, "column_names", None) or list(getattr(table, "columns", None) or table)
        raise InvalidDataError(
            f"there is no column {name!r}, which a feature is made from; the columns are "
            f"{', '.join(map(str, names))}"
        ) from None


def number(value: object, column: str) -> float:
    """The value as a float; nan if it is missing or not finite. Raises InvalidDataError for text."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return math.nan
    if isinstance(value, int | float | np.number | np.bool_ | Decimal):
        try:
            result = float(value)
        except OverflowError:
            return math.nan
        return result if math.isfinite(result) else math.nan
    raise InvalidDataError(
        f"column {column!r}: {value!r} is not a number; make the feature categorical or cast the column in data.query"
    )


def numbers(values: Any, column: str) -> Floats:
    """The column as floats; nan where a value is missing or not finite."""
    result: Floats
    if _is_arrow(values):
        result = _arrow_numbers(values, column)
    else:
        array = np.asarray(values)
        if array.dtype.kind in "fiub":
            result = array.astype(np.float64)
        else:
            listed = array.tolist() if array.dtype.kind != "M" else list(array)
            result = np.array([number(value, column) for value in listed], dtype=np.float64)
    return np.where(np.isfinite(result), result, np.nan)


def category(value: object) -> str | None:
    """The value as text, whatever wrote it: 7, 7.0 and "7" are one category; None if it is missing."""
    if isinstance(value, str):
        return value
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        value = float(value)
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def codes(values: Any, code: Callable[[str | None], int]) -> Codes:
    """The column with each category replaced by its code; each category is looked up once."""
    if _is_arrow(values):
        encoded = values.combine_chunks() if hasattr(values, "combine_chunks") else values
        # A null stays a null index, so it gets the last place of the look-up table.
        encoded = encoded if type(encoded).__name__ == "DictionaryArray" else encoded.dictionary_encode()
        known = [code(category(value)) for value in encoded.dictionary.to_pylist()] + [code(None)]
        indices = encoded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
        looked_up: Codes = np.asarray(known, dtype=np.int64)[indices]
        return looked_up
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        unique, inverse = np.unique(array, return_inverse=True)
        known = [code(category(value)) for value in unique.tolist()]
        numbered: Codes = np.asarray(known, dtype=np.int64)[inverse.reshape(-1)]
        return numbered
    seen: dict[str | None, int] = {}
    result = np.empty(len(array), dtype=np.int64)
    for index, value in enumerate(array.tolist()):
        text = value if type(value) is str else category(value)
        if text not in seen:
            seen[text] = code(text)
        result[index] = seen[text]
    return result


def counts(values: Any) -> dict[str | None, int]:
    """How often each category stands in the column."""
    order: dict[str | None, int] = {}
    found = codes(values, lambda text: order.setdefault(text, len(order)))
    numbers_of = np.bincount(found, minlength=len(order)).tolist()
    return {text: numbers_of[index] for text, index in order.items() if numbers_of[index]}


def _is_arrow(values: Any) -> bool:
    return type(values).__module__.split(".", 1)[0] == "pyarrow"


def _arrow_numbers(values: Any, column: str) -> Floats:
    import pyarrow as pa

    kind = values.type
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not (plain or pa.types.is_decimal(kind) or pa.types.is_null(kind)):
        first = next((value for value in values.to_pylist() if value is not None), None)
        number(first, column)
        raise InvalidDataError(f"column {column!r} is {kind}, not a number; cast it in data.query")
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    return np.array(values.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
