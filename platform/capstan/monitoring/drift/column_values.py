"""The values of a column of payloads, as detectors take them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from capstan.monitoring.drift.reference import FeatureReference
from capstan.tasks import Predictions


class Read(NamedTuple):
    values: NDArray[Any]
    """Numbers or codes, one for each row; of no meaning where it is not there."""
    is_there: NDArray[np.bool_]


class Numbers:
    def __init__(self, feature: FeatureReference) -> None:
        self._atoms, self._view = feature.atoms, feature.view

    def present(self, values: pa.Array | pa.ChunkedArray) -> Read:
        if self._view is not None:
            values = pa.array(self._view.numbers(values))
        if not pa.types.is_floating(values.type):
            values = _as_numbers(values)
        numbers = values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
        numbers = self._atoms.snap(numbers)
        # One NaN would make alibi-detect's p-value NaN and hide any shift: what is not finite is missing.
        return Read(numbers, np.isfinite(numbers))


class Categories:
    def __init__(self, feature: FeatureReference) -> None:
        self._feature = feature

    def present(self, values: pa.Array | pa.ChunkedArray) -> Read:
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        encoded = values.dictionary_encode()
        codes_of = self._feature.codes(encoded.dictionary.to_pylist())
        if not len(codes_of):
            return Read(np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.bool_))
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        codes = np.where(indices >= 0, codes_of[indices], -1)
        return Read(codes, codes >= 0)


Values = Numbers | Categories


def values_of(feature: FeatureReference) -> Values:
    """The reader of the feature's column."""
    return Categories(feature) if feature.kind == "categorical" else Numbers(feature)


def output_of(found: Predictions, feature: FeatureReference) -> pa.Array:
    """The column of a watched output; nulls where the predictions lack it."""
    values = found.columns.get(feature.column)
    return pa.nulls(len(found), pa.float64()) if values is None else pa.array(values, from_pandas=True)


def _as_numbers(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    try:
        return values.cast(pa.float64())
    except pa.ArrowInvalid:
        # Text in a numeric column: as good as missing, and the missing rate will tell.
        return pa.nulls(len(values), pa.float64())
