"""Fits the slices of a version's reference: which are compared, and how far one may move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capstan.features.values import category
from capstan.monitoring.drift.calibration import Share, threshold
from capstan.monitoring.drift.kinds import Detector
from capstan.monitoring.drift.slices import Cells, Counts, Placed, SlicesReference, Slicing, count_placed
from capstan.monitoring.drift.stretches import STEPS, Column, Strides, full_blocks
from capstan.spec import MLSystem

STRETCHES = 60
"""Stretches of the training rows by which thresholds are found, evenly spaced."""
LARGEST_SHARE = 0.75
LEAST_USUAL = 0.05
"""A pair that never comes near what counts must not set the scale of all others.

Not by `minEffect`: policies that differ in it share trainings in a backtest.
"""


class _Candidate(NamedTuple):
    rows: int
    column: str
    feature: int
    key: float
    name: str


def fit_slices(
    inputs: Sequence[Column],
    detectors: Sequence[Detector],
    system: MLSystem,
    strides: Strides,
    share: Share,
) -> SlicesReference | None:
    """The slices of the columns in `evaluation.slices` that requests carry; None: the file names none.

    `inputs` are the features in order of time, `detectors` theirs.
    """
    columns = system.spec.evaluation.slices
    if not columns:
        return None
    wanted = system.spec.monitoring.drift.slices
    blocks = _blocks(strides)
    usual_rows = (
        float(np.median([block.stop - block.start for block, _ in blocks]))
        if blocks
        else float(len(strides.of_row))
    )
    slicings, left_out = _chosen(
        columns, inputs, wanted.min_rows, wanted.most, usual_rows / max(1, len(strides.of_row))
    )
    cells = tuple(Cells.of(one.kind, one.values[one.present], len(one.vocabulary)) for one in inputs)
    # Stretches overlap: each row is put into its cells once.
    placed = [Placed.of(one, (read.values, read.present)) for one, read in zip(cells, inputs, strict=True)]
    slice_of = [
        slicing.places((inputs[slicing.feature].values, inputs[slicing.feature].present))
        for slicing in slicings
    ]

    def counts_in(number: int, rows: slice) -> list[Counts]:
        few = [one.rows(rows) for one in placed]
        return count_placed(len(slicings[number].keys), slice_of[number][rows], few)

    atoms = [None if one is None else one.atoms for one in cells]
    whole = [counts_in(number, slice(None)) for number in range(len(slicings))]
    size = sum(len(slicing.keys) for slicing in slicings)
    distances = np.full((len(blocks), size, len(inputs)), np.nan)
    noises = distances.copy()
    for number, (block, earlier) in enumerate(blocks):
        first = 0
        for which, (slicing, trained) in enumerate(zip(slicings, whole, strict=True)):
            inside = counts_in(which, block)
            beside = (
                trained
                if earlier is None
                else [a + b for a, b in zip(inside, counts_in(which, earlier), strict=True)]
            )
            for at, (atoms_of_one, detector) in enumerate(zip(atoms, detectors, strict=True)):
                if atoms_of_one is None or at == slicing.feature:
                    continue
                rows, all_rows = inside[at], beside[at]
                counted, total = rows.sum(axis=1), all_rows.sum(axis=1)
                enough = (counted >= wanted.min_rows) & (total - counted >= wanted.min_rows)
                if earlier is None:
                    enough &= counted <= LARGEST_SHARE * total
                used = np.flatnonzero(enough)
                found = detector.of_slices(atoms_of_one, rows[used], all_rows[used])
                distances[number, first + used, at], noises[number, first + used, at] = found
            first += len(slicing.keys)
    usual = np.maximum(_mean(distances), LEAST_USUAL)
    noise = _mean(noises)
    by_chance = np.maximum(0, noises - noise)
    with np.errstate(invalid="ignore"):
        ratios = (distances - by_chance) / usual
    largest = [float(np.nanmax(one)) for one in ratios if not np.isnan(one).all()]
    return SlicesReference(
        tuple(slicings),
        cells,
        tuple(tuple(counts) for counts in whole),
        usual=usual,
        noise=noise,
        farthest=threshold(
            largest,
            share.probability,
            independent_blocks=strides.independent_blocks,
            columns=share.columns,
        ),
        least_rows=wanted.min_rows,
        left_out=tuple(left_out),
    )


def _mean(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the stretches; nan where a pair has none."""
    there = ~np.isnan(found)
    counts = there.sum(axis=0)
    totals = np.where(there, found, 0).sum(axis=0)
    means: NDArray[np.float64] = np.where(counts > 0, totals / np.maximum(1, counts), np.nan)
    return means


def _blocks(strides: Strides) -> list[tuple[slice, slice | None]]:
    """Rows of evenly spaced stretches that have rows enough, and of the stretch that each is compared with.

    None: that is all other rows.
    """
    of_row = strides.of_row
    per_stride = np.bincount(of_row[of_row >= 0], minlength=strides.whole).reshape(-1, 1)
    firsts = full_blocks(per_stride)
    if strides.lag is not None:
        there = set(firsts)
        firsts = [first for first in firsts if first + strides.lag in there]
    few = np.linspace(0, len(firsts) - 1, min(len(firsts), STRETCHES)).round().astype(np.int64)

    def rows_of(first: int) -> slice:
        rows = np.flatnonzero((of_row >= first) & (of_row < first + STEPS))
        # The rows are in order of time, so those of a stretch stand together.
        return slice(int(rows[0]), int(rows[-1]) + 1)

    return [
        (rows_of(first), None if strides.lag is None else rows_of(first + strides.lag))
        for first in (firsts[number] for number in few)
    ]


def _chosen(
    columns: Sequence[str], inputs: Sequence[Column], least: int, most: int, share: float
) -> tuple[list[Slicing], list[str]]:
    """The largest slices with rows enough in a usual window, which has that share of all rows; and what is left out."""
    candidates: list[_Candidate] = []
    left_out = []
    for column in columns:
        at = next((at for at, one in enumerate(inputs) if one.column == column and one.view is None), None)
        if at is None:
            only = any(one.column == column for one in inputs)
            left_out.append(
                f"{column}: only parts of its moments or the words of its texts are watched"
                if only
                else f"{column}: requests do not carry it"
            )
            continue
        one = inputs[at]
        keys, counts = np.unique(one.values[one.present], return_counts=True)
        enough = counts * share >= least
        if not enough.all():
            few, values = int((~enough).sum()), len(keys)
            left_out.append(
                f"{column}: {few:,} of {values:,} values have fewer than {least:,} rows in a usual window"
            )
        candidates += [
            _Candidate(int(rows), column, at, key, f"{column}={_text(one, key)}")
            for key, rows in zip(keys[enough].tolist(), counts[enough].tolist(), strict=True)
        ]
    candidates.sort(key=lambda one: (-one.rows, one.name))
    if len(candidates) > most:
        left_out.append(f"{len(candidates) - most:,} slices are smaller than the {most:,} largest")
    slicings = []
    for column in columns:
        kept = sorted((one for one in candidates[:most] if one.column == column), key=lambda one: one.key)
        if kept:
            keys = np.array([one.key for one in kept])
            slicings.append(Slicing(kept[0].feature, keys, tuple(one.name for one in kept)))
    return slicings, left_out


def _text(column: Column, key: float) -> str:
    return column.vocabulary[int(key)] if column.kind == "categorical" else category(key) or ""
