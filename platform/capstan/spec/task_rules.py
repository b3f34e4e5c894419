"""Rules between the task and the rest of the file: what its labels ask of losses and candidates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.families import CLASSES, NUMBERS, Candidate
from capstan.spec.finding import UNKNOWN
from capstan.spec.location import Location
from capstan.spec.rule import Breach, Cel, rule
from capstan.spec.tasks import TASK_FACTS, LabelKind, TaskFacts
from capstan.spec.value import WORDS, written

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


def _only_where_it_counts(task: str) -> str:
    return "" if TASK_FACTS[task].label == "Number" else "!"


@rule(
    "does not go with the task; give it to a task whose labels are numbers, and to no other",
    *(
        Cel(
            f"self.objective.task != '{task}' || {_only_where_it_counts(task)}has(self.objective.losses)",
            field="objective",
            message=f"{task} needs objective.losses, such as losses: {{maximumError: 180}}"
            if facts.label == "Number"
            else f"{task} has no use for objective.losses; drop it",
        )
        for task, facts in TASK_FACTS.items()
    ),
)
def losses_are_stated_for_numbers(spec: MLSystemSpec) -> Iterator[Breach]:
    objective = spec.objective
    facts = TASK_FACTS[objective.task]
    if objective.target == UNKNOWN:
        # The objective can't be read, and with it the task.
        return
    if facts.label == "Number" and objective.losses is None:
        way = (
            "add `losses: {maximumError: …}` with the largest error of one answer that counts, in units of "
            f"{objective.target}"
        )
        yield Breach(("spec", "objective"), message=f"has no losses, which {facts.name} needs; {way}")
    if facts.label != "Number" and objective.losses is not None:
        message = f"are only for labels that are numbers, and those of {facts.name} are not; drop them"
        yield Breach(("spec", "objective", "losses"), message=message)


@rule(
    "a candidate's family can't learn the labels of the task; take one that can",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.training.candidates) || "
            f"self.training.candidates.all(c, {' || '.join(f'has(c.{name})' for name in Candidate.able(facts.label))})",
            field="training.candidates",
            message=f"a candidate's family can't learn the labels of {task}; these can: "
            + ", ".join(Candidate.able(facts.label)),
        )
        for task, facts in TASK_FACTS.items()
    ),
)
def candidates_learn_the_label(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.objective.target == UNKNOWN:
        return
    facts = TASK_FACTS[spec.objective.task]
    able = ", ".join(Candidate.able(facts.label))
    for index, candidate in enumerate(spec.training.candidates):
        if facts.label not in candidate.learns:
            yield Breach(
                ("spec", "training", "candidates", index, candidate.key),
                message=f"can't learn the labels of {facts.name} (candidate {candidate.name!r}); these can: {able}",
            )


@rule(
    "is only for a task that flags unusual rows; drop it",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.objective.flaggedShare)",
            field="objective.flaggedShare",
            message=f"{task} flags no rows; drop flaggedShare",
        )
        for task, facts in TASK_FACTS.items()
        if facts.flagged_share is None
    ),
)
def rows_are_flagged_by_a_task_that_flags(spec: MLSystemSpec) -> Iterator[Breach]:
    objective = spec.objective
    if objective.target == UNKNOWN or objective.flagged_share is None:
        return
    if TASK_FACTS[objective.task].flagged_share is None:
        share = f"{objective.flagged_share:g}"
        message = f"{share} is only for tasks that flag rows, and {objective.task} flags none; drop it"
        yield Breach(("spec", "objective", "flaggedShare"), message=message)


_LABELS_IN_WORDS: dict[frozenset[LabelKind], str] = {
    frozenset({"Number"}): "numbers",
    NUMBERS: "numbers or relevances",
    frozenset({"Boolean"}): "true or false",
    CLASSES: "classes",
}


def _settings_of_other_labels(label: LabelKind) -> Iterator[tuple[str, str, str]]:
    """Family, setting and the labels it is for, of all settings that mean nothing for such a label."""
    for family, settings in Candidate.families().items():
        for setting, labels in settings.only_for.items():
            if label not in labels and label in settings.learns:
                yield family, settings.model_fields[setting].alias or setting, _LABELS_IN_WORDS[labels]


def _all_in_words(label: LabelKind) -> str:
    settings = dict.fromkeys(
        f"{setting} (of {words})" for _, setting, words in _settings_of_other_labels(label)
    )
    return ", ".join(settings)


@rule(
    "is a setting for other labels than the task's; drop it",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.training.candidates) || "
            "self.training.candidates.all(c, "
            + " && ".join(
                f"(!has(c.{family}) || !has(c.{family}.{setting}))"
                for family, setting, _ in _settings_of_other_labels(facts.label)
            )
            + ")",
            field="training.candidates",
            message=f"these settings are for other labels than those of {task}: {_all_in_words(facts.label)}; "
            "drop them",
        )
        for task, facts in TASK_FACTS.items()
        if any(_settings_of_other_labels(facts.label))
    ),
)
def settings_are_of_the_label(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.objective.target == UNKNOWN:
        return
    label = TASK_FACTS[spec.objective.task].label
    others = {(family, setting): words for family, setting, words in _settings_of_other_labels(label)}
    for index, candidate in enumerate(spec.training.candidates):
        for name, field in type(candidate.chosen).model_fields.items():
            setting = field.alias or name
            value, words = getattr(candidate.chosen, name), others.get((candidate.key, setting))
            if words is None or value is None:
                continue
            shown = f"{value:g}" if isinstance(value, float) else repr(value)
            yield Breach(
                ("spec", "training", "candidates", index, candidate.key, setting),
                message=f"{shown} is only for labels that are {words}, and those of the task are not; drop it",
            )


def _worthless(facts: TaskFacts) -> str:
    """What is wrong with worths that are not of the task's labels, and the way out."""
    words = WORDS.get(facts.label)
    if words is None:
        return f"is not for {facts.name}, where no single answer is worth anything; drop it"
    return f"holds no worth of an answer of {facts.name}; write {', '.join(words)}"


