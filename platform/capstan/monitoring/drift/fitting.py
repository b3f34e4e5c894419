"""Fits the reference of a version from its training rows, with thresholds from stretches of those same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from capstan.errors import InvalidDataError
from capstan.features.columns import numbers, texts, type_of
from capstan.features.values import ColumnType
from capstan.monitoring.drift.atoms import Atoms
from capstan.monitoring.drift.calibration import (
    QUALITY_SHARE,
    Threshold,
    false_breach_probability,
    leave_out,
    threshold,
)
from capstan.monitoring.drift.distances import category_noise
from capstan.monitoring.drift.joint_rows import Encoding, Place
from capstan.monitoring.drift.kinds import Detector, chosen, chosen_of_rows
from capstan.monitoring.drift.reference import FeatureReference, Reference, RowsReference
from capstan.recording.outputs import output_facts
from capstan.recording.payloads import Kind
from capstan.spec import MLSystem
from capstan.tasks import Predictions, Task, task_of

MOST_ROWS = 20_000
MOST_JOINT_ROWS = 10_000
"""Rows of all features together that a model folder keeps."""
GRID = 2048
"""Points at which cumulated shares are compared during calibration: KS is exact to 1/2048 there."""
STEPS = 7
"""Blocks slide by a seventh of the window, so that a short reference still shows how weeks differ."""
LARGEST_SHARE = 0.75
LEAST_BLOCK_SHARE = 0.3
"""Of the median block's rows; emptier blocks are left out."""

Table = Mapping[str, ArrayLike]
Served = Callable[[NDArray[np.int64]], Predictions]


class _Strides(NamedTuple):
    of_row: NDArray[np.int64]
    """Stride of each row, counted back from the newest; rows before the first whole stride have -1."""
    whole: int
    """Number of whole strides."""
    independent_blocks: int


class _Blocks(NamedTuple):
    distances: list[float]
    noise: float


def fit(
    reference: Any, system: MLSystem, *, predictions: Predictions | None = None, served: Served | None = None
) -> Reference:
    """The reference of a version, from the rows it was trained on.

    `reference` is a pandas DataFrame, a pyarrow Table or a mapping of arrays with the raw feature columns and the time
    column; `predictions` are of the same rows, best from a model that had not seen them: a model is surer of
    rows that it was fitted on. `served` predicts rows, by their numbers, as requests are answered: the sample that
    windows are compared with is made by it; None: taken from `predictions`. Raises InvalidDataError.
    """
    columns = _columns(reference)
    spec = system.spec
    times = _microseconds(_column(columns, spec.data.keys.time_column))
    order = np.argsort(times, kind="stable")
    strides = _strides(times[order], spec.monitoring.window.duration.total_seconds() * 1e6)
    outputs = [] if predictions is None else watched_outputs(task_of(spec), predictions)
    drift = spec.monitoring.drift
    together = chosen_of_rows(drift)
    watched = len(spec.features) + len(outputs) + (together is not None)
    probability = false_breach_probability(
        (1 - QUALITY_SHARE) * drift.false_alarms_per_month,
        spec.monitoring.window.duration,
        watched,
        drift.consecutive,
    )
    detectors = chosen(drift)
    inputs = []
    for feature in spec.features:
        column = _column(columns, feature.column)
        found = type_of(column)
        values: NDArray[Any] = (
            numbers(column, feature.column, found) if feature.reading == "numeric" else texts(column, found)
        )
        inputs.append(_Column.of(feature.name, feature.column, feature.reading, found, values[order]))
    answers = []
    if predictions is not None:
        for name, kind, values in _as_served(predictions, outputs, order, served):
            found = ColumnType.NUMBER if kind == "numeric" else ColumnType.TEXT
            answers.append(_Column.of(f":{name}", name, kind, found, values))
    return Reference(
        tuple(_fit_feature(one, detectors[one.kind], strides, probability) for one in inputs),
        tuple(_fit_feature(one, detectors[one.kind], strides, probability) for one in answers),
        None if together is None else _fit_rows(inputs, together, strides, probability),
    )


def watched_outputs(task: Task, predictions: Predictions) -> list[tuple[str, Kind]]:
    """Columns of the predictions whose drift is watched, in their order, and how they are compared."""
    found: list[tuple[str, Kind]] = []
    for name in predictions.columns:
        facts = output_facts(task, name)
        if facts is not None and facts.is_watched:
            found.append((name, "numeric" if facts.kind == "Number" else "categorical"))
    return found


