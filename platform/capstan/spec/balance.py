"""Classes of which one is rare: what is done to the rows that a model learns from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from capstan.spec.finding import UNKNOWN
from capstan.spec.grammar import SpecModel
from capstan.spec.rule import UNTRIED, Breach, Cel, rule
from capstan.spec.tasks import TASK_FACTS
from capstan.spec.units import Flag, Number, Whole

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


class Balance(SpecModel):
    """Training rows of rare classes made more, or of frequent ones made fewer."""

    method: Literal["Undersample", "Oversample", "SMOTE"] = Field(
        description=(
            "Undersample: rows of frequent classes are left out at random. Oversample: rows of rare classes are "
            "repeated at random. SMOTE: rows are made that lie between a row of a rare class and one of its nearest "
            "neighbours of this class (Chawla et al. 2002); categories as codes are taken from the neighbours."
        ),
        examples=["SMOTE"],
    )
    ratio: Number = Field(
        1.0,
        gt=0,
        le=1,
        description=(
            "Rows of a rare class for each row of the most frequent one, after it; of Undersample for each row that a "
            "frequent class keeps. 1 makes all classes alike."
        ),
        examples=[0.5],
    )
    neighbors: Whole = Field(
        5, ge=1, le=100, description="Neighbours that SMOTE takes one of; not used else.", examples=[5]
    )
    correct: Flag = Field(
        True,
        description=(
            "Whether probabilities are brought back to the shares of the classes in the rows as they came (Elkan "
            "2001). Without it they are those of balanced classes, too high for a rare one."
        ),
        examples=[True],
    )


@rule(
    "counts the rows of classes, and the task's labels are none that it learns from; drop it",
    *(
        Cel(f"self.objective.task != '{task}' || !has(self.training.balance)", field="training.balance")
        for task, facts in TASK_FACTS.items()
        if facts.label not in ("Boolean", "Category")
    ),
)
def classes_are_balanced(spec: MLSystemSpec) -> Iterator[Breach]:
    facts = TASK_FACTS[spec.objective.task]
    is_known = spec.objective.target != UNKNOWN
    if spec.training.balance is not None and facts.label not in ("Boolean", "Category") and is_known:
        yield Breach(("spec", "training", "balance"))


@rule(
    "makes and leaves out rows, so the weights of training.reweigh hold no more; keep one of the two",
    Cel("!has(self.balance) || !has(self.reweigh)", "training", "balance"),
)
def rows_are_balanced_or_weighed(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.training.balance is not None and spec.training.reweigh is not None:
        yield Breach(("spec", "training", "balance"))


@rule(
    "counts rows of rare classes more, as training.balance does; keep one of the two",
    why_no_cel=UNTRIED,
)
def rows_are_balanced_or_weigh_more(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, candidate in enumerate(spec.training.candidates):
        if spec.training.balance is not None and getattr(candidate.chosen, "class_weights", None) is not None:
            place = ("spec", "training", "candidates", index, candidate.key, "classWeights")
            yield Breach(place, candidate.chosen.class_weights)


@rule(
    "stops by rows that training.balance would make or repeat; drop one of the two, or take multilayerPerceptron",
    why_no_cel=UNTRIED,
)
def no_network_stops_by_balanced_rows(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, candidate in enumerate(spec.training.candidates):
        network = candidate.neural_network
        if spec.training.balance is not None and network is not None and network.early_stopping is not None:
            yield Breach(("spec", "training", "candidates", index, candidate.key, "earlyStopping"))


RULES = (
    classes_are_balanced,
    rows_are_balanced_or_weighed,
    rows_are_balanced_or_weigh_more,
    no_network_stops_by_balanced_rows,
)
