"""Finds features that know what is only known after the prediction.

Two signs are certain. A value that is missing just where the case never got a label was written when the case ended
(a cancelled flight has no departure delay). And a feature that alone tells every label is the label in disguise. One
that tells nearly every label may be a leak, or a good feature: that is told and not refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.mapped_tables import filtered
from capstan.errors import LeakageError
from capstan.features.columns import codes, numbers
from capstan.features.dates import NO_PART, parts_of_column
from capstan.spec.features import Feature
from capstan.spec.system import MLSystem
from capstan.spec.tasks import TASK_FACTS
from capstan.tasks import task_of
from capstan.tasks.disclosure import of_orders
from capstan.tasks.metric import numbered

SUSPICIOUS = 0.98
CERTAIN = 1 - 1e-12
"""Of what a feature may give away of the label, as its task measures it."""
_FEWEST_ROWS = 100
"""For the suspicion: fewer rows say little."""
LEAST_UNLABELLED = 30
"""Fewer cases without a label say nothing about where values are missing."""
MISSING_WITHOUT_LABEL = 0.5
MISSING_WITH_LABEL = 0.01
_MOST_ROWS = 100_000
_BINS = 64
_MOST_ADDED = 10_000
"""Rows that a sum is looked for in."""
_EXACT = 1e-6
"""Of the label's standard deviation."""
_ALIKE = 1e-4
"""Weights of columns that differ by less than this, relative to the largest, are one unit."""
MORE_THAN_ONE = 2


@dataclass(frozen=True)
class Leak:
    """One suspicious feature and what gave it away."""

    feature: str
    column: str
    reason: str
    is_certain: bool = True
    """Whether training is refused; else it is told only."""

    def __str__(self) -> str:
        return f"feature {self.feature!r} (column {self.column!r}) {self.reason}"


def find_leaks(table: pa.Table, system: MLSystem, *, as_of: datetime | None = None) -> tuple[Leak, ...]:
    """The features of an extracted table that look as if they were written after the prediction.

    `as_of` leaves out cases whose labels may still come. What `data.leaks.allow` names is not looked at.
    """
    data = system.spec.data
    if as_of is not None and data.keys.time is not None:
        old = pa.scalar(as_of - data.label.maximum_delay, pa.timestamp("us", "UTC"))
        table = filtered(table, pc.less_equal(table[data.keys.time], old))
    leaks: dict[str, Leak] = {}
    for target in system.spec.targets if data.has_label else ():
        for found in _leaks_of(target, table, system):
            # Nothing is learnt from a label that only judges, and what tells anomalies alone is what people look for.
            leak = found if system.spec.task_facts.needs_labels else replace(found, is_certain=False)
            known = leaks.get(leak.feature)
            if known is None or (leak.is_certain and not known.is_certain):
                leaks[leak.feature] = leak
    return tuple(leaks[feature.name] for feature in system.spec.features if feature.name in leaks)


@dataclass(frozen=True)
class ToldAlone:
    """How much one feature tells of the label by itself."""

    feature: str
    measure: str
    """What `share` is, in words."""
    share: float


def told_alone(table: pa.Table, system: MLSystem) -> tuple[ToldAlone, ...]:
    """What each feature of an extracted table tells of the label by itself, the one that tells most first."""
    target = system.spec.objective.target
    sample = _spaced(table, target)
    if not sample.num_rows:
        return ()
    task = task_of(system.spec)
    truth = task.label.truth(sample[target].to_numpy(zero_copy_only=False))
    found = []
    for feature in system.spec.features:
        with np.errstate(all="ignore"):
            share = max(
                task.disclosed(truth, *look)
                for look in _looks_at(sample, feature, system.spec.data.time_zone)
            )
        if np.isfinite(share):
            found.append(ToldAlone(feature.name, task.disclosure, float(share)))
    return tuple(sorted(found, key=lambda one: -one.share))


def parts_of_label(table: pa.Table, system: MLSystem) -> tuple[str, ...]:
    """The columns of numbers whose sum is the label, some of them subtracted, in any common unit.

    Empty where the label is no number, or where no sum of several columns is exact in every row. Columns of different
    weights are none: a straight line without noise, as textbooks have it, is worth learning.
    """
    spec = system.spec
    target = spec.objective.target
    if TASK_FACTS[spec.objective.task].label != "Number":
        return ()
    sample = _spaced(table, target)
    named = [feature.column for feature in spec.features if feature.reading == "numeric"]
    columns = {name: numbers(sample[name], name) for name in dict.fromkeys(named)}
    columns = {name: values for name, values in columns.items() if _varies(values)}
    truth = numbers(sample[target], target)
    if len(columns) < MORE_THAN_ONE or len(truth) < max(_FEWEST_ROWS, 4 * len(columns)) or not _varies(truth):
        return ()
    scaled = np.column_stack(
        [np.ones(len(truth)), *((values - values.mean()) / values.std() for values in columns.values())]
    )
    half, aim = len(truth) // 2, (truth - truth.mean()) / truth.std()
    weights = np.linalg.lstsq(scaled[:half], aim[:half], rcond=None)[0]
    if np.abs(scaled[half:] @ weights - aim[half:]).max() > _EXACT:
        return ()
    parts = {
        name: abs(weight) / values.std()
        for (name, values), weight in zip(columns.items(), weights[1:], strict=True)
        if abs(weight) > _EXACT
    }
    if len(parts) < MORE_THAN_ONE or np.ptp([*parts.values()]) > _ALIKE * max(parts.values()):
        return ()
    return tuple(parts)