def _as_served(
    predictions: Predictions,
    outputs: Sequence[tuple[str, Kind]],
    order: NDArray[np.int64],
    served: Served | None,
) -> Iterator[tuple[str, Kind, NDArray[Any]]]:
    """The watched outputs in order of time; those rows that a window is compared with are as a service answers them."""
    ordered = predictions.rows(order)
    sound = np.ones(len(ordered), dtype=np.bool_)
    for name, kind in outputs:
        if kind == "numeric":
            sound &= np.isfinite(ordered[name])
    compared = _evenly(np.flatnonzero(sound))
    answered = served(order[compared]) if served is not None and len(compared) else None
    for name, kind in outputs:
        values = np.array(ordered[name], dtype=np.float64 if kind == "numeric" else object)
        if answered is not None:
            values[compared] = answered[name]
        yield name, kind, values


class _Column(NamedTuple):
    """One feature or output, in order of time."""

    name: str
    column: str
    kind: Kind
    type: ColumnType
    values: NDArray[Any]
    """Numbers, those that are one but for their last digits made one; or codes."""
    present: NDArray[np.bool_]
    vocabulary: tuple[str, ...]

    @classmethod
    def of(cls, name: str, column: str, kind: Kind, found: ColumnType, values: NDArray[Any]) -> _Column:
        """`values`: numbers, nan for a missing one, or texts, None for a missing one."""
        if kind == "numeric":
            present = np.isfinite(values)
            snapped = Atoms.of(_evenly(values[present])).snap(values)
            return cls(name, column, kind, found, snapped, present, ())
        present = np.array([text is not None for text in values], dtype=bool)
        vocabulary = tuple(sorted(set(values[present])))
        known = {text: code for code, text in enumerate(vocabulary)}
        codes = np.array([known[text] if text is not None else 0 for text in values], dtype=np.int64)
        return cls(name, column, kind, found, codes, present, vocabulary)


def _fit_rows(
    inputs: Sequence[_Column], detector: Detector, strides: _Strides, probability: float
) -> RowsReference:
    encoding = Encoding(tuple(Place.of(one.name, one.kind, one.values[one.present]) for one in inputs))
    chosen_rows = _evenly(np.arange(len(strides.of_row)), MOST_JOINT_ROWS)
    sample = encoding.matrix(
        ((one.values[chosen_rows], one.present[chosen_rows]) for one in inputs), len(chosen_rows)
    )
    blocks = _of_stretches(detector, sample, _row_blocks(strides.of_row[chosen_rows], strides.whole))
    return RowsReference(
        detector=detector,
        encoding=encoding,
        sample=sample,
        distance=_threshold(blocks, probability, strides),
        distance_noise=blocks.noise,
    )


def _row_blocks(of_row: NDArray[np.int64], strides: int) -> list[NDArray[np.int64]]:
    """Of each block, 1 for a row of it and 0 for another."""
    per_stride = np.bincount(of_row[of_row >= 0], minlength=strides).reshape(-1, 1)
    return [
        ((of_row >= first) & (of_row < first + STEPS)).astype(np.int64) for first in _full_blocks(per_stride)
    ]


def _fit_feature(
    read: _Column, detector: Detector, strides: _Strides, probability: float
) -> FeatureReference:
    values, present = read.values, read.present
    sample: NDArray[Any] = _evenly(values[present])
    if read.kind == "numeric":
        grid = (
            np.unique(np.quantile(sample, np.linspace(0, 1, GRID), method="lower")) if len(sample) else sample
        )
        cells = np.searchsorted(grid, values, side="left").clip(0, max(0, len(grid) - 1))
        values_of_cells = grid
    else:
        cells, values_of_cells = values, np.arange(len(read.vocabulary))
    missing = 1 - float(present.mean()) if len(present) else 0.0
    blocks = _distances(cells, present, values_of_cells, strides, detector)
    rises = _rises(present, strides)
    return FeatureReference(
        name=read.name,
        column=read.column,
        detector=detector,
        type=read.type,
        sample=sample,
        vocabulary=read.vocabulary,
        rows=len(values),
        missing_rate=missing,
        distance=_threshold(blocks, probability, strides),
        distance_noise=blocks.noise,
        rise=_threshold(rises, probability, strides),
        rise_noise=rises.noise,
    )


def _threshold(blocks: _Blocks, probability: float, strides: _Strides) -> Threshold:
    return threshold(blocks.distances, probability, independent_blocks=strides.independent_blocks)


