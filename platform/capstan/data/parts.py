"""The labelled cases of a training in their three parts, and what is wrong with how they fall."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data import split as splits
from capstan.data.crossing import Crossings, crossing_warnings, crossings
from capstan.data.extraction import trainable
from capstan.data.folds import Folds, fold
from capstan.data.split import Indices, Parts, by_time, part_starts
from capstan.data.units import drawn_units, rows_without_group
from capstan.errors import InvalidDataError
from capstan.spec.data import CLASSES
from capstan.spec.system import MLSystem
from capstan.spec.tasks import TASK_FACTS
from capstan.spec.units import format_duration
from capstan.tasks import task_of
from capstan.tasks.labels import MOST_TOLD, Tally

MOST_HELD_OUT = 0.5
"""Share of the cases beyond which it is told that the last days leave little to learn from."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Part:
    """One part of the labelled cases."""

    name: str
    """`training`, `validation` or `test`."""
    start: datetime | None
    end: datetime | None
    """Both None: rows are drawn, and have no time."""
    rows: int
    labels: Tally
    unlabelled: int
    """Cases of the same time that have no label."""

    def __str__(self) -> str:
        until = (
            "drawn" if self.start is None else f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
        )
        none = f", and {self.unlabelled:,} cases without a label" if self.unlabelled else ""
        return f"{self.name} ({until}) has {self.rows:,} labels, {self.labels.words}{none}"


@dataclass(frozen=True)
class PartedCases:
    """Trainable cases, which of them train, choose and judge, and what there is to say about it."""

    table: pa.Table
    parts: Parts
    until: datetime | None
    """End of the test; earlier than the moment of the training where recorded data ended long before. None: rows are
    drawn, and have no time."""
    training: Part
    validation: Part
    test: Part
    warnings: tuple[str, ...]
    crossings: Crossings
    """What the parts share."""
    folds: Folds | None = None
    """Of training and validation; None: the file asks for none."""

    @property
    def held_out(self) -> float:
        """Share of the cases that choose and judge."""
        held_out: float = (self.validation.rows + self.test.rows) / self.table.num_rows
        return held_out


def part_cases(cases: pa.Table, system: MLSystem, *, as_of: datetime) -> PartedCases:
    """The extracted `cases` of `as_of`, those that can be learnt from parted by `data.split`.

    Raises InvalidDataError where a part is empty, or has labels that are all the same and needs different ones, and
    where no model can be made of the labels.
    """
    data = system.spec.data
    table = trainable(cases, as_of, system)
    label = task_of(system.spec).label
    truth = label.truth(table[data.label.column].to_numpy(zero_copy_only=False))
    wrong = label.tally(truth).wrong
    if wrong:
        raise InvalidDataError(f"data.label.column: {data.label.column!r} has {wrong}")
    if data.keys.time is None:
        return _drawn(cases, table, truth, system)
    times = _times(table, data.keys.time)
    newest_label = as_of - data.settled_after
    split = data.split.by_time
    until = last_judged(times, newest_label, split.test)
    parts = by_time(times, until=until, validation=split.validation, test=split.test, zone=data.time_zone)
    validation_start, test_start = part_starts(
        until, validation=split.validation, test=split.test, zone=data.time_zone
    )
    first: datetime = times.min().astype("datetime64[us]").item().replace(tzinfo=UTC)
    unlabelled_cases = cases.select([data.keys.time]).filter(pc.is_null(cases[data.label.column]))
    missing = _times(unlabelled_cases, data.keys.time)

    def part(name: str, rows: Indices, start: datetime, end: datetime) -> Part:
        within = (missing >= _utc(start)) & (missing < _utc(end))
        # Where rows without a label are learnt from, the tally says how many they are.
        unlabelled = int(within.sum()) if system.spec.task_facts.needs_labels else 0
        return Part(name, start, end, len(rows), label.tally(truth[rows]), unlabelled)

    training = part("training", parts.training, first, validation_start)
    validation = part("validation", parts.validation, validation_start, test_start)
    test = part("test", parts.test, test_start, until)
    _require_different_labels(training, validation, system)
    found = crossings(table, parts, system)
    folds = _folds(parts, times, truth, system)
    warnings = (
        *_warnings(training, validation, test, system),
        *crossing_warnings(found, system, field=_field(system)),
    )
    return PartedCases(table, parts, until, training, validation, test, warnings, found, folds)


