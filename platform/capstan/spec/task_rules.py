"""Rules between the task and the rest of the file: what its labels ask of losses and candidates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.finding import UNKNOWN
from capstan.spec.rule import Breach, Cel, rule
from capstan.spec.tasks import TASK_FACTS, TaskFacts
from capstan.spec.training import Candidate
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
    "is only for labels that are numbers, and those of the task are not; drop it",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.training.candidates) || "
            "self.training.candidates.all(c, !has(c.gradientBoosting) || !has(c.gradientBoosting.quantile))",
            field="training.candidates",
            message=f"quantile is only for labels that are numbers, and those of {task} are not; drop it",
        )
        for task, facts in TASK_FACTS.items()
        if facts.label != "Number"
    ),
)
def quantiles_are_of_numbers(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.objective.target == UNKNOWN or TASK_FACTS[spec.objective.task].label == "Number":
        return
    for index, candidate in enumerate(spec.training.candidates):
        trees = candidate.gradient_boosting
        if trees is not None and trees.quantile is not None:
            yield Breach(
                ("spec", "training", "candidates", index, candidate.key, "quantile"), f"{trees.quantile:g}"
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


RULES = (
    worths_are_of_the_tasks_answers,
    losses_are_stated_for_numbers,
    candidates_learn_the_label,
    quantiles_are_of_numbers,
)
