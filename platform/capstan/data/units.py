"""Which rows are drawn together: those that are alike, those that are put in order together, those of one group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.extraction import CONTENT_DIGITS
from capstan.data.split import Indices
from capstan.errors import InvalidDataError
from capstan.spec.system import MLSystem


def drawn_units(table: pa.Table, system: MLSystem) -> Indices:
    """The number of each row's unit; raises InvalidDataError where what is put in order together has several groups."""
    keys, by = system.spec.data.keys, system.spec.data.split.group
    if by is not None:
        return _of_groups(table, by.by, keys.group)
    names = table[keys.group or keys.id_column]
    if keys.group is None and keys.id is None:
        names = pc.utf8_slice_codeunits(names, 0, CONTENT_DIGITS)
    return _numbered(names)


def rows_without_group(table: pa.Table, system: MLSystem) -> Iterator[str]:
    """What is said of rows that `data.split.group` can't put into a group."""
    by = system.spec.data.split.group
    missing = 0 if by is None else _without_nan(table[by.by]).null_count
    if by is not None and missing:
        yield (
            f"data.split.group.by: {missing:,} of {table.num_rows:,} rows have no {by.by!r}, and each of them is a "
            "group of its own"
        )


def _of_groups(table: pa.Table, by: str, ordered: str | None) -> Indices:
    column = _without_nan(table[by]).combine_chunks().dictionary_encode()
    units: Indices = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    missing = np.flatnonzero(units < 0)
    units[missing] = len(column.dictionary) + np.arange(len(missing))
    if ordered is None:
        return units
    together = _numbered(table[ordered])
    pairs = np.unique(np.column_stack([together, units]), axis=0)
    torn = pairs[:-1][np.diff(pairs[:, 0]) == 0]
    if len(torn):
        name = table[ordered][int(np.flatnonzero(together == torn[0, 0])[0])].as_py()
        raise InvalidDataError(
            f"data.split.group.by: the rows of {ordered!r} {name!r} have several values of {by!r}, and rows that "
            "are put in order together stay in one part; write a column that has one value in each, or drop "
            "data.split.group"
        )
    return units


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), None, column)


def _numbered(names: pa.ChunkedArray) -> Indices:
    _, units = np.unique(names.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    numbered: Indices = units.reshape(-1).astype(np.int64)
    return numbered
