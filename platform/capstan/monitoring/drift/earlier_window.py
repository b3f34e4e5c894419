"""A window compared with an earlier one: the reference of a version with recorded requests in place of its samples.

Thresholds stay those of training, where pairs of stretches with the same time between them were compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from capstan.monitoring.drift.column_values import Read, Values, values_of
from capstan.monitoring.drift.fitted_detectors import FittedDetector, OwnDetector
from capstan.monitoring.drift.reference import FeatureReference, Reference
from capstan.monitoring.drift.slices import count
from capstan.monitoring.windows import Gap, ReferenceWindow
from capstan.spec.units import format_duration

LEAST_PAIRS = 3
"""Pairs of disjoint stretches; fewer say too little of how far two windows of the same world are apart."""


@dataclass(frozen=True)
class Compared:
    """What one window is compared with."""

    reference: Reference
    detectors: Mapping[str, FittedDetector] = field(default_factory=dict)
    window: ReferenceWindow | None = None
    """None: the training data."""
    gap: Gap | None = None
    """Why inputs cannot be compared."""
    output_gap: Gap | None = None
    """Why predictions cannot be compared."""


class EarlierRows:
    """Takes the rows of the earlier window batch by batch."""

    def __init__(self, reference: Reference, rows: int, most: int) -> None:
        """Of `rows` rows up to `most` are kept, evenly."""
        self._reference = reference
        self._values: list[Values] = [values_of(feature) for feature in reference.features]
        self._every = max(1, -(-rows // most))
        self._rows = 0
        self._gathered: list[list[Read]] = [[] for _ in reference.features]

    def add(self, columns: Sequence[pa.Array], rows: int) -> None:
        first = -self._rows % self._every
        self._rows += rows
        for values, column, gathered in zip(self._values, columns, self._gathered, strict=True):
            read = values.present(column)
            gathered.append(Read(read.values[first :: self._every], read.is_there[first :: self._every]))

    def reference(self, outputs: Mapping[str, Read]) -> Reference:
        """The version's reference with the samples of these rows, and with the answers of the earlier window."""
        reads = [_joined(parts) for parts in self._gathered]
        features = tuple(
            _with_sample(feature, read) for feature, read in zip(self._reference.features, reads, strict=True)
        )
        together, slices = self._reference.together, self._reference.slices
        if together is not None:
            rows = len(reads[0].values) if reads else 0
            together = replace(together, sample=together.encoding.matrix(reads, rows))
        if slices is not None:
            counts = tuple(tuple(count(one, slices.cells, reads)) for one in slices.slicings)
            slices = replace(slices, counts=counts)
        return replace(
            self._reference,
            features=features,
            outputs=tuple(_with_sample(one, outputs[one.name]) for one in self._reference.outputs),
            together=together,
            slices=slices,
        )


def of_training(
    reference: Reference, detectors: Mapping[str, FittedDetector], lag: timedelta | None
) -> Compared:
    """The training data, or why the version's thresholds are not those that the file asks for."""
    if (gap := _not_calibrated(reference, lag)) is not None:
        return _nothing(reference, None, gap, gap)
    return Compared(reference, detectors)


def of_earlier(
    gathered: EarlierRows,
    reference: Reference,
    window: ReferenceWindow,
    *,
    rows: int,
    outputs: Mapping[str, Read],
    answered: int,
    version: str,
    least: int,
) -> Compared:
    """The earlier window, where it has `least` rows; `outputs` are what the version answered in it, `answered` rows."""
    output_gap = _too_few(answered, least, window, f" that {version} answered")
    if (gap := _too_few(rows, least, window, "")) is not None:
        return _nothing(reference, window, gap, output_gap)
    earlier = gathered.reference(outputs)
    chosen = [*earlier.features, *(earlier.outputs if output_gap is None else ())]
    # A column that began within the last season has no threshold of its own yet.
    detectors = {
        one.name: OwnDetector(one) for one in chosen if len(one.sample) and one.distance.blocks >= LEAST_PAIRS
    }
    return Compared(earlier, detectors, window, None, output_gap)


def _not_calibrated(reference: Reference, lag: timedelta | None) -> Gap | None:
    if reference.lag != lag and reference.features:
        known = _in_words(reference.lag)
        return Gap(
            "NotCalibrated", f"the version's thresholds are for windows beside {known}; train it again"
        )
    if lag is None:
        return None
    pairs = max((one.distance.blocks for one in reference.features if len(one.sample)), default=LEAST_PAIRS)
    if pairs >= LEAST_PAIRS:
        return None
    return Gap(
        "NotCalibrated",
        f"the training data hold {pairs} of {LEAST_PAIRS} pairs of windows {format_duration(lag)} apart, by which "
        "thresholds are found; train on more time",
    )


def _in_words(lag: timedelta | None) -> str:
    return "the training data" if lag is None else f"requests {format_duration(lag)} before"


def _too_few(rows: int, least: int, window: ReferenceWindow, of_whom: str) -> Gap | None:
    if rows >= least:
        return None
    span = f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}"
    return Gap(
        "NoReferenceWindow", f"{rows:,} of {least:,} rows{of_whom} in the window it is compared with, {span}"
    )


def _nothing(
    reference: Reference, window: ReferenceWindow | None, gap: Gap | None, output_gap: Gap | None
) -> Compared:
    """Without a detector there is no distance; missing values are still told beside those of training."""
    return Compared(replace(reference, together=None, slices=None), {}, window, gap, output_gap)


def _joined(parts: Sequence[Read]) -> Read:
    if not parts:
        return Read(np.empty(0), np.empty(0, dtype=np.bool_))
    values: NDArray[Any] = np.concatenate([part.values for part in parts])
    return Read(values, np.concatenate([part.is_there for part in parts]))


def _with_sample(feature: FeatureReference, read: Read) -> FeatureReference:
    return replace(feature, sample=read.values[read.is_there])
