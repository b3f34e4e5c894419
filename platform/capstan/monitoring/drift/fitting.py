"""Fits the reference of a version from its training rows, with thresholds from stretches of those same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from capstan.errors import InvalidDataError
from capstan.features.columns import numbers, texts, type_of
from capstan.features.values import ColumnType
from capstan.features.views import views_of
from capstan.monitoring.drift.calibrated_for import thresholds_are_for
from capstan.monitoring.drift.calibration import (
    Share,
    Threshold,
    false_breach_probability,
    inputs_budget,
    leave_out,
    threshold,
)
from capstan.monitoring.drift.distances import category_noise
from capstan.monitoring.drift.fitting_slices import LARGEST_SHARE, fit_slices
from capstan.monitoring.drift.joint_rows import Encoding, Place
from capstan.monitoring.drift.kinds import Detector, chosen, chosen_of_rows
from capstan.monitoring.drift.online.calibrating import fit_online
from capstan.monitoring.drift.reference import FeatureReference, Reference, RowsReference
from capstan.monitoring.drift.stretches import (
    STEPS,
    Column,
    Strides,
    evenly,
    full_blocks,
    strides_by_rows,
    strides_of,
    usual_length,
)
from capstan.recording.outputs import output_facts
from capstan.recording.payloads import Kind
from capstan.spec import MLSystem
from capstan.tasks import Predictions, Task, task_of

MOST_JOINT_ROWS = 10_000
"""Rows of all features together that a model folder keeps."""
GRID = 2048
"""Points at which cumulated shares are compared during calibration: KS is exact to 1/2048 there."""

Table = Mapping[str, ArrayLike]
Served = Callable[[NDArray[np.int64]], Predictions]


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
    window, lag = spec.monitoring.window, spec.monitoring.reference_lag
    longest, in_order = window.duration.total_seconds() * 1e6, times[order]
    if window.rows is None:
        strides = strides_of(in_order, longest, None if lag is None else lag.total_seconds() * 1e6)
    else:
        strides = strides_by_rows(in_order, window.rows, longest)
    usual = timedelta(microseconds=usual_length(in_order, window.rows, longest))
    outputs = [] if predictions is None else watched_outputs(task_of(spec), predictions)
    drift = spec.monitoring.drift
    together = chosen_of_rows(drift)
    seen = [
        (feature, views_of(feature, spec.data.time_zone, _column(columns, feature.column)))
        for feature in spec.features
    ]
    watched = (
        sum(len(views) or 1 for _, views in seen) + len(outputs) + (together is not None) + drift.slices.alert
    )
    probability = false_breach_probability(
        inputs_budget(spec.monitoring),
        usual,
        watched,
        drift.consecutive,
        step=window.step if window.rows is None else None,
    )
    share = Share(probability, watched)
    detectors = chosen(drift)
    inputs = []
    for feature, views in seen:
        column = _column(columns, feature.column)
        found = type_of(column)
        if views:
            inputs += [
                Column.of(one.name, feature.column, "numeric", found, one.numbers(column)[order], one)
                for one in views
            ]
            continue
        values: NDArray[Any] = (
            numbers(column, feature.column, found) if feature.reading == "numeric" else texts(column, found)
        )
        inputs.append(Column.of(feature.name, feature.column, feature.reading, found, values[order]))
    answers = []
    if predictions is not None:
        for name, kind, values in _as_served(predictions, outputs, order, served):
            found = ColumnType.NUMBER if kind == "numeric" else ColumnType.TEXT
            answers.append(Column.of(f":{name}", name, kind, found, values))
    return Reference(
        tuple(_fit_feature(one, detectors[one.kind], strides, share) for one in inputs),
        tuple(_fit_feature(one, detectors[one.kind], strides, share) for one in answers),
        None if together is None else _fit_rows(inputs, together, strides, share),
        fit_slices(inputs, [detectors[one.kind] for one in inputs], system, strides, share),
        lag,
        # The seed is fixed: the same training rows give the same reference.
        fit_online([*inputs, *answers], in_order, system, rng=np.random.default_rng(0)),
        thresholds_are_for(spec.monitoring),
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
    compared = evenly(np.flatnonzero(sound))
    answered = served(order[compared]) if served is not None and len(compared) else None
    for name, kind in outputs:
        values = np.array(ordered[name], dtype=np.float64 if kind == "numeric" else object)
        if answered is not None:
            values[compared] = answered[name]
        yield name, kind, values


def _fit_rows(inputs: Sequence[Column], detector: Detector, strides: Strides, share: Share) -> RowsReference:
    encoding = Encoding(tuple(Place.of(one.name, one.kind, one.values[one.present]) for one in inputs))
    chosen_rows = evenly(np.arange(len(strides.of_row)), MOST_JOINT_ROWS)
    sample = encoding.matrix(
        ((one.values[chosen_rows], one.present[chosen_rows]) for one in inputs), len(chosen_rows)
    )
    rows = _row_blocks(strides.of_row[chosen_rows], strides.whole)
    if strides.lag is None:
        blocks = _of_stretches(detector, sample, list(rows.values()))
    else:
        blocks = _of_pairs(detector, sample, rows, strides.lag)
    return RowsReference(
        detector=detector,
        encoding=encoding,
        sample=sample,
        distance=_threshold(blocks, share, strides),
        distance_noise=blocks.noise,
    )


def _row_blocks(of_row: NDArray[np.int64], strides: int) -> dict[int, NDArray[np.int64]]:
    """Of each block, by its first stride: 1 for a row of it and 0 for another."""
    per_stride = np.bincount(of_row[of_row >= 0], minlength=strides).reshape(-1, 1)
    return {
        first: ((of_row >= first) & (of_row < first + STEPS)).astype(np.int64)
        for first in full_blocks(per_stride)
    }


def _fit_feature(read: Column, detector: Detector, strides: Strides, share: Share) -> FeatureReference:
    values, present = read.values, read.present
    sample: NDArray[Any] = evenly(values[present])
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
        view=read.view,
        rows=len(values),
        missing_rate=missing,
        distance=_threshold(blocks, share, strides),
        distance_noise=blocks.noise,
        rise=_threshold(rises, share, strides),
        rise_noise=rises.noise,
    )


def _threshold(blocks: _Blocks, share: Share, strides: Strides) -> Threshold:
    return threshold(
        blocks.distances,
        share.probability,
        independent_blocks=strides.independent_blocks,
        columns=share.columns,
    )


def _distances(
    cells: NDArray[np.int64],
    present: NDArray[np.bool_],
    values: NDArray[Any],
    strides: Strides,
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
    blocks = _block_sums(per_stride)
    if strides.lag is not None:
        return _of_pairs(detector, values, blocks, strides.lag)
    return _of_stretches(detector, values, list(blocks.values()), whole)


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


def _of_pairs(
    detector: Detector, cells: NDArray[Any], blocks: Mapping[int, NDArray[np.int64]], lag: int
) -> _Blocks:
    """Each block beside the one that lies `lag` strides before it; `blocks` by first stride, back from the newest."""
    pairs = [(block, blocks[first + lag]) for first, block in blocks.items() if first + lag in blocks]
    few = np.linspace(0, len(pairs) - 1, min(len(pairs), detector.stretches)).round().astype(np.int64)
    distances, noises = [], []
    for block, earlier in (pairs[number] for number in few):
        if block.any() and earlier.any():
            distances.append(detector.from_rest(cells, block, block + earlier))
            noises.append(detector.noise_of_block(cells, block, block + earlier))
    return _Blocks(distances, float(np.mean(noises)) if noises else 0.0)


def _rises(present: NDArray[np.bool_], strides: Strides) -> _Blocks:
    used = strides.of_row >= 0
    flat = strides.of_row[used] * 2 + ~present[used]
    per_stride = np.bincount(flat, minlength=strides.whole * 2).reshape(strides.whole, 2)
    rate = 1 - float(present.mean()) if len(present) else 0.0
    spread = 2 * float(np.sqrt(rate * (1 - rate)))
    rises, noises = [], []
    for _, missing, rows in ((c[0], int(c[1]), int(c.sum())) for c in _block_sums(per_stride).values()):
        share = rows / len(present)
        if share <= LARGEST_SHARE:
            rises.append(max(0.0, leave_out(missing / rows - rate, share)))
            noises.append(category_noise(spread, rows, len(present) - rows))
    return _Blocks(rises, float(np.mean(noises)) if noises else 0.0)


def _block_sums(per_stride: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Counts of all blocks of `STEPS` strides, by their first, but for those with hardly a row."""
    total = np.vstack([np.zeros_like(per_stride[:1]), np.cumsum(per_stride, axis=0)])
    return {first: total[first + STEPS] - total[first] for first in full_blocks(per_stride)}


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
