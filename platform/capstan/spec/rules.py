"""Rules between fields: what each field alone may say, but not together with another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from capstan.spec.document import Location
from capstan.spec.metrics import METRICS, PAIRED_LOSSES
from capstan.spec.units import format_bytes, format_cores, format_duration

if TYPE_CHECKING:
    from capstan.spec.rollout import Rollout
    from capstan.spec.system import MLSystemSpec
    from capstan.spec.training import Resources

UNKNOWN = "\ufffd"
"""Stands for a column that could not be read, while the rest of the file is checked."""
DAY = timedelta(days=1)
LEAST_BLOCKS_OF_A_VERDICT = 7
"""A comparison of fewer closed blocks has no finite bound."""


_NAMED_LISTS: tuple[tuple[str, ...], ...] = (
    ("data", "sources"),
    ("features",),
    ("training", "candidates"),
    ("rollout", "analyses"),
    ("evaluation", "slices"),
)


@dataclass(frozen=True)
class Finding:
    """A broken rule: where, and what to do."""

    location: Location
    message: str


def broken_rules(spec: MLSystemSpec) -> list[Finding]:
    """All broken rules of a system whose fields are valid one by one."""
    return [
        *_unique_names(spec),
        *_label(spec),
        *_leakage(spec),
        *_checks(spec),
        *_metrics(spec),
        *_training(spec),
        *_steps(spec.rollout),
        *_analyses(spec.rollout),
        *_deadlines(spec),
        *_retraining(spec),
        *_replay(spec),
    ]


def _unique_names(spec: MLSystemSpec) -> list[Finding]:
    return repeated_names(
        {
            "data": {"sources": [{"name": source.name} for source in spec.data.sources]},
            "features": [{"name": feature.name} for feature in spec.features],
            "training": {"candidates": [{"name": candidate.name} for candidate in spec.training.candidates]},
            "rollout": {"analyses": [{"name": analysis.name} for analysis in spec.rollout.analyses]},
            "evaluation": {"slices": spec.evaluation.slices},
        }
    )


def repeated_names(spec: Any) -> list[Finding]:
    """Names written twice in one list; `spec` is plain data, which need not be valid otherwise."""
    findings = []
    for location in _NAMED_LISTS:
        node = spec
        for part in location:
            node = node.get(part) if isinstance(node, Mapping) else None
        first: dict[str, int] = {}
        for index, item in enumerate(node if isinstance(node, list | tuple) else ()):
            name = item.get("name") if isinstance(item, Mapping) else item
            if not isinstance(name, str):
                continue
            if name in first:
                place: Location = (
                    "spec",
                    *location,
                    index,
                    *(("name",) if isinstance(item, Mapping) else ()),
                )
                findings.append(
                    Finding(
                        place,
                        f"{name!r} is written twice, first as item [{first[name]}]; keep one or rename one",
                    )
                )
            first.setdefault(name, index)
    return findings


def _label(spec: MLSystemSpec) -> Iterator[Finding]:
    data = spec.data
    if data.label.column != spec.objective.target and UNKNOWN not in (
        data.label.column,
        spec.objective.target,
    ):
        yield Finding(
            ("spec", "objective", "target"),
            f"{spec.objective.target!r} is not data.label.column ({data.label.column!r}); write one column in both",
        )
    if data.label.column == data.label.available_at != UNKNOWN:
        yield Finding(
            ("spec", "data", "label", "availableAt"),
            f"{data.label.available_at!r} is the label itself; name the column with the moment it became known",
        )
    if data.keys.id == data.keys.time != UNKNOWN:
        yield Finding(
            ("spec", "data", "keys", "id"),
            f"{data.keys.id!r} is also keys.time; name a column that is unique for each case",
        )
    if len(data.sources) > 1 and data.query is None:
        yield Finding(
            ("spec", "data"),
            f"has {len(data.sources)} sources and no query; add `query:` with the SQL that joins them",
        )


def _leakage(spec: MLSystemSpec) -> Iterator[Finding]:
    keys, label = spec.data.keys, spec.data.label
    reasons = {
        keys.id: "is keys.id: a model would learn cases by heart; drop the feature",
        keys.time: "is keys.time: a moment never comes back; derive an hour or weekday in data.query and use that",
        label.available_at: "is data.label.availableAt: known only after the prediction (leakage); drop the feature",
        label.column: "is data.label.column: the answer itself (leakage); drop the feature",
    }
    reasons.pop(UNKNOWN, None)
    for index, feature in enumerate(spec.features):
        if feature.column in reasons:
            field = "column" if "column" in feature.model_fields_set else "name"
            yield Finding(("spec", "features", index, field), f"{feature.column!r} {reasons[feature.column]}")
    for index, column in enumerate(spec.evaluation.slices):
        if column in (label.column, label.available_at) and column != UNKNOWN:
            yield Finding(
                ("spec", "evaluation", "slices", index),
                f"{column!r} is known only with the label; slice by what is known at the prediction",
            )


def _checks(spec: MLSystemSpec) -> Iterator[Finding]:
    kinds = {feature.column: feature.kind for feature in spec.features}
    for index, check in enumerate(spec.data.checks):
        location: Location = ("spec", "data", "checks", index)
        kind = kinds.get(check.column)
        has_range = check.min is not None or check.max is not None
        if has_range and check.allowed is not None:
            yield Finding(location, "has both a range and allowed values; a column is a number or a category")
        elif has_range and kind == "categorical":
            yield Finding(
                location, f"{check.column!r} is a categorical feature; write allowed instead of min and max"
            )
        elif check.allowed is not None and kind == "numeric":
            yield Finding(
                location, f"{check.column!r} is a numeric feature; write min and max instead of allowed"
            )


def _metrics(spec: MLSystemSpec) -> Iterator[Finding]:
    task = spec.objective.task
    windows: list[tuple[Location, str]] = [
        (("spec", "training", "choose", "metric"), spec.training.choose.metric),
        (("spec", "monitoring", "quality", "metric"), spec.monitoring.quality.metric),
        *(
            (("spec", "evaluation", "gates", index, "metric"), gate.metric)
            for index, gate in enumerate(spec.evaluation.gates)
        ),
    ]
    for location, metric in windows:
        if metric not in METRICS[task]:
            yield Finding(
                location, f"{metric!r} is not a metric of {task}; write one of {', '.join(METRICS[task])}"
            )
    losses: list[tuple[Location, str]] = [
        *(
            (("spec", "rollout", "analyses", index, "metric"), analysis.metric)
            for index, analysis in enumerate(spec.rollout.analyses)
        ),
        *(
            (("spec", "rollout", "steps", index, "experiment", "metric"), step.experiment.metric)
            for index, step in enumerate(spec.rollout.steps)
            if step.experiment is not None
        ),
    ]
    for location, metric in losses:
        if metric not in PAIRED_LOSSES[task]:
            yield Finding(
                location,
                f"{metric!r} is not a loss of a single prediction; write one of {', '.join(PAIRED_LOSSES[task])}",
            )


def _training(spec: MLSystemSpec) -> Iterator[Finding]:
    window, held_out = spec.training.window, spec.data.split.by_time
    judged = held_out.validation + held_out.test
    if window.duration is not None and window.duration <= judged:
        yield Finding(
            ("spec", "training", "window", "duration"),
            f"{format_duration(window.duration)} is not longer than validation and test together "
            f"({format_duration(judged)}), so no row is left to learn from; make it longer",
        )
    yield from _resources(("spec", "training", "resources"), spec.training.resources)
    yield from _resources(("spec", "serving", "resources"), spec.serving.resources)


def _resources(location: Location, resources: Resources) -> Iterator[Finding]:
    requests, limits = resources.requests, resources.limits
    if requests.cpu is not None and limits.cpu is not None and requests.cpu > limits.cpu:
        yield Finding(
            (*location, "requests", "cpu"),
            f"{format_cores(requests.cpu)} is above limits.cpu ({format_cores(limits.cpu)}); raise the limit",
        )
    if requests.memory is not None and limits.memory is not None and requests.memory > limits.memory:
        yield Finding(
            (*location, "requests", "memory"),
            f"{format_bytes(requests.memory)} is above limits.memory ({format_bytes(limits.memory)}); raise the limit",
        )


def _steps(rollout: Rollout) -> Iterator[Finding]:
    reached = 0
    for index, step in enumerate(rollout.steps):
        location: Location = ("spec", "rollout", "steps", index)
        if step.shadow is not None and reached:
            yield Finding(
                (*location, "shadow"),
                f"stands after the canary of {reached} %; move it before the first canary: users come last",
            )
        if step.canary is not None:
            if step.canary.weight <= reached:
                yield Finding(
                    (*location, "canary", "weight"),
                    f"{step.canary.weight} is not above {reached}, the weight of an earlier step; weights must rise",
                )
            reached = max(reached, step.canary.weight)


def _analyses(rollout: Rollout) -> Iterator[Finding]:
    known = [analysis.name for analysis in rollout.analyses]
    for index, step in enumerate(rollout.steps):
        names: tuple[str, ...] = getattr(step.chosen, "analyses", ())
        for position, name in enumerate(names):
            location: Location = ("spec", "rollout", "steps", index, _camel(step.kind), "analyses", position)
            if name not in known:
                yield Finding(
                    location,
                    f"{name!r} is not in rollout.analyses ({', '.join(known) or 'which is empty'}); add it there",
                )
            elif name in names[:position]:
                yield Finding(location, f"{name!r} is written twice; keep one")
    for index, analysis in enumerate(rollout.analyses):
        location = ("spec", "rollout", "analyses", index)
        if analysis.decide == "NotWorse" and analysis.margin == 0:
            yield Finding(
                (*location, "margin"),
                "0 under decide: NotWorse asks for a better model; write a margin above 0, or decide: Better",
            )
        if analysis.decide != "Better" and analysis.minimum_effect:
            yield Finding(
                (*location, "minimumEffect"),
                f"{analysis.minimum_effect:g} counts only under decide: Better; drop it or decide so",
            )


def _deadlines(spec: MLSystemSpec) -> Iterator[Finding]:
    delay = spec.data.label.maximum_delay
    for index, step in enumerate(spec.rollout.steps):
        deadline: timedelta | None = getattr(step.chosen, "deadline", None)
        if deadline is None:
            continue
        location: Location = ("spec", "rollout", "steps", index, _camel(step.kind), "deadline")
        duration: timedelta = getattr(step.chosen, "duration", timedelta(0))
        if duration > deadline:
            yield Finding(
                location,
                f"{format_duration(deadline)} is shorter than the step's duration "
                f"({format_duration(duration)}); make it longer",
            )
        blocks = LEAST_BLOCKS_OF_A_VERDICT if step.experiment is not None else 0
        if step.shadow is not None:
            blocks = step.shadow.min_blocks
        if blocks and blocks * DAY + delay > deadline:
            yield Finding(
                location,
                f"{format_duration(deadline)} can't be met: {blocks} day blocks and data.label.maximumDelay "
                f"({format_duration(delay)}) take {format_duration(blocks * DAY + delay)}; "
                "make it longer or ask for fewer blocks",
            )


def _retraining(spec: MLSystemSpec) -> Iterator[Finding]:
    retraining = spec.retraining
    if retraining.cooldown > retraining.budget.per:
        yield Finding(
            ("spec", "retraining", "cooldown"),
            f"{format_duration(retraining.cooldown)} is longer than budget.per "
            f"({format_duration(retraining.budget.per)}), so the budget means nothing; lengthen budget.per",
        )
    counts: Counter[str] = Counter()
    for index, trigger in enumerate(retraining.triggers):
        counts[trigger.kind] += 1
        if trigger.kind != "schedule" and counts[trigger.kind] > 1:
            yield Finding(
                ("spec", "retraining", "triggers", index),
                f"{_camel(trigger.kind)} is written twice; keep one",
            )


def _replay(spec: MLSystemSpec) -> Iterator[Finding]:
    if spec.replay is None:
        return
    window, tick = spec.monitoring.window.duration, spec.replay.tick
    if tick > window:
        yield Finding(
            ("spec", "replay", "tick"),
            f"{format_duration(tick)} is longer than monitoring.window.duration ({format_duration(window)}), "
            "so windows would close unseen; make it shorter",
        )


def _camel(attribute: str) -> str:
    head, *tail = attribute.split("_")
    return head + "".join(part.capitalize() for part in tail)
