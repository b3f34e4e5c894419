"""Numbers and categories out of whatever holds a column: an Arrow table, a pandas frame, a mapping of lists.

The same value gives the same number and the same category, alone in a request or in a table of millions; everything
here is numpy and plain Python, so that serving need not import what training reads with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType, category, is_missing, number

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
_PLAIN_NUMBERS = frozenset((float, int, type(None)))


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


def columns_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Rows as columns of their values, as they are; None where a row lacks one. There is at least one row."""
    if len(names) > 1:
        with suppress(KeyError):
            return dict(zip(names, zip(*map(itemgetter(*names), rows), strict=True), strict=True))
    return {name: tuple([row.get(name) for row in rows]) for name in names}


def as_they_are(values: Sequence[object]) -> npt.NDArray[np.object_]:
    """An array of the values themselves: numpy would make texts of numbers that stand beside texts."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def type_of(values: Any) -> ColumnType:
    """The column's type: of its dtype, or of its values where the dtype says nothing. Without any value: Number."""
    if _is_arrow(values):
        return _arrow_type(values.type)
    array = np.asarray(values)
    if array.dtype.kind in "fiu":
        return ColumnType.NUMBER
    if array.dtype.kind == "b":
        return ColumnType.BOOLEAN
    if array.dtype.kind == "M":
        return ColumnType.TIME
    return _type_of_values(array.tolist())


def numbers(values: Any, column: str, kind: ColumnType = ColumnType.NUMBER) -> Floats:
    """The column as floats; nan where a value is missing or not finite."""
    result = as_floats(values, column, kind)
    return np.where(np.isfinite(result), result, np.nan)


def as_floats(values: Any, column: str, kind: ColumnType = ColumnType.NUMBER) -> Floats:
    """The column as floats; nan or an infinity where a value is missing or not finite."""
    if _is_arrow(values):
        return _arrow_numbers(values, column, kind)
    if type(values) is not tuple:
        array = np.asarray(values)
        if array.dtype.kind in "fiub":
            return array.astype(np.float64)
        values = array.tolist() if array.dtype.kind != "M" else list(array)
    if _PLAIN_NUMBERS.issuperset(map(type, values)):
        # A whole number that no float can be is no finite one.
        with suppress(OverflowError):
            return np.array(values, dtype=np.float64)
    return np.array([number(value, column, kind) for value in values], dtype=np.float64)


def codes(values: Any, code: Callable[[str | None], int], kind: ColumnType = ColumnType.TEXT) -> Codes:
    """The column with each category replaced by its code; each category is looked up once."""
    if _is_arrow(values):
        encoded = values.combine_chunks() if hasattr(values, "combine_chunks") else values
        # A null stays a null index, so it gets the last place of the look-up table.
        encoded = encoded if type(encoded).__name__ == "DictionaryArray" else encoded.dictionary_encode()
        known = [code(category(value, kind)) for value in encoded.dictionary.to_pylist()] + [code(None)]
        indices = encoded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
        looked_up: Codes = np.asarray(known, dtype=np.int64)[indices]
        return looked_up
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        unique, inverse = np.unique(array, return_inverse=True)
        known = [code(category(value, kind)) for value in unique.tolist()]
        numbered: Codes = np.asarray(known, dtype=np.int64)[inverse.reshape(-1)]
        return numbered
    listed = array.tolist() if array.dtype.kind != "M" else list(array)
    seen: dict[str | None, int] = {}
    result = np.empty(len(array), dtype=np.int64)
    for index, value in enumerate(listed):
        text = category(value, kind)
        if text not in seen:
            seen[text] = code(text)
        result[index] = seen[text]
    return result


def texts(values: Any, kind: ColumnType) -> npt.NDArray[np.object_]:
    """The column's categories as text; None where a value is missing."""
    order: dict[str | None, int] = {}
    found = codes(values, lambda text: order.setdefault(text, len(order)), kind)
    return np.array([*order, None], dtype=object)[found]


def counts(values: Any, kind: ColumnType = ColumnType.TEXT) -> dict[str | None, int]:
    """How often each category stands in the column."""
    order: dict[str | None, int] = {}
    found = codes(values, lambda text: order.setdefault(text, len(order)), kind)
    numbers_of = np.bincount(found, minlength=len(order)).tolist()
    return {text: numbers_of[index] for text, index in order.items() if numbers_of[index]}


def _is_arrow(values: Any) -> bool:
    return type(values).__module__.split(".", 1)[0] == "pyarrow"


def _type_of_values(values: Iterable[object]) -> ColumnType:
    found = set()
    for value in values:
        if is_missing(value) or value == "":
            continue
        if isinstance(value, bool | np.bool_):
            found.add(ColumnType.BOOLEAN)
        elif isinstance(value, date | np.datetime64):
            found.add(ColumnType.TIME)
        elif isinstance(value, str):
            return ColumnType.TEXT
        else:
            found.add(ColumnType.NUMBER)
    if len(found) == 1:
        return found.pop()
    return ColumnType.TEXT if found else ColumnType.NUMBER


def _arrow_type(kind: Any) -> ColumnType:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _arrow_type(kind.value_type)
    if pa.types.is_boolean(kind):
        return ColumnType.BOOLEAN
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return ColumnType.TIME
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return ColumnType.NUMBER if plain or pa.types.is_null(kind) else ColumnType.TEXT


def _arrow_numbers(values: Any, column: str, kind: ColumnType) -> Floats:
    import pyarrow as pa

    found = values.type
    if pa.types.is_boolean(found):
        values = values.cast(pa.int8())
    elif _arrow_type(found) is not ColumnType.NUMBER or pa.types.is_dictionary(found):
        # Text is a number only where it stands for true or false; the first that is not is named.
        return np.array([number(value, column, kind) for value in values.to_pylist()], dtype=np.float64)
    return np.array(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
