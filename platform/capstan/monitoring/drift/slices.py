"""Which slice of the rows moved: each feature among the rows of one value of a column, as in `carrier=UA: dep_hour`.

All slices and features are one question. A pair counts by its distance in units of what is usual for the pair, and the
largest of these numbers over all pairs is held to one threshold, found on stretches of the training data. So the chance
of a false alarm does not grow with the slices.

Values are counted in a few hundred cells, for training and window alike: a slice takes a line of counts, however many
rows it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.monitoring.drift.calibration import Threshold, for_size
from capstan.monitoring.drift.kinds import Detector
from capstan.monitoring.windows import Gap, SliceDrift, SlicesDrift
from capstan.recording.payloads import Kind

Counts = NDArray[np.int64]
Read = tuple[NDArray[Any], NDArray[np.bool_]]
"""Values (or codes) of one feature, and where there are any."""

MOST_CELLS = 256
"""Of a feature: Kolmogorov-Smirnov between two slices is exact to 1/256."""
MOST_TOLD = 10
"""Pairs of slice and feature that a window tells."""


@dataclass(frozen=True)
class Cells:
    """Into which cell a value of one feature falls."""

    kind: Kind
    values: NDArray[Any]
    """Of numbers: the largest value of each cell inside the range of training, ascending. Of categories: the codes
    with a cell of their own.
    """
    known: int
    """Categories of training; 0 for numbers."""

    @classmethod
    def of(cls, kind: Kind, values: NDArray[Any], known: int) -> Cells | None:
        """`values`: those of training, without missing ones; None: there are none."""
        if not len(values):
            return None
        if kind == "numeric":
            grid = np.quantile(values, np.linspace(0, 1, MOST_CELLS), method="lower")
            return cls(kind, np.unique(grid), 0)
        frequent = np.argsort(-np.bincount(values, minlength=known), kind="stable")[: MOST_CELLS - 2]
        return cls(kind, np.sort(frequent), known)

    @property
    def size(self) -> int:
        """Two more than there are values: of numbers below and above all of training; of categories, the rare ones
        together and those that training never saw.
        """
        return len(self.values) + 2

    @property
    def atoms(self) -> NDArray[Any]:
        """What a detector takes for the value of each cell."""
        if self.kind == "categorical":
            return np.arange(self.size)
        return np.concatenate(
            [[np.nextafter(self.values[0], -np.inf)], self.values, [np.nextafter(self.values[-1], np.inf)]]
        )

    def places(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The cell of each value; of a missing one it means nothing."""
        at: NDArray[np.int64] = np.searchsorted(self.values, values)
        if self.kind == "numeric":
            # A constant of training that another value takes over must not stay in one cell with it.
            return np.where(values < self.values[0], 0, at + 1)
        at = at.clip(max=len(self.values) - 1)
        other = np.where(values >= self.known, self.size - 1, self.size - 2)
        found: NDArray[np.int64] = np.where(self.values[at] == values, at, other)
        return found


@dataclass(frozen=True)
class Slicing:
    """The values of one column whose rows are compared by themselves."""

    feature: int
    """Place of the column among the features."""
    keys: NDArray[Any]
    """Numbers or codes, ascending."""
    names: tuple[str, ...]
    """`carrier=UA`, in the order of the keys."""

    def places(self, read: Read) -> NDArray[np.int64]:
        """The slice of each row; `len(keys)` for a row of none."""
        values, is_there = read
        at = np.searchsorted(self.keys, values).clip(max=len(self.keys) - 1)
        found: NDArray[np.int64] = np.where(is_there & (self.keys[at] == values), at, len(self.keys))
        return found


def count(slicing: Slicing, cells: Sequence[Cells | None], read: Sequence[Read]) -> list[Counts]:
    """Of each feature, rows of each slice in each cell: (slices, cells)."""
    placed = [Placed.of(one, values) for one, values in zip(cells, read, strict=True)]
    return count_placed(len(slicing.keys), slicing.places(read[slicing.feature]), placed)


class Placed(NamedTuple):
    """The cells of the rows of one feature."""

    size: int
    """How many cells there are; 0: training saw no value."""
    places: NDArray[np.int64]
    is_there: NDArray[np.bool_]

    @classmethod
    def of(cls, cells: Cells | None, read: Read) -> Placed:
        values, is_there = read
        if cells is None:
            return cls(0, np.zeros(len(values), dtype=np.int64), is_there)
        return cls(cells.size, cells.places(values), is_there)

    def rows(self, chosen: slice) -> Placed:
        return Placed(self.size, self.places[chosen], self.is_there[chosen])


def count_placed(slices: int, slice_of: NDArray[np.int64], placed: Sequence[Placed]) -> list[Counts]:
    """As `count`, of rows whose slices and cells are known; `slices` in `slice_of` is none of them."""
    found = []
    is_in_one = slice_of < slices
    for size, places, is_there in placed:
        if not size:
            found.append(np.zeros((slices, 1), dtype=np.int64))
            continue
        used = is_there & is_in_one
        flat = slice_of[used] * size + places[used]
        found.append(np.bincount(flat, minlength=slices * size).reshape(slices, size))
    return found