def _distances(
    cells: NDArray[np.int64],
    present: NDArray[np.bool_],
    values: NDArray[Any],
    strides: _Strides,
    detector: Detector,
) -> _Blocks:
    """`values` are those of the cells."""
    size = len(values)
    if not size:
        return _Blocks([], 0.0)
    used = present & (strides.of_row >= 0)
    flat = strides.of_row[used] * size + cells[used]
    per_stride = np.bincount(flat, minlength=strides.whole * size).reshape(strides.whole, size)
    whole = np.bincount(cells[present], minlength=size)
    return _of_stretches(detector, values, _block_sums(per_stride), whole)


def _of_stretches(
    detector: Detector,
    cells: NDArray[Any],
    blocks: Sequence[NDArray[np.int64]],
    whole: NDArray[np.int64] | None = None,
) -> _Blocks:
    """`whole` says how often each cell is in the reference; None: once."""
    whole = np.ones(len(cells), dtype=np.int64) if whole is None else whole
    largest = LARGEST_SHARE * max(1, int(whole.sum()))
    usable = [block for block in blocks if block.sum() <= largest]
    few = np.linspace(0, len(usable) - 1, min(len(usable), detector.stretches)).round().astype(np.int64)
    found = list(detector.of_stretches(cells, (usable[number] for number in few), whole))
    noise = float(np.mean([noise for _, noise in found])) if found else 0.0
    return _Blocks([distance for distance, _ in found], noise)


def _rises(present: NDArray[np.bool_], strides: _Strides) -> _Blocks:
    used = strides.of_row >= 0
    flat = strides.of_row[used] * 2 + ~present[used]
    per_stride = np.bincount(flat, minlength=strides.whole * 2).reshape(strides.whole, 2)
    rate = 1 - float(present.mean()) if len(present) else 0.0
    spread = 2 * float(np.sqrt(rate * (1 - rate)))
    rises, noises = [], []
    for _, missing, rows in ((c[0], int(c[1]), int(c.sum())) for c in _block_sums(per_stride)):
        share = rows / len(present)
        if share <= LARGEST_SHARE:
            rises.append(max(0.0, leave_out(missing / rows - rate, share)))
            noises.append(category_noise(spread, rows, len(present) - rows))
    return _Blocks(rises, float(np.mean(noises)) if noises else 0.0)


def _block_sums(per_stride: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Counts of all blocks of `STEPS` strides, but for those with hardly a row."""
    total = np.vstack([np.zeros_like(per_stride[:1]), np.cumsum(per_stride, axis=0)])
    return [total[first + STEPS] - total[first] for first in _full_blocks(per_stride)]


def _full_blocks(per_stride: NDArray[np.int64]) -> list[int]:
    """First stride of each block that has rows enough."""
    rows = np.append(0, np.cumsum(per_stride.sum(axis=1)))
    if len(rows) <= STEPS:
        return []
    of_block = rows[STEPS:] - rows[:-STEPS]
    least = max(1.0, LEAST_BLOCK_SHARE * float(np.median(of_block)))
    return [int(first) for first in np.flatnonzero(of_block >= least)]


def _strides(times: NDArray[np.int64], window: float) -> _Strides:
    if not len(times):
        raise InvalidDataError("the reference has no rows; train on some")
    stride = window / STEPS
    # The last row is followed by as much time as lies between rows, or ten weeks would count as nine.
    span = float(times[-1] - times[0]) * (1 + 1 / max(1, len(times) - 1)) + 1
    count = int(span // stride)
    of_row = ((times[-1] - times) // stride).astype(np.int64)
    return _Strides(np.where(of_row < count, of_row, -1), count, int(span // window))


def _evenly(values: NDArray[Any], most: int = MOST_ROWS) -> NDArray[Any]:
    """At most so many of the values, evenly spaced in time: every stretch keeps its share, without chance."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(np.int64)]


def _columns(reference: Any) -> Mapping[str, Any]:
    if isinstance(reference, pa.Table):
        return {name: reference[name] for name in reference.column_names}
    if hasattr(reference, "columns") and hasattr(reference, "to_numpy"):
        return {str(name): reference[name].to_numpy() for name in reference.columns}
    return dict(reference)


def _column(columns: Mapping[str, Any], name: str) -> Any:
    if name not in columns:
        raise InvalidDataError(
            f"the reference lacks the column {name!r}; it has {', '.join(sorted(columns))}"
        )
    return columns[name]


def _microseconds(values: Any) -> NDArray[np.int64]:
    times = np.asarray(values)
    if times.dtype == object:
        times = np.array([np.datetime64(_naive(value), "us") for value in times])
    if not np.issubdtype(times.dtype, np.datetime64):
        raise InvalidDataError(f"the time column of the reference is {times.dtype}, not a time")
    return times.astype("datetime64[us]").astype(np.int64)


def _naive(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if getattr(value, "tzinfo", None) else value