def _drawn(cases: pa.Table, table: pa.Table, truth: npt.NDArray[np.generic], system: MLSystem) -> PartedCases:
    """Parts of rows that have no time; rows that are alike, and those of one group, are drawn together."""
    kind, shares = system.spec.drawn_split
    units = drawn_units(table, system)
    _, first = np.unique(units, return_index=True)
    lengths = {"validation": shares.validation, "test": shares.test}
    match kind:
        case "stratified":
            drawn = splits.stratified(truth[first], **lengths, seed=shares.seed)
        case "group":
            drawn = splits.of_groups(np.bincount(units), **lengths, seed=shares.seed)
        case _:
            drawn = splits.random(len(first), **lengths, seed=shares.seed)
    parts = splits.together(drawn, units)
    label = task_of(system.spec).label
    unlabelled = cases.num_rows - table.num_rows
    found = []
    for name in ("training", "validation", "test"):
        rows = getattr(parts, name)
        if not len(rows):
            raise InvalidDataError(
                f"data.split.{kind}: no row is drawn for {name} of {len(first):,} "
                f"{'groups' if kind == 'group' else 'rows that differ'}; train on more "
                "rows, or make the shares of validation and test larger"
            )
        found.append(Part(name, None, None, len(rows), label.tally(truth[rows]), 0))
    training, validation, test = found
    _require_different_labels(training, validation, system)
    shared = crossings(table, parts, system)
    folds = _folds(parts, units, truth, system)
    warnings = [
        *_of_classes(training, validation, test, system),
        *crossing_warnings(shared, system, field=_field(system)),
    ]
    if unlabelled and system.spec.task_facts.needs_labels:
        warnings.append(
            f"data.label.column: {unlabelled:,} rows have no label, and nothing is learnt from them"
        )
    alike = table.num_rows - len(first)
    if kind == "group":
        warnings += rows_without_group(table, system)
    elif alike and system.spec.data.keys.group is None:
        warnings.append(
            f"data: {alike:,} of {table.num_rows:,} rows repeat another one; those that are alike are in one part, so "
            "that no model is judged on a row that it has learnt"
        )
    return PartedCases(table, parts, None, training, validation, test, tuple(warnings), shared, folds)


def _folds(
    parts: Parts, units: npt.NDArray[Any], truth: npt.NDArray[np.generic], system: MLSystem
) -> Folds | None:
    """The folds of training and validation, if the file asks for some; raises InvalidDataError for folds that say
    nothing."""
    spec, count = system.spec, system.spec.training.choose.folds
    if count is None:
        return None
    kind, shares = spec.drawn_split
    label = task_of(spec).label
    rows = np.sort(np.concatenate([parts.training, parts.validation]))
    folds = fold(
        "byTime" if spec.data.keys.time is not None else kind,
        count,
        rows,
        of=len(truth),
        units=units[rows],
        labels=truth[rows] if spec.task_facts.label in CLASSES and spec.task_facts.needs_labels else None,
        seed=shares.seed,
    )
    metric = spec.task_facts.metric(spec.training.choose.metric)
    for number, (learns, judged) in enumerate(folds, 1):
        tallies = {"learns from": label.tally(truth[learns]), "judges": label.tally(truth[judged])}
        needs = {"learns from": spec.task_facts.needs_labels, "judges": metric.needs_classes}
        for word, tally in tallies.items():
            if needs[word] and tally.is_constant:
                rows_of = learns if word == "learns from" else judged
                raise InvalidDataError(
                    f"training.choose.folds: fold {number} of {count} {word} {len(rows_of):,} rows with the labels "
                    f"{tally.words}, and different ones are needed; write fewer folds, or train on more rows"
                )
    return folds


def last_judged(times: npt.NDArray[np.datetime64], until: datetime, test: timedelta) -> datetime:
    """The end of the test; where recorded data ended before the test would begin, the moment of its last case."""
    if not len(times):
        return until
    newest: datetime = times.max().astype("datetime64[us]").item().replace(tzinfo=UTC)
    return newest if newest < until - test else until


def _require_different_labels(training: Part, validation: Part, system: MLSystem) -> None:
    facts = system.spec.task_facts
    metric = facts.metric(system.spec.training.choose.metric)
    needs_them = facts.needs_labels and training.labels.is_constant
    wrong = [(training, "a model needs different labels to learn from")] if needs_them else []
    if validation.labels.is_constant and metric.needs_classes:
        wrong.append((validation, f"training.choose.metric {metric.name} needs different ones"))
    if wrong:
        listed = "; ".join(f"{part}: {why}" for part, why in wrong)
        raise InvalidDataError(
            f"{_field(system)}: {listed}. {_ways_out(system, [part for part, _ in wrong])}"
        )