@rule(
    "holds no worth of an answer of the task; write one, or drop it",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.objective.value) || "
            + (written(facts.label, "self.objective.value") if facts.label in WORDS else "false"),
            field="objective.value",
            message=_worthless(facts),
        )
        for task, facts in TASK_FACTS.items()
    ),
)
def worths_are_of_the_tasks_answers(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.objective.target == UNKNOWN or spec.objective.value is None:
        return
    facts = TASK_FACTS[spec.objective.task]
    if spec.objective.value.kinds != (facts.label,):
        yield Breach(("spec", "objective", "value"), message=_worthless(facts))


_TRUE_OR_FALSE = ("Boolean", "Anomaly")
_OWN_TARGETS = (
    "models have targets of their own, whose words nobody states; make true and false of them in data.query, and drop "
    "positive and negative"
)


@rule(
    "is how a label is written that is true, and not all labels of the system are true or false in these words; drop "
    "positive and negative",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.objective.positive)",
            field="objective.positive",
            message=f"labels of {task} are not true or false; drop positive and negative",
        )
        for task, facts in TASK_FACTS.items()
        if facts.label not in _TRUE_OR_FALSE
    ),
    Cel(
        "!has(self.objective.positive) || !has(self.models) || self.models.all(m, !has(m.target))",
        field="objective.positive",
        message=_OWN_TARGETS,
    ),
)
def words_are_of_labels_that_are_true_or_false(spec: MLSystemSpec) -> Iterator[Breach]:
    objective = spec.objective
    if objective.target == UNKNOWN or objective.words is None:
        return
    place = ("spec", "objective", "positive")
    if TASK_FACTS[objective.task].label not in _TRUE_OR_FALSE:
        yield Breach(
            place, message=f"labels of {objective.task} are not true or false; drop positive and negative"
        )
    if any(model.target is not None for model in spec.models):
        yield Breach(place, message=_OWN_TARGETS)


_MEAN_LABELS: tuple[LabelKind, ...] = ("Boolean", "Category", "Number")
"""Labels that are learnt from and whose mean over all rows of a category says something."""


def _why_no_mean(facts: TaskFacts) -> str:
    if not facts.needs_labels:
        return f"and {facts.name} learns without labels"
    return f"and labels of {facts.name} compare rows of one group alone"


_NO_TARGET = "self.features.all(f, !has(f.categorical) || f.categorical.encode != 'Target')"


@rule(
    "`encode: Target` takes the mean label of a category's rows, which says nothing here; take another `encode`",
    *(
        Cel(
            f"self.objective.task != '{task}' || {_NO_TARGET}",
            field="features",
            message="`encode: Target` takes the mean label of a category's rows, "
            f"{_why_no_mean(facts)}; take another `encode`",
        )
        for task, facts in TASK_FACTS.items()
        if facts.label not in _MEAN_LABELS
    ),
    Cel(
        f"!has(self.training.reweigh) || {_NO_TARGET}",
        field="features",
        message="`encode: Target` counts rows without the weights of training.reweigh, so it brings back what they "
        "take out; take another `encode`, or drop reweigh",
    ),
)
def labels_have_a_mean_where_features_take_it(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, feature in enumerate(spec.features):
        if feature.categorical is None or feature.categorical.encode != "Target":
            continue
        place: Location = ("spec", "features", index, "categorical", "encode")
        facts = TASK_FACTS.get(spec.objective.task) if spec.objective.target != UNKNOWN else None
        if facts is not None and facts.label not in _MEAN_LABELS:
            yield Breach(
                place,
                message="'Target' takes the mean label of a category's rows, "
                f"{_why_no_mean(facts)} (feature {feature.name!r}); take another `encode`",
            )
        if spec.training.reweigh is not None:
            yield Breach(
                place,
                message="'Target' counts rows without the weights of training.reweigh, so it brings back what they "
                f"take out (feature {feature.name!r}); take another `encode`, or drop reweigh",
            )


RULES = (
    labels_have_a_mean_where_features_take_it,
    words_are_of_labels_that_are_true_or_false,
    worths_are_of_the_tasks_answers,
    losses_are_stated_for_numbers,
    rows_are_flagged_by_a_task_that_flags,
    candidates_learn_the_label,
    settings_are_of_the_label,
)
