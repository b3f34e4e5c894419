"""Rules between models, the features and candidates that they name, and the rule that combines them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.combination import RULES_OF_LABEL
from capstan.spec.data_rules import unless_there
from capstan.spec.families import FamilySettings
from capstan.spec.finding import UNKNOWN
from capstan.spec.location import Location
from capstan.spec.rule import JOINED_LISTS, Breach, Cel, rule
from capstan.spec.tasks import TASK_FACTS

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

SEQUENCE, WEIGHTED = "Sequence", "Weighted"


@rule(
    "`models` and `combine` belong together; give both or none",
    Cel("(has(self.models) && size(self.models) > 0) == has(self.combine)"),
    Cel(
        "!has(self.models) || size(self.models) != 1",
        field="models",
        message="has one model; list two or more, or drop `models` and `combine`",
    ),
)
def several_models_are_combined(spec: MLSystemSpec) -> Iterator[Breach]:
    if len(spec.models) == 1:
        way = "list two or more, or drop `models` and `combine`"
        yield Breach(("spec", "models"), message=f"has one model; {way}")
    if spec.models and spec.combine is None:
        way = "add `combine: {rule: ...}`, which makes one answer of theirs"
        yield Breach(("spec", "combine"), message=f"is missing beside {len(spec.models)} models; {way}")
    if spec.combine is not None and not spec.models:
        way = "list two or more models, or drop `combine`"
        yield Breach(("spec", "combine"), message=f"combines models, and there are none; {way}")


@rule(
    "does not combine answers of the task; write a rule that does",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.combine) || self.combine.rule in "
            f"[{', '.join(repr(name) for name in RULES_OF_LABEL.get(facts.label, ()))}]",
            field="combine.rule",
            message=f"the rule does not combine answers of {task}; "
            + f"write one of {', '.join(RULES_OF_LABEL.get(facts.label, ())) or 'none: drop `combine`'}",
        )
        for task, facts in TASK_FACTS.items()
    ),
)
def a_rule_fits_the_task(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.combine is None or spec.objective.target == UNKNOWN:
        return
    task = spec.objective.task
    known = RULES_OF_LABEL.get(TASK_FACTS[task].label, ())
    if spec.combine.rule not in known:
        way = f"write one of {', '.join(known)}" if known else "drop `models` and `combine`"
        message = f"{spec.combine.rule!r} does not combine answers of {task}; {way}"
        yield Breach(("spec", "combine", "rule"), message=message)


@rule(
    "each model has a `weight` exactly where `combine: {rule: Weighted}` stands; give one to every model, or to none",
    Cel(
        "!has(self.models) || !has(self.combine) || "
        "self.models.all(m, has(m.weight) == (self.combine.rule == 'Weighted'))",
        field="models",
    ),
)
def weights_stand_where_they_count(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.combine is None:
        return
    is_weighted = spec.combine.rule == WEIGHTED
    for index, model in enumerate(spec.models):
        location: Location = ("spec", "models", index, "weight")
        if is_weighted and model.weight is None:
            way = "say how much its answer counts, such as 1"
            yield Breach(location, message=f"is missing, and `combine.rule` is {WEIGHTED}; {way}")
        if not is_weighted and model.weight is not None:
            way = f"write `combine: {{rule: {WEIGHTED}}}`, or drop the weight"
            yield Breach(
                location, message=f"{model.weight:g} counts for nothing with {spec.combine.rule}; {way}"
            )


@rule(
    "`rule: Sequence` has two models and `keep`, and no other rule has `keep`; write how many items go on",
    Cel(
        "!has(self.combine) || ((self.combine.rule == 'Sequence') == has(self.combine.keep) && "
        "(self.combine.rule != 'Sequence' || !has(self.models) || size(self.models) == 0 || size(self.models) == 2))",
        field="combine",
    ),
)
def a_sequence_keeps_some_items(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.combine is None:
        return
    rule_name, keep = spec.combine.rule, spec.combine.keep
    if rule_name == SEQUENCE and keep is None:
        way = "write how many items of a request the first model hands on, such as 20"
        yield Breach(("spec", "combine", "keep"), message=f"is missing with {SEQUENCE}; {way}")
    if rule_name == SEQUENCE and len(spec.models) not in (0, 2):
        way = "keep the one that finds and the one that ranks"
        message = f"has {len(spec.models)} models, and a {SEQUENCE} has two; {way}"
        yield Breach(("spec", "models"), message=message)
    if rule_name != SEQUENCE and keep is not None:
        yield Breach(
            ("spec", "combine", "keep"), keep, message=f"{keep} is for {SEQUENCE}, not {rule_name}; drop it"
        )


@rule("is named by a model and stands nowhere; write the name of one that does", why_no_cel=JOINED_LISTS)
def models_name_what_there_is(spec: MLSystemSpec) -> Iterator[Breach]:
    there = {
        "features": ("feature", [feature.name for feature in spec.features]),
        "candidates": ("candidate", [candidate.name for candidate in spec.training.candidates]),
    }
    for field, (word, known) in there.items():
        for index, model in enumerate(spec.models):
            seen: set[str] = set()
            for at, name in enumerate(getattr(model, field) or ()):
                location: Location = ("spec", "models", index, field, at)
                if name not in known:
                    message = f"{name!r} is no {word}; the {word}s are {', '.join(known[:20])}"
                    yield Breach(location, message=message)
                elif name in seen:
                    yield Breach(location, message=f"{name!r} is written twice; keep one")
                seen.add(name)


@rule("is used by no model; name it in one, or drop it", why_no_cel=JOINED_LISTS)
def whatever_stands_is_used_by_a_model(spec: MLSystemSpec) -> Iterator[Breach]:
    if not spec.models:
        return
    places: tuple[tuple[str, tuple[str, ...], list[str]], ...] = (
        ("features", ("features",), [feature.name for feature in spec.features]),
        (
            "candidates",
            ("training", "candidates"),
            [candidate.name for candidate in spec.training.candidates]
            if "candidates" in spec.training.model_fields_set
            else [],
        ),
    )
    for field, place, names in places:
        named = [getattr(model, field) for model in spec.models]
        if None in named:
            continue
        used = {name for one in named for name in one}
        if field == "candidates":
            used |= _within(spec, used)
        for index, name in enumerate(names):
            if name not in used:
                message = f"{name!r} is used by no model; name it in models[].{field}, or drop it"
                yield Breach(("spec", *place, index, "name"), message=message)


def _within(spec: MLSystemSpec, used: set[str]) -> set[str]:
    """Candidates that ensembles among `used` are made of, and ensembles among those."""
    found = set[str]()
    # An ensemble stands behind what it is made of.
    for candidate in reversed(spec.training.candidates):
        if candidate.name in used | found:
            found.update(candidate.chosen.made_of)
    return found


@rule(
    "an ensemble is made of candidates that stand before it; name those, or move it behind them",
    why_no_cel=JOINED_LISTS,
)
def ensembles_are_made_of_what_stands_before(spec: MLSystemSpec) -> Iterator[Breach]:
    every = [candidate.name for candidate in spec.training.candidates]
    for index, candidate in enumerate(spec.training.candidates):
        before = every[:index]
        for name in candidate.chosen.made_of:
            if name in before:
                continue
            if name == candidate.name:
                plain = {"search": "search", "fine_tune": "candidate", "distil": "candidate"}
                what = plain.get(candidate.kind, "ensemble")
                message = f"{name!r} is the {what} itself; name candidates that stand before it"
            elif name in every:
                message = f"{name!r} stands behind {candidate.name!r}, which is made of it; move it before"
            else:
                known = f"before it stand {', '.join(before[:20])}" if before else "none stands before it"
                message = f"{name!r} is no candidate; {known}"
            field = field_naming(candidate.chosen, name)
            yield Breach(("spec", "training", "candidates", index, candidate.key, field), message=message)


def field_naming(settings: FamilySettings, name: str) -> str:
    """The field in which a candidate that is made of others names this one."""
    of = getattr(settings, "of", ())
    if name in ((of,) if isinstance(of, str) else of):
        return "of"
    return next(field for field in ("final", "into") if getattr(settings, field, None) == name)


@rule(
    "a model's target is a key or the moment of the label; name the column of what it says",
    *(
        Cel(
            f"!has(self.models) || {unless_there('self.data', part)} || "
            f"self.models.all(m, !has(m.target) || m.target != self.data.{part})",
            field="models",
        )
        for part in ("keys.id", "keys.time", "label.availableAt")
    ),
)
def a_models_target_is_a_label(spec: MLSystemSpec) -> Iterator[Breach]:
    keys, label = spec.data.keys, spec.data.label
    reasons = {
        keys.id: "data.keys.id",
        keys.time: "data.keys.time",
        keys.sticky_by: "data.keys.stickyBy",
        keys.group: "data.keys.group",
        label.available_at: "data.label.availableAt",
    }
    for index, model in enumerate(spec.models):
        if model.target is not None and model.target in reasons:
            message = f"{model.target!r} is {reasons[model.target]}; name the column of what the model says"
            yield Breach(("spec", "models", index, "target"), message=message)


@rule("is read from a model's target: it would know the answer (leakage); drop it", why_no_cel=JOINED_LISTS)
def nothing_is_read_from_a_models_target(spec: MLSystemSpec) -> Iterator[Breach]:
    owners = {
        model.target: model.name
        for model in spec.models
        if model.target not in (None, spec.data.label.column)
    }
    for index, feature in enumerate(spec.features):
        if feature.column in owners:
            field = "column" if "column" in feature.model_fields_set else "name"
            reason = f"is the target of the model {owners[feature.column]!r}: known only after the prediction (leakage)"
            yield Breach(
                ("spec", "features", index, field), message=f"{feature.column!r} {reason}; drop the feature"
            )
    for location, column in spec.groupings():
        if column in owners:
            reason = f"is the target of the model {owners[column]!r}, known only with the label"
            message = f"{column!r} {reason}; group by what is known at the prediction"
            yield Breach(location, message=message)


@rule(
    "a model is named like an output of the task, and their columns could not be told apart; rename it",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.models) || "
            f"self.models.all(m, !(m.name in [{', '.join(repr(output.name) for output in facts.outputs)}]))",
            field="models",
            message=f"a model is named like an output of {task}; rename it",
        )
        for task, facts in TASK_FACTS.items()
    ),
)
def a_model_is_not_named_like_an_output(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.objective.target == UNKNOWN:
        return
    outputs = {output.name for output in TASK_FACTS[spec.objective.task].outputs}
    for index, model in enumerate(spec.models):
        if model.name in outputs:
            message = f"{model.name!r} is an output of {spec.objective.task}; rename the model"
            yield Breach(("spec", "models", index, "name"), message=message)


RULES = (
    ensembles_are_made_of_what_stands_before,
    several_models_are_combined,
    a_rule_fits_the_task,
    weights_stand_where_they_count,
    a_sequence_keeps_some_items,
    models_name_what_there_is,
    whatever_stands_is_used_by_a_model,
    a_models_target_is_a_label,
    nothing_is_read_from_a_models_target,
    a_model_is_not_named_like_an_output,
)
