"""What a gate asks of a new model: a comparison or a bound, of the whole test window or of each of its slices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from capstan.spec.grammar import ColumnName, MetricName, SpecModel, Text
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.units import Number, Whole

Rows = Annotated[Whole, Field(ge=1, le=1_000_000_000)]
Confidence = Annotated[Number, Field(ge=0.5, lt=1)]

FEW_ROWS = (
    "Least rows of the test window that are evidence about a group. They must also lie on at least five "
    "days; where data.keys names no time, there must be at least 30 of them."
)
ON_FEW_ROWS = (
    "What follows where a group has too little evidence. Refuse: the gate is not passed. LeaveOut: the "
    "group is named and left out; if no group is left, the gate is not passed."
)

_HAS_BOUND = "(has(self.min) || has(self.max))"
GATE_RULES = (
    part_rule(
        "has a bound and a rival; drop `against`, or write a gate of its own for the comparison",
        lambda gate: not gate.is_absolute or gate.against is None,
        Cel(f"!{_HAS_BOUND} || !has(self.against)", "evaluation.gates[]", "against"),
    ),
    part_rule(
        "min is above max, so no model can pass; swap them",
        lambda gate: gate.min is None or gate.max is None or gate.min <= gate.max,
        Cel("!has(self.min) || !has(self.max) || self.min <= self.max", "evaluation.gates[]", "min"),
    ),
    part_rule(
        "margin, minimumEffect and decide: Better are of a comparison, and min and max of none; drop them",
        lambda gate: (
            not gate.is_absolute or not (gate.margin or gate.minimum_effect or gate.decide == "Better")
        ),
        Cel(
            f"!{_HAS_BOUND} || (self.margin == 0.0 && self.minimumEffect == 0.0 && self.decide != 'Better')",
            "evaluation.gates[]",
        ),
    ),
    part_rule(
        "minimumEffect counts only with decide: Better; drop it, or write decide: Better",
        lambda gate: gate.is_absolute or gate.decide == "Better" or not gate.minimum_effect,
        Cel(
            f"{_HAS_BOUND} || self.decide == 'Better' || self.minimumEffect == 0.0",
            "evaluation.gates[]",
            "minimumEffect",
        ),
    ),
    part_rule(
        "only lists values of one column; write exactly one in `slices`",
        lambda gate: not gate.only or len(gate.slices) == 1,
        Cel(
            "!has(self.only) || size(self.only) == 0 || (has(self.slices) && size(self.slices) == 1)",
            "evaluation.gates[]",
            "slices",
        ),
    ),
)


class Gate(SpecModel):
    """One comparison or bound that must be passed."""

    metric: MetricName = Field(
        description="Metric on the test window: the task's or one of `metrics`.", examples=["rocAuc"]
    )
    against: Literal["Champion", "Baseline"] | None = Field(
        None,
        description=(
            "What the version is compared with. Champion: the version that serves, on days that it has "
            "not learnt from; a first version passes, since there is no champion yet. Baseline: an answer "
            "that knows the labels before the test window and no feature; a first version is compared "
            "with it too. Without it: the champion, or nothing where `min` or `max` is given."
        ),
        examples=["Champion"],
    )
    min: Number | None = Field(
        None,
        description="The metric itself must be at least this, also that of a first version.",
        examples=[0.7],
    )
    max: Number | None = Field(
        None,
        description="The metric itself must be at most this, also that of a first version.",
        examples=[0.6],
    )
    decide: Literal["Better", "NotWorse", "UnlessWorse"] = Field(
        "NotWorse",
        description=(
            "What must be shown. Better: that it is better by more than `minimumEffect`. NotWorse: that "
            "it is worse by less than `margin`, or keeps its bound. UnlessWorse: nothing, but the gate "
            "fails if it is shown to be worse by more than `margin`, or to break its bound; for a "
            "champion under alert, where the rollout judges again."
        ),
        examples=["UnlessWorse"],
    )
    margin: Number = Field(
        0.0, ge=0, description="How much worse than the other it may be.", examples=[0.005]
    )
    minimum_effect: Number = Field(
        0.0, ge=0, description="How much better it must be under `decide: Better`.", examples=[0.01]
    )
    confidence: Confidence = Field(
        0.95,
        description="Confidence of the one-sided bound, of the metric or of the difference.",
        examples=[0.95],
    )
    slices: tuple[ColumnName, ...] = Field(
        (),
        max_length=10,
        description=(
            "Columns. Each of their values must pass by itself, so that a good mean can't hide a bad "
            "part. Without it the test window is judged as a whole."
        ),
        examples=[["carrier"]],
    )
    only: tuple[Text, ...] = Field(
        (),
        max_length=100,
        description=(
            "Values of the one column in `slices` that are judged, also where the test window has none of "
            "their rows. Without it all values are judged that it has."
        ),
        examples=[["AA", "UA"]],
    )
    min_rows: Rows = Field(100, description=FEW_ROWS, examples=[200])
    on_few_rows: Literal["Refuse", "LeaveOut"] = Field(
        "Refuse", description=ON_FEW_ROWS, examples=["LeaveOut"]
    )

    @property
    def is_absolute(self) -> bool:
        """Whether it holds the metric itself against a bound."""
        return self.min is not None or self.max is not None

    @property
    def rival(self) -> Literal["Champion", "Baseline"] | None:
        """With what the metric is compared; None: with nothing."""
        return None if self.is_absolute else self.against or "Champion"

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> Gate:
        return require(self, GATE_RULES)
