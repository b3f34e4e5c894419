"""Metrics of a task over a table of predictions, each with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.evaluation.bootstrap import Measured, day_weights, measured
from capstan.evaluation.offline.columns import Column, PredictionTable, prediction_table
from capstan.evaluation.offline.measured import CONFIDENCE, RESAMPLES, Evaluation, Figure
from capstan.evaluation.slices import slice_metrics
from capstan.tasks import Learnt, Metric, Predictions, Task, learnt_from
from capstan.tasks.metric import Groups, Truth, Weights, numbered
from capstan.tasks.probabilities import TOLERANCE

BLOCKS = 500
"""Into so many parts rows without times are dealt at random; parts are drawn with replacement.

Drawing parts says the same as drawing rows once there are many of either, and costs memory for parts alone.
"""
_WEIGHTED_RESAMPLES = 200
"""Weights of rows go through the whole metric each time."""
_LEAST_BLOCKS = 2


@dataclass(frozen=True)
class Asked:
    """Which column of a table is what."""

    path: Path
    label: str
    prediction: str
    """Of several classes what the names of the columns begin with, before a dot and the class."""
    group: str | None = None
    weight: str | None = None
    time: str | None = None
    slices: tuple[str, ...] = ()
    zone: str = "UTC"
    threshold: float | None = None
    """Above which score a row is flagged; None: so that the task's usual share of the rows is."""


def evaluate_rows(task: Task, asked: Asked, *, seed: int) -> Evaluation:
    """All metrics of the task; raises NotFoundError, InvalidDataError."""
    rng = np.random.default_rng(seed)
    texts = {"Category": [asked.label], "Cluster": [asked.label, asked.prediction]}.get(task.facts.label, [])
    with prediction_table(asked.path, zone=asked.zone, texts=[*texts, *asked.slices]) as table:
        if asked.threshold is None and task.facts.flagged_share is not None:
            # Of all rows: those that somebody has labelled are often the unusual ones.
            scores = table.numbers(Column("--prediction", asked.prediction))
            asked = replace(asked, threshold=learnt_from(task, scores, None).threshold)
        left_out = table.with_label(Column("--label", asked.label), task.label)
        truth = task.label.truth(table.labels())
        groups = None if asked.group is None else _groups(table, asked.group)
        predictions = _predictions(task, table, asked, truth, groups)
        weights = None if asked.weight is None else _weights(table, asked.weight)
        days = None if asked.time is None else table.days(Column("--time", asked.time))
        slices = {name: table.texts(Column("--slice", name)) for name in asked.slices}
    blocks = random_blocks(len(truth), groups, rng) if days is None else days
    figures = tuple(
        _figure(metric, truth, predictions, groups, weights, blocks, rng) for metric in task.metrics.values()
    )
    details = task.details(truth, predictions, groups)
    if weights is not None:
        notes = [*details.get("notes", ()), f"tables count rows, whatever their {asked.weight}"]
        details = {**details, "notes": notes}
    return Evaluation(
        task.facts.name,
        len(truth),
        left_out,
        drawn_by(days, groups, blocks),
        figures,
        slice_metrics(task, slices, truth, predictions, groups, weights) if slices else (),
        details,
    )


def drawn_by(days: npt.NDArray[np.int64] | None, groups: Groups | None, blocks: npt.NDArray[np.int64]) -> str:
    """What is drawn with replacement, in words."""
    if days is not None:
        return f"{len(np.unique(days)):,} days"
    return f"{len(np.unique(blocks)):,} random parts of the {'rows' if groups is None else 'groups'}"


def _groups(table: PredictionTable, column: str) -> Groups:
    names = table.texts(Column("--group", column))
    for row, name in enumerate(names, start=1):
        if name is None:
            raise InvalidDataError(
                f"--group: labelled row {row} has no {column}; name the group of every row"
            )
    return numbered(np.array(names, dtype=np.str_))


def _weights(table: PredictionTable, column: str) -> Weights:
    found = table.numbers(Column("--weight", column))
    if (found < 0).any():
        raise InvalidDataError(f"--weight: {column} goes down to {found.min():g}; a weight is at least 0")
    if not found.any():
        raise InvalidDataError(f"--weight: {column} is 0 in every row; some row must count")
    return found