def _spaced(table: pa.Table, target: str) -> pa.Table:
    """At most so many of the labelled rows, evenly spaced."""
    labelled = np.flatnonzero(pc.is_valid(table[target]).to_numpy(zero_copy_only=False))
    return table.take(labelled[:: max(1, -(-len(labelled) // _MOST_ADDED))])


def _varies(values: npt.NDArray[np.float64]) -> bool:
    """Whether all are finite, not all the same, and none so large that their spread is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(len(values) and np.isfinite(values.std()) and np.ptp(values))


def _leaks_of(target: str, table: pa.Table, system: MLSystem) -> Iterator[Leak]:
    """Of the features, those that know the target: all of the system's, else those of the models that learn it."""
    spec = system.spec
    labelled = filtered(table, pc.is_valid(table[target]))
    unlabelled = _without_label(table, labelled, target, system)
    step = max(1, -(-labelled.num_rows // _MOST_ROWS))
    sample = labelled.take(np.arange(0, labelled.num_rows, step))
    task = task_of(spec)
    truth = task.label.truth(sample[target].to_numpy(zero_copy_only=False))
    grouping = spec.data.keys.group
    groups = None if grouping is None else numbered(sample[grouping].to_numpy().astype(str))
    looked_at = {
        feature.name
        for model in spec.planned_models
        if target in (model.target, spec.data.label.column)
        for feature in model.features
    }
    whose = "" if target == spec.data.label.column else f" of {target!r}"
    for feature in spec.features:
        if feature.name in spec.data.leaks.allow or feature.name not in looked_at:
            continue
        reason, is_certain = None, True
        if feature.column in (*spec.targets, spec.data.label.available_at):
            reason = "is the label itself or the moment it became known"
        if reason is None and unlabelled.num_rows >= LEAST_UNLABELLED and labelled.num_rows:
            reason = _missing_without_label(labelled[feature.column], unlabelled[feature.column], whose)
        if reason is None:
            looks = list(_looks_at(sample, feature, spec.data.time_zone))
            # Numbers near the largest that a float holds have no variance; what is no number tells nothing.
            with np.errstate(all="ignore"):
                found = max(task.disclosed(truth, *look) for look in looks) if len(truth) else 0.0
                ordered = 0.0
                if groups is not None and len(truth):
                    ordered = max(of_orders(truth, *look, groups) for look in looks)
            if found > CERTAIN:
                reason = f"alone tells every label{whose} of {len(truth):,} rows"
            elif found > SUSPICIOUS and len(truth) >= _FEWEST_ROWS:
                is_certain = False
                reason = (
                    f"alone tells the label{whose} with {task.disclosure} {found:.3f} on {len(truth):,} rows"
                )
            elif ordered > SUSPICIOUS:
                is_certain = False
                reason = (
                    f"alone puts the rows of each group in the order of the label, on {len(truth):,} rows"
                )
        if reason is not None:
            yield Leak(feature.name, feature.column, reason, is_certain)


def _without_label(table: pa.Table, labelled: pa.Table, target: str, system: MLSystem) -> pa.Table:
    """Cases that got no label while others did: rows from before labels were kept may lack features for that reason."""
    missing = pc.is_null(table[target])
    time = system.spec.data.keys.time
    if not labelled.num_rows or time is None:
        return filtered(table, missing)
    first = pc.min(labelled[time])
    return filtered(table, pc.and_(missing, pc.greater_equal(table[time], first)))


def refuse_leaks(table: pa.Table, system: MLSystem, *, as_of: datetime | None = None) -> tuple[Leak, ...]:
    """The features that are suspicious only; raises LeakageError that names every one that is certain."""
    leaks = find_leaks(table, system, as_of=as_of)
    certain = [leak for leak in leaks if leak.is_certain]
    if certain:
        listed = "; ".join(map(str, certain))
        names = ", ".join(leak.feature for leak in certain)
        raise LeakageError(
            f"features: {listed}. Such a value is only known after the prediction: drop the feature, or use in "
            f"data.query what was known before. If it is known at the prediction, say so: "
            f"`data: {{leaks: {{allow: [{names}]}}}}`"
        )
    return leaks


def _missing_without_label(labelled: pa.ChunkedArray, unlabelled: pa.ChunkedArray, whose: str) -> str | None:
    without = unlabelled.null_count / len(unlabelled)
    with_label = labelled.null_count / len(labelled)
    if without >= MISSING_WITHOUT_LABEL and with_label <= MISSING_WITH_LABEL:
        return (
            f"is missing in {without:.0%} of the cases that never got a label{whose} and in {with_label:.1%} of the "
            "others, so it is written with the outcome"
        )
    return None


def _looks_at(
    sample: pa.Table, feature: Feature, zone: str
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64] | None]]:
    """The feature's groups, and its numbers if it has any; of a moment the groups of each part."""
    if feature.date is None:
        yield _looked_at(sample, feature)
    else:
        for part in parts_of_column(sample[feature.column], zone, feature.date.parts).T:
            yield part - NO_PART, None


def _looked_at(
    sample: pa.Table, feature: Feature
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64] | None]:
    """The feature's groups, and its numbers if it has any."""
    column = sample[feature.column]
    values = numbers(column, feature.column) if feature.reading == "numeric" else None
    return _groups(values, column), values


def _groups(values: npt.NDArray[np.float64] | None, column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The bin of each number, or the code of each category; missing values are a group of their own."""
    if values is None:
        order: dict[str | None, int] = {}
        return codes(column, lambda text: order.setdefault(text, len(order))).astype(np.int64)
    present = values[~np.isnan(values)]
    if not present.size:
        return np.zeros(len(values), dtype=np.int64)
    # Between two numbers of opposite sign near the largest of a float, its difference is infinite.
    with np.errstate(all="ignore"):
        edges = np.unique(np.quantile(present, np.linspace(0, 1, _BINS + 1)[1:-1]))
    found = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    return found.astype(np.int64)