@dataclass(frozen=True)
class SlicesReference:
    """The slices at training time."""

    slicings: tuple[Slicing, ...]
    cells: tuple[Cells | None, ...]
    """Of each feature; None: training saw no value of it."""
    counts: tuple[tuple[Counts, ...], ...]
    """Of each slicing and feature: (slices, cells)."""
    usual: NDArray[np.float64]
    """(slices, features): the mean distance of stretches of training; nan: the pair is never compared."""
    noise: NDArray[np.float64]
    """(slices, features): the part of it that chance alone explains."""
    farthest: Threshold
    """Of the largest distance over all pairs, each in units of what is usual for it."""
    least_rows: int
    left_out: tuple[str, ...] = ()
    """Which slices of the file are not compared, and why."""

    def facts(self) -> dict[str, Any]:
        """What a model folder keeps beside `numbers`."""
        return {
            "slicings": [
                {"feature": one.feature, "keys": one.keys.tolist(), "names": list(one.names)}
                for one in self.slicings
            ],
            "cells": [
                None if one is None else {"kind": one.kind, "values": one.values.tolist(), "known": one.known}
                for one in self.cells
            ],
            "usual": [[None if np.isnan(one) else float(one) for one in line] for line in self.usual],
            "noise": [[None if np.isnan(one) else float(one) for one in line] for line in self.noise],
            "farthest": asdict(self.farthest),
            "least_rows": self.least_rows,
            "left_out": list(self.left_out),
        }

    @property
    def numbers(self) -> Counts:
        """All counts in one line."""
        parts = [counts.reshape(-1) for of_slicing in self.counts for counts in of_slicing]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    @classmethod
    def made_again(cls, facts: Mapping[str, Any], numbers: Counts) -> SlicesReference:
        """What `facts` and `numbers` of another told; raises ValueError where they do not fit each other."""
        cells = tuple(
            None
            if one is None
            else Cells(
                one["kind"],
                np.array(one["values"], dtype=np.float64 if one["kind"] == "numeric" else np.int64),
                one["known"],
            )
            for one in facts["cells"]
        )
        slicings = tuple(
            Slicing(one["feature"], np.array(one["keys"]), tuple(one["names"])) for one in facts["slicings"]
        )
        first, counts = 0, []
        for slicing in slicings:
            of_features = []
            for one in cells:
                shape = (len(slicing.keys), one.size if one is not None else 1)
                of_features.append(numbers[first : first + shape[0] * shape[1]].reshape(shape))
                first += shape[0] * shape[1]
            counts.append(tuple(of_features))
        return cls(
            slicings,
            cells,
            tuple(counts),
            usual=np.array(facts["usual"], dtype=np.float64).reshape(-1, len(cells)),
            noise=np.array(facts["noise"], dtype=np.float64).reshape(-1, len(cells)),
            farthest=Threshold(**facts["farthest"]),
            least_rows=facts["least_rows"],
            left_out=tuple(facts["left_out"]),
        )


class SlicedWindow:
    """Takes the rows of a window batch by batch, then compares each slice."""

    def __init__(
        self,
        reference: SlicesReference,
        features: Sequence[tuple[str, Detector]],
        rows: int,
        most: int,
    ) -> None:
        """`features`: name and detector of each, in the reference's order; of `rows` rows up to `most` are counted."""
        self._reference = reference
        self._features = features
        self._every = max(1, -(-rows // most))
        self._rows = 0
        self._counts = [[np.zeros_like(one) for one in counts] for counts in reference.counts]

    def add(self, read: Sequence[Read], rows: int) -> None:
        first = -self._rows % self._every
        self._rows += rows
        few = [(values[first :: self._every], is_there[first :: self._every]) for values, is_there in read]
        for slicing, totals in zip(self._reference.slicings, self._counts, strict=True):
            for total, found in zip(totals, count(slicing, self._reference.cells, few), strict=True):
                total += found

    def result(self, min_effect: float, *, is_asked: bool) -> SlicesDrift:
        """The slices, those farthest above their threshold first."""
        reference = self._reference
        found: list[SliceDrift] = []
        compared, number = 0, 0
        for slicing, counts, trained in zip(reference.slicings, self._counts, reference.counts, strict=True):
            for place, name in enumerate(slicing.names):
                pairs = [
                    pair
                    for at in range(len(self._features))
                    if (
                        pair := self._pair(
                            name, number, at, trained[at][place], counts[at][place], min_effect
                        )
                    )
                    is not None
                ]
                compared += bool(pairs)
                found += pairs
                number += 1
        found.sort(key=lambda one: (-one.distance / one.threshold, one.slice, one.feature))
        return SlicesDrift(
            farthest=tuple(found[:MOST_TOLD]),
            moved=sum(one.is_above for one in found),
            compared=compared,
            too_few=number - compared,
            least_rows=reference.least_rows,
            left_out=reference.left_out,
            is_asked=is_asked,
            gap=None if compared else self._gap(number),
        )

    def _gap(self, slices: int) -> Gap:
        if not slices:
            why = "; ".join(self._reference.left_out) or "none has a value"
            return Gap("NoSlices", f"no slice can be compared: {why}")
        if np.isnan(self._reference.usual).all():
            return Gap(
                "NotCalibrated",
                "the training data hold no two windows by which the threshold of slices is found; train on more time",
            )
        least = f"{self._reference.least_rows:,} rows (monitoring.drift.slices.minRows)"
        return Gap("SlicesTooSmall", f"none of {slices:,} slices has {least}")

    def _pair(
        self, name: str, number: int, at: int, trained: Counts, window: Counts, min_effect: float
    ) -> SliceDrift | None:
        reference, cells = self._reference, self._reference.cells[at]
        rows = int(window.sum()) * self._every
        if cells is None or np.isnan(reference.usual[number, at]):
            return None
        if rows < reference.least_rows or trained.sum() < reference.least_rows:
            return None
        feature, detector = self._features[at]
        try:
            distance = detector.from_rest(cells.atoms, window, trained + window)
            noise = detector.noise_of_block(cells.atoms, window, trained + window)
        except InvalidDataError:
            # A person's own detector that fails is told of the whole feature.
            return None
        calibrated = reference.farthest.value * float(reference.usual[number, at])
        threshold = for_size(calibrated, noise, float(reference.noise[number, at]))
        return SliceDrift(name, feature, rows, distance, max(min_effect, threshold))
