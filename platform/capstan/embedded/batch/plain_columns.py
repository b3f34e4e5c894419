"""Rows read and checked as columns: what the checks of a request and the marks of its answer say, for many at once.

Numbers are compared by numpy. Of every other column each distinct value is checked once, by the check that a request's
value meets. So both ways accept the same rows and read the same values in them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.domain.payload_limits import LONGEST_ID
from capstan.features.values import ColumnType, category
from capstan.serving.columns import FIRST_YEAR, LAST_YEAR, BrokenRuleError, ColumnCheck
from capstan.serving.manifest import Column, Manifest
from capstan.serving.schema import RequestSchema

Booleans = npt.NDArray[np.bool_]
_EXACT = 2.0**53
"""Whole numbers below it are the same as floats."""


@dataclass(frozen=True)
class ReadColumns:
    """Rows of a table as the model reads them."""

    columns: Mapping[str, Any]
    """Those of the model, each an array of numpy or Arrow. Of a row that is not accepted a value may be missing."""
    accepted: Booleans
    """Rows of which nothing is to be refused; whoever asks about another one learns why from `RequestSchema`."""
    familiar: Booleans
    """Rows in which `Familiarity` marks nothing."""


@dataclass(frozen=True)
class _Read:
    values: Any
    accepted: Booleans
    familiar: Booleans


class PlainColumns:
    """Reads tables whose columns are those of a model and its keys."""

    def __init__(
        self,
        manifest: Manifest,
        known_categories: Mapping[str, Collection[str | None]],
        sent: Sequence[str],
    ) -> None:
        """`known_categories`: column -> what the transform tells apart; `sent`: what of a row is asked."""
        self._schema, self._known, self.sent = RequestSchema(manifest), known_categories, tuple(sent)
        self._keys = {column: kind for kind, column in manifest.keys.items()}
        self._columns = {column.name: column for column in manifest.columns}

    def read(self, batch: pa.RecordBatch) -> ReadColumns | None:
        """None: a column is missing, or of a type that only values one by one can be read of."""
        accepted = np.ones(batch.num_rows, dtype=np.bool_)
        familiar = np.ones(batch.num_rows, dtype=np.bool_)
        columns: dict[str, pa.Array] = {}
        for name in self.sent:
            place = batch.schema.get_field_index(name)
            found = self._of(name, batch.column(place)) if place >= 0 else None
            if found is None:
                return None
            accepted &= found.accepted
            familiar &= found.familiar
            if name in self._columns:
                columns[name] = found.values
        return ReadColumns(columns, accepted, familiar)

    def _of(self, name: str, values: pa.Array) -> _Read | None:
        column, kind = self._columns.get(name), values.type
        if column is None:
            if pa.types.is_string(kind) and self._keys[name] != "time":
                return _ids(values)
            if pa.types.is_timestamp(kind) and kind.tz is not None and self._keys[name] == "time":
                return _moments(values)
        elif (
            column.numeric
            and column.type is ColumnType.NUMBER
            and name not in self._keys
            and name not in self._known
        ):
            return _numbers(column, values)
        try:
            return self._value_by_value(values, self._schema.check_of(name), column, self._known.get(name))
        except (TypeError, OverflowError, pa.ArrowException):
            return None

    def _value_by_value(
        self,
        values: pa.Array,
        check: ColumnCheck,
        column: Column | None,
        known: Collection[str | None] | None,
    ) -> _Read:
        encoded = values.dictionary_encode()
        read: list[Any] = []
        accepted: list[bool] = []
        for value in [*encoded.dictionary.to_pylist(), None]:
            try:
                read.append(check(as_json(value)))
                accepted.append(True)
            except BrokenRuleError:
                read.append(None)
                accepted.append(False)
        familiar = [column is None or _is_familiar(column, known, value) for value in read]
        places = pc.fill_null(encoded.indices, len(read) - 1)
        at = places.to_numpy(zero_copy_only=False)
        # The place of what is missing is that of None: what reads texts takes the dictionary as it is.
        told = pa.DictionaryArray.from_arrays(places, pa.array(read))
        if not pa.types.is_string(told.dictionary.type):
            told = told.dictionary_decode()
        return _Read(told, np.array(accepted)[at], np.array(familiar)[at])


def as_json(value: Any) -> Any:
    """As a request carries it: missing is null, and moments are texts."""
    if isinstance(value, float):
        return None if value != value else value
    return value.isoformat() if isinstance(value, datetime) else value


def _ids(values: pa.Array) -> _Read:
    """As `check_key` has it."""
    lengths = pc.fill_null(pc.utf8_length(values), 1).to_numpy(zero_copy_only=False)
    return _Read(values, (lengths > 0) & (lengths <= LONGEST_ID), np.ones(len(values), dtype=np.bool_))


def _moments(values: pa.Array) -> _Read:
    """Of any year that no offset can take out of the calendar."""
    years = pc.fill_null(pc.year(values), FIRST_YEAR + 1).to_numpy(zero_copy_only=False)
    return _Read(values, (years > FIRST_YEAR) & (years < LAST_YEAR), np.ones(len(values), dtype=np.bool_))


def _numbers(column: Column, values: pa.Array) -> _Read | None:
    is_whole = pa.types.is_integer(values.type)
    if not (is_whole or pa.types.is_floating(values.type)):
        return None
    floats = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    is_missing = np.isnan(floats)
    least = [column.minimum, column.trained_minimum if column.refuse_outside else None]
    most = [column.maximum, column.trained_maximum if column.refuse_outside else None]
    low = max((one for one in least if one is not None), default=-np.inf)
    high = min((one for one in most if one is not None), default=np.inf)
    sound = np.isfinite(floats) & (floats >= low) & (floats <= high)
    if is_whole:
        sound &= np.abs(floats) < _EXACT
    if column.allowed is not None:
        sound &= np.isin(floats, np.array([one for one in column.allowed if _is_number(one)], np.float64))
    if column.refuse_outside and not column.filled:
        sound[:] = False
    if not column.filled:
        familiar = is_missing
    else:
        lowest = -np.inf if column.trained_minimum is None else column.trained_minimum
        highest = np.inf if column.trained_maximum is None else column.trained_maximum
        familiar = is_missing | ((floats >= lowest) & (floats <= highest))
    if column.required:
        familiar = familiar & ~is_missing
    return _Read(floats, np.where(is_missing, column.nullable, sound), familiar)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _is_familiar(column: Column, known: Collection[str | None] | None, read: Any) -> bool:
    """As `Familiarity` has it of one value."""
    if read is None:
        return not column.required
    if not column.filled:
        return False
    low, high = column.trained_minimum, column.trained_maximum
    if column.numeric and ((low is not None and read < low) or (high is not None and read > high)):
        return False
    return known is None or read in known or category(read) in known