def _field(system: MLSystem) -> str:
    return f"data.split.{'byTime' if system.spec.data.keys.time is not None else system.spec.drawn_split[0]}"


def _ways_out(system: MLSystem, parts: list[Part]) -> str:
    facts, names = TASK_FACTS[system.spec.objective.task], [part.name for part in parts]
    if system.spec.data.keys.time is None:
        way = "Train on more rows, or make the share of the part larger"
        metric = facts.chosen_without_labels
        return f"{way}, or choose by {metric}" if metric and "validation" in names else way
    delay = format_duration(system.spec.data.label.maximum_delay)
    split = system.spec.data.split.by_time
    ways = [
        f"If some labels come later than others, data.label.maximumDelay ({delay}) is too short: "
        "write the longest time that a label takes"
    ]
    if "validation" in names:
        length = format_duration(split.validation)
        metric = facts.chosen_without_labels or facts.compared_by
        ways.append(
            f"if other labels are rare, lengthen data.split.byTime.validation ({length}), or choose by {metric}"
        )
    if "training" in names:
        ways.append(
            "if the table is short, shorten data.split.byTime.validation and test, or train on more days"
        )
    return "; ".join(ways)


def _warnings(training: Part, validation: Part, test: Part, system: MLSystem) -> Iterator[str]:
    rows = training.rows + validation.rows + test.rows
    held_out = (validation.rows + test.rows) / rows
    split = system.spec.data.split
    if held_out > MOST_HELD_OUT and test.end is not None and training.start is not None:
        lengths = [format_duration(one) for one in (split.by_time.validation, split.by_time.test)]
        shorter = _shorter(test.end - training.start)
        yield (
            f"data.split.byTime: validation {lengths[0]} and test {lengths[1]} take {held_out:.0%} of the {rows:,} "
            f"labelled cases, so that candidates learn from {training.rows:,}"
            + (" (the chosen one learns from all of them in the end)" if split.refit else "")
            + f"; `split: {{byTime: {{validation: {shorter[0]}, test: {shorter[1]}}}}}` takes about 30%"
        )
    yield from _of_classes(training, validation, test, system)


def _of_classes(training: Part, validation: Part, test: Part, system: MLSystem) -> Iterator[str]:
    field = _field(system)
    for part in (validation, test) if system.spec.data.has_label else ():
        if part.labels.is_constant:
            yield (
                f"{field}: {part}: what needs different labels can't be measured there. "
                + _ways_out(system, [part])
            )
            continue
        if not system.spec.task_facts.needs_labels:
            # What is learnt does not depend on the labels of the training rows.
            continue
        absent = [name for name in training.labels.classes if name not in part.labels.classes]
        if absent:
            yield (
                f"{field}: {part.name} has no row of {_listed(absent)}: what is measured there says nothing "
                "about it"
            )
        unknown = [name for name in part.labels.classes if name not in training.labels.classes]
        if unknown:
            counts = {name: int(part.labels.counts[name]) for name in unknown}
            yield (
                f"{field}: {part.name} has {sum(counts.values()):,} labels of {_listed(unknown)}, which no "
                "training row has: no candidate can answer them, and each counts as a miss with the largest loss"
            )


def _listed(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - MOST_TOLD} more classes" if len(classes) > MOST_TOLD else ""
    return ", ".join(repr(name) for name in classes[:MOST_TOLD]) + more


def _shorter(span: timedelta) -> tuple[str, str]:
    """Lengths of validation and test that take a tenth and a fifth of the time."""
    unit = (
        _DAY
        if span >= 10 * _DAY
        else timedelta(hours=1)
        if span >= timedelta(hours=10)
        else timedelta(minutes=1)
    )
    lengths = [unit * max(1, math.floor(span * share / unit)) for share in (0.1, 0.2)]
    return format_duration(lengths[0]), format_duration(lengths[1])


def _times(table: pa.Table, column: str) -> npt.NDArray[np.datetime64]:
    naive = table[column].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    times: npt.NDArray[np.datetime64] = naive.to_numpy()
    return times


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
