"""Rules between fields: what each field alone may say, but not together with another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic.alias_generators import to_camel

from capstan.spec.cluster import OWN_VARIABLES
from capstan.spec.finding import UNKNOWN, Finding
from capstan.spec.location import Location
from capstan.spec.metrics import METRICS, PAIRED_LOSSES
from capstan.spec.rollout_rules import broken_rollout_rules
from capstan.spec.units import format_bytes, format_cores, format_duration

if TYPE_CHECKING:
    from capstan.spec.cluster import EnvironmentVariable
    from capstan.spec.system import MLSystemSpec
    from capstan.spec.training import Resources


_NAMED_LISTS: tuple[tuple[str, ...], ...] = (
    ("data", "sources"),
    ("features",),
    ("training", "candidates"),
    ("rollout", "analyses"),
    ("evaluation", "slices"),
    ("training", "environment"),
    ("serving", "environment"),
)


def broken_rules(spec: MLSystemSpec) -> list[Finding]:
    """All broken rules of a system whose fields are valid one by one."""
    return [
        *_not_in_this_version(spec),
        *_unique_names(spec),
        *_label(spec),
        *_leakage(spec),
        *_checks(spec),
        *_optional(spec),
        *_metrics(spec),
        *_training(spec),
        *_serving(spec),
        *broken_rollout_rules(spec),
        *_retraining(spec),
        *_replay(spec),
    ]


def _not_in_this_version(spec: MLSystemSpec) -> Iterator[Finding]:
    """What the grammar reserves and no part runs yet."""
    for index, step in enumerate(spec.rollout.steps):
        if step.experiment is not None:
            yield Finding(
                ("spec", "rollout", "steps", index, "experiment"),
                "A/B tests are not in this version; compare the versions in a shadow step with an analysis",
            )
    for index, trigger in enumerate(spec.retraining.triggers):
        if trigger.kind in ("schedule", "new_data"):
            yield Finding(
                ("spec", "retraining", "triggers", index, to_camel(trigger.kind)),
                "is not in this version; use drift or quality, or call `capstan retrain` from a timer",
            )


def _unique_names(spec: MLSystemSpec) -> list[Finding]:
    return repeated_names(
        {
            "data": {"sources": [{"name": source.name} for source in spec.data.sources]},
            "features": [{"name": feature.name} for feature in spec.features],
            "training": {
                "candidates": [{"name": candidate.name} for candidate in spec.training.candidates],
                "environment": [{"name": variable.name} for variable in spec.training.environment],
            },
            "serving": {"environment": [{"name": variable.name} for variable in spec.serving.environment]},
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
    names = {feature.name for feature in spec.features}
    for index, name in enumerate(spec.data.leaks.allow):
        if name not in names:
            yield Finding(
                ("spec", "data", "leaks", "allow", index),
                f"{name!r} is no feature; the features are {', '.join(sorted(names)[:20])}",
            )
    for index, column in enumerate(spec.evaluation.slices):
        if column in (label.column, label.available_at) and column != UNKNOWN:
            yield Finding(
                ("spec", "evaluation", "slices", index),
                f"{column!r} is known only with the label; slice by what is known at the prediction",
            )


def _checks(spec: MLSystemSpec) -> Iterator[Finding]:
    readings = {feature.column: feature.reading for feature in spec.features}
    for index, check in enumerate(spec.data.checks):
        location: Location = ("spec", "data", "checks", index)
        reading = readings.get(check.column)
        has_range = check.min is not None or check.max is not None
        if has_range and check.allowed is not None:
            yield Finding(location, "has both a range and allowed values; a column is a number or a category")
        elif has_range and reading == "categorical":
            yield Finding(
                location,
                f"a feature reads {check.column!r} as a category; write allowed instead of min and max",
            )
        elif check.allowed is not None and reading == "numeric":
            yield Finding(
                location,
                f"a feature reads {check.column!r} as a number; write min and max instead of allowed",
            )


def _optional(spec: MLSystemSpec) -> Iterator[Finding]:
    """A column that may be left out is missing then, which nothing else may forbid."""
    strict = {check.column for check in spec.data.checks if not check.nullable}
    for index, feature in enumerate(spec.features):
        if not feature.optional:
            continue
        location: Location = ("spec", "features", index, "optional")
        if feature.column in strict:
            yield Finding(
                location, f"is against `nullable: false` of {feature.column!r} in data.checks; drop one"
            )
        elif feature.settings.needs_value:
            yield Finding(
                location,
                "is against `impute: DropRow`, which has nothing to stand for a missing value; impute",
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
    yield from _environment(("spec", "training", "environment"), spec.training.environment)


def _serving(spec: MLSystemSpec) -> Iterator[Finding]:
    serving = spec.serving
    yield from _resources(("spec", "serving", "resources"), serving.resources)
    yield from _environment(("spec", "serving", "environment"), serving.environment)
    if serving.traffic.provider == "Istio" and serving.runtime == "Deployment":
        yield Finding(
            ("spec", "serving", "runtime"),
            "Deployment does not go with traffic.provider: Istio, which splits inside one SeldonDeployment; "
            "write runtime: Seldon, or provider: Envoy",
        )


def _environment(location: Location, variables: Sequence[EnvironmentVariable]) -> Iterator[Finding]:
    for index, variable in enumerate(variables):
        if variable.name.startswith(OWN_VARIABLES):
            yield Finding(
                (*location, index, "name"),
                f"{variable.name!r} is set by Capstan itself; use another name",
            )


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


def _retraining(spec: MLSystemSpec) -> Iterator[Finding]:
    retraining = spec.retraining
    if retraining.cooldown > retraining.budget.per:
        yield Finding(
            ("spec", "retraining", "cooldown"),
            f"{format_duration(retraining.cooldown)} is longer than budget.per "
            f"({format_duration(retraining.budget.per)}), so the budget means nothing; lengthen budget.per",
        )
    seen = set()
    for index, trigger in enumerate(retraining.triggers):
        if trigger.kind in seen and trigger.kind != "schedule":
            yield Finding(
                ("spec", "retraining", "triggers", index),
                f"{to_camel(trigger.kind)} is written twice; keep one",
            )
        seen.add(trigger.kind)


def _replay(spec: MLSystemSpec) -> Iterator[Finding]:
    if spec.replay is None:
        return
    column = spec.replay.time_column
    if column is not None and column != spec.data.keys.time != UNKNOWN:
        yield Finding(
            ("spec", "replay", "timeColumn"),
            f"{column!r} is not data.keys.time ({spec.data.keys.time!r}); sending by another moment is not in this "
            "version: drop the key",
        )
    window, tick = spec.monitoring.window.duration, spec.replay.tick
    if tick > window:
        yield Finding(
            ("spec", "replay", "tick"),
            f"{format_duration(tick)} is longer than monitoring.window.duration ({format_duration(window)}), "
            "so windows would close unseen; make it shorter",
        )
