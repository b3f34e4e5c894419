"""What a gate of fairness asks for, and what makes a training fairer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from capstan.spec.finding import UNKNOWN
from capstan.spec.gates import FEW_ROWS, ON_FEW_ROWS, Confidence, Rows
from capstan.spec.grammar import ColumnName, SpecModel
from capstan.spec.rule import Breach, Cel, part_rule, require, rule
from capstan.spec.tasks import TASK_FACTS
from capstan.spec.units import Number

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

FAIRNESS_RULES = (
    part_rule(
        "maxDifference and minRatio are two gates; write exactly one of them",
        lambda gate: (gate.max_difference is None) != (gate.min_ratio is None),
        Cel("has(self.maxDifference) != has(self.minRatio)", "evaluation.fairness[]"),
    ),
)
_By = Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=5)]


class Fairness(SpecModel):
    """A gate of fairness: groups must be answered alike."""

    by: _By = Field(
        description=(
            "Columns whose values together make a group, such as `[sex, race]`; they need not be "
            "features. To compare by each column alone, write two gates."
        ),
        examples=[["carrier"]],
    )
    metric: Literal["DemographicParity", "EqualOpportunity", "EqualisedOdds"] = Field(
        "DemographicParity",
        description=(
            "What must be alike in all groups. DemographicParity: the share of rows that are answered "
            "true. EqualOpportunity: the same share among rows whose label is true. EqualisedOdds: the "
            "same share among rows whose label is true, and among those whose label is false; the larger "
            "difference counts."
        ),
        examples=["EqualisedOdds"],
    )
    max_difference: Number | None = Field(
        None, ge=0, lt=1, description="Largest difference between the shares of two groups.", examples=[0.1]
    )
    min_ratio: Number | None = Field(
        None,
        gt=0,
        le=1,
        description="Smallest ratio of the shares of two groups: 0.8 is the rule of four fifths.",
        examples=[0.8],
    )
    decide: Literal["NotWorse", "UnlessWorse"] = Field(
        "NotWorse",
        description=(
            "What must be shown. NotWorse: that the bound is kept. UnlessWorse: nothing, but the gate "
            "fails if the bound is shown to be broken."
        ),
        examples=["UnlessWorse"],
    )
    confidence: Confidence = Field(
        0.95,
        description="Confidence of the one-sided bound, over all pairs of groups together.",
        examples=[0.95],
    )
    min_rows: Rows = Field(
        100,
        description=f"{FEW_ROWS} Counted are the rows that a share is of, such as those whose label is true.",
        examples=[200],
    )
    on_few_rows: Literal["Refuse", "LeaveOut"] = Field(
        "Refuse",
        description=ON_FEW_ROWS.replace("no group is left", "fewer than two are left"),
        examples=["LeaveOut"],
    )

    @model_validator(mode="after")
    def _asks_for_one_bound(self) -> Fairness:
        return require(self, FAIRNESS_RULES)


class Reweigh(SpecModel):
    """Weights of training rows, so that what is learnt is as if group and label were independent."""

    by: _By = Field(
        description="Columns whose values together are a group; they need not be features.",
        examples=[["carrier"]],
    )


@rule(
    "asks how often each group is answered true, which has a meaning where labels are true or false; use "
    "`evaluation.gates` with `slices`",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.evaluation.fairness) || size(self.evaluation.fairness) == 0",
            field="evaluation.fairness",
        )
        for task, facts in TASK_FACTS.items()
        if facts.label != "Boolean"
    ),
)
def fairness_is_of_true_and_false(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.evaluation.fairness and TASK_FACTS[spec.objective.task].label != "Boolean" and _is_known(spec):
        yield Breach(("spec", "evaluation", "fairness"))


@rule(
    "weighs each label of each group, and the task's labels are no classes; drop it",
    *(
        Cel(f"self.objective.task != '{task}' || !has(self.training.reweigh)", field="training.reweigh")
        for task, facts in TASK_FACTS.items()
        if facts.label not in ("Boolean", "Category")
    ),
)
def classes_are_reweighed(spec: MLSystemSpec) -> Iterator[Breach]:
    label = TASK_FACTS[spec.objective.task].label
    if spec.training.reweigh is not None and label not in ("Boolean", "Category") and _is_known(spec):
        yield Breach(("spec", "training", "reweigh"))


def _is_known(spec: MLSystemSpec) -> bool:
    """Whether the objective could be read, and with it the task."""
    return spec.objective.target != UNKNOWN


RULES = (fairness_is_of_true_and_false, classes_are_reweighed)