def _predictions(
    task: Task, table: PredictionTable, asked: Asked, truth: Truth, groups: Groups | None
) -> Predictions:
    option = "--prediction"
    if task.facts.label == "Cluster":
        return _clusters(task, table, asked)
    if task.facts.label != "Category":
        scores = table.numbers(Column(option, asked.prediction))
        predictions = task.predictions(scores, learnt_from(task, scores, asked.threshold), groups)
        _require_sound(task, scores, predictions, asked.prediction)
        return predictions
    prefix = f"{asked.prediction}."
    classes = tuple(name.removeprefix(prefix) for name in table.names if name.startswith(prefix))
    if len(classes) < 2:
        raise InvalidDataError(
            f"{option}: {asked.path.name} has {len(classes)} columns that begin with {prefix!r}; it needs one for each "
            f"class, such as {prefix}{truth[0]}"
        )
    unknown = sorted({str(one) for one in truth} - set(classes))
    if unknown:
        raise InvalidDataError(
            f"--label: {asked.label} says {unknown[0]!r}, and there is no column {prefix}{unknown[0]}; each class "
            "needs its probability"
        )
    scores = np.stack([table.numbers(Column(option, f"{prefix}{name}")) for name in classes], axis=1)
    sums = scores.sum(axis=1)
    odd = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if len(odd):
        raise InvalidDataError(
            f"{option}: probabilities of labelled row {odd[0] + 1} sum to {sums[odd[0]]:.6g}; those of a row make 1 "
            "together"
        )
    predictions = task.predictions(scores, Learnt(classes), groups)
    _require_sound(task, scores, predictions, asked.prediction)
    return predictions


def _clusters(task: Task, table: PredictionTable, asked: Asked) -> Predictions:
    """Clusters by their names; the numbers of an answer where the table has them, as `capstan predict` writes them."""
    names = table.texts(Column("--prediction", asked.prediction))
    for row, name in enumerate(names, start=1):
        if not name:
            raise InvalidDataError(
                f"--prediction: labelled row {row} has no {asked.prediction}; name the cluster of every row"
            )
    numbers = {
        one.name: table.numbers(Column("--prediction", one.name))
        if one.name in table.names
        else np.full(len(names), np.nan)
        for one in task.facts.outputs
        if one.kind == "Number"
    }
    return Predictions({task.facts.answered: np.array(names, dtype=np.str_), **numbers})


def _require_sound(
    task: Task, scores: npt.NDArray[np.float64], predictions: Predictions, column: str
) -> None:
    odd = np.flatnonzero(task.unsound(predictions))
    if len(odd):
        shown = scores[odd[0]]
        raise InvalidDataError(
            f"--prediction: {column} of labelled row {odd[0] + 1} is {shown}; it must be {task.sound}"
        )


def random_blocks(rows: int, groups: Groups | None, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(rows,): the part of each row; rows of a group are in one part."""
    units = rows if groups is None else int(groups.max()) + 1
    part: npt.NDArray[np.int64] = rng.permutation(units) % min(units, BLOCKS)
    return part if groups is None else part[groups]


def _figure(
    metric: Metric,
    truth: Truth,
    predictions: Predictions,
    groups: Groups | None,
    weights: Weights | None,
    blocks: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Figure:
    settled = predictions.settled()
    found: Measured | None
    if weights is None:
        found = measured(metric, truth, settled, blocks, rng=rng, resamples=RESAMPLES, groups=groups)
    else:
        found = _weighted(metric, truth, settled, weights, blocks, rng)
    facts = metric.facts
    if found is None:
        return Figure(facts.name, facts.title, facts.direction, math.nan, math.nan, math.nan)
    low = high = math.nan
    if found.days >= _LEAST_BLOCKS and len(found.resampled):
        low, high = (found.bound(share) for share in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Figure(
        facts.name, facts.title, facts.direction, found.value, low, high, _bounded(metric, truth, settled)
    )


def _bounded(metric: Metric, truth: Truth, predictions: Predictions) -> str:
    clipped = 0 if metric.clipped is None else int(metric.clipped(truth, predictions).sum())
    return f"losses of {clipped:,} rows were bounded, so that none decides alone" if clipped else ""


def _weighted(
    metric: Metric,
    truth: Truth,
    predictions: Predictions,
    weights: Weights,
    blocks: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Measured | None:
    value = metric.value(truth, predictions, None, weights)
    if not math.isfinite(value):
        return None
    names, place = np.unique(blocks, return_inverse=True)
    place = place.reshape(-1)
    drawn = np.array(
        [
            metric.value(truth, predictions, None, weights * times[place])
            for times in day_weights(len(names), rng=rng, resamples=_WEIGHTED_RESAMPLES)
        ]
    )
    return Measured(value, drawn[np.isfinite(drawn)], len(names))
