"""Step 1 and 2: what the system is for, and what it must keep to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.grammar import ColumnName, SpecModel, Text
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.tasks import TASK_FACTS, TASKS_LATER, USUAL_THRESHOLD, VALUE, MetricFacts, TaskFacts
from capstan.spec.units import Number, PositiveDuration, Quantity, Share, Whole
from capstan.spec.value import AnswerValue, ClassText


def _runs_today(value: Any) -> Any:
    if value in TASKS_LATER:
        raise PydanticCustomError(
            "not_in_this_version",
            "is not in this version; tasks that run today: {tasks}",
            {"tasks": ", ".join(TASK_FACTS)},
        )
    return value


if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Annotated[Literal[tuple(TASK_FACTS)], BeforeValidator(_runs_today)]


LOSS_RULES = (
    part_rule(
        "huberDelta is above maximumError, beyond which no error counts; write a smaller one",
        lambda losses: losses.huber_delta is None or losses.huber_delta <= losses.maximum_error,
        Cel(
            "!has(self.huberDelta) || self.huberDelta <= self.maximumError", "objective.losses", "huberDelta"
        ),
    ),
)


class NumberLosses(SpecModel):
    """Which errors of a number count, in units of the label; stated beforehand, never learnt from what is compared."""

    maximum_error: Number = Field(
        gt=0,
        description=(
            "Largest error of one answer that counts. A larger error has the same loss as this one, so "
            "that no single row decides. RMSE, MAE, MAPE and R2 are computed from errors as they are."
        ),
        examples=[180],
    )
    huber_delta: Number | None = Field(
        None,
        gt=0,
        description=(
            "Size from which an error is large. Beyond it the loss `huber` grows linearly, and two "
            "versions disagree if their answers differ by more than this. Without it a tenth of "
            "`maximumError`."
        ),
        examples=[15],
    )
    quantile: Number = Field(
        0.5,
        gt=0,
        lt=1,
        description="Level of the loss `quantileLoss`: at 0.9 an answer that is too low costs nine times as much.",
        examples=[0.9],
    )

    @model_validator(mode="after")
    def _small_errors_are_smaller(self) -> NumberLosses:
        return require(self, LOSS_RULES)


WORD_RULES = (
    part_rule(
        "positive and negative go together, one word for true and another for false; write both, or drop both",
        lambda objective: (
            (objective.positive is None and objective.negative is None)
            or (
                objective.positive is not None
                and objective.negative is not None
                and objective.positive != objective.negative
            )
        ),
        Cel(
            "has(self.positive) == has(self.negative) && (!has(self.positive) || self.positive != self.negative)",
            "objective",
        ),
    ),
)


class Objective(SpecModel):
    """What the system is for."""

    business: Text | None = Field(
        None,
        description="What it is good for, in the words of those who pay for it; shown on the page.",
        examples=["Warn passengers early"],
    )
    ml: Text | None = Field(
        None,
        description="What the model is asked, so that the business gets it; shown on the card of a version.",
        examples=["Order tomorrow's flights by how likely they are late"],
    )
    task: TaskName = Field(
        description="Kind of prediction; decides metrics, losses and the shape of answers.",
        examples=["BinaryClassification"],
    )
    target: ColumnName = Field(
        description="Name of what is predicted; the column of the label.", examples=["late"]
    )
    positive: ClassText | None = Field(
        None,
        description=(
            "How the table writes a label that is true, where that is neither true, yes nor 1. Labels are handed in, "
            "and answers told, in this word and that of `negative`."
        ),
        examples=["malignant"],
    )
    negative: ClassText | None = Field(
        None, description="How the table writes a label that is false.", examples=["benign"]
    )
    losses: NumberLosses | None = Field(
        None,
        description="Which errors count. Required where the label is a number, and refused for other tasks.",
        examples=[{"maximumError": 180}],
    )
    value: AnswerValue | None = Field(
        None,
        description=(
            "What right and wrong answers are worth, in money or in another unit. It adds the metric "
            "`value`. Where labels are true or false, the answer is the one that is worth more. Where "
            "they are numbers, you state the worth of each unit of error; where they are classes, that of "
            "right and wrong answers."
        ),
        examples=[{"currency": "$", "truePositive": 35, "falsePositive": -5, "falseNegative": -60}],
    )

    flagged_share: Number | None = Field(
        None,
        gt=0,
        le=0.5,
        description=(
            "Which share of the rows that are learnt from is flagged as unusual: as many as people can look at. "
            "It sets the threshold of the score. Without it 0.01. Only for AnomalyDetection."
        ),
        examples=[0.02],
    )

    @model_validator(mode="after")
    def _two_words_or_none(self) -> Objective:
        return require(self, WORD_RULES)

    @property
    def words(self) -> tuple[str, str] | None:
        """How the table writes false and true; None: in the usual words."""
        return None if self.positive is None or self.negative is None else (self.negative, self.positive)

    @property
    def facts(self) -> TaskFacts:
        """Of the task, with the metric of what answers are worth where that is stated."""
        facts = TASK_FACTS[self.task]
        if self.flagged_share is not None and facts.flagged_share is not None:
            facts = replace(facts, flagged_share=float(self.flagged_share))
        # Of another task a rule says that it has no use for the worths.
        if self.value is None or self.value.kinds != (facts.label,):
            return facts
        return facts.with_metrics((self.value.facts,))

    @property
    def threshold(self) -> float:
        """From which probability on the answer of a task that has one is true."""
        return USUAL_THRESHOLD if self.value is None else self.value.threshold

    def usual(self, metric: MetricFacts, number: Literal["margin", "max_drop"]) -> float:
        """The number of the metric where the file names none, in the metric's unit."""
        maximum = None if self.losses is None else self.losses.maximum_error
        if metric.name == VALUE and self.value is not None:
            maximum = self.value.spread(maximum)
        return metric.in_units(getattr(metric, number), maximum)


class TrainingCost(SpecModel):
    """What one training may cost, by its hours and the price of an hour."""

    most: Number = Field(gt=0, description="A training must not cost more than this.", examples=[5])
    per_hour: Number = Field(
        gt=0, description="Price of one hour of the machine that trains.", examples=[1.2]
    )
    currency: Text | None = Field(
        None, description="Unit in which both are told. Without it they are plain numbers.", examples=["$"]
    )


class Scale(SpecModel):
    """How much is expected. It is told on the card of each version; nothing is held to it."""

    users: Whole | None = Field(
        None, ge=1, description="Who is served. Without it nothing is told.", examples=[100_000]
    )
    items: Whole | None = Field(
        None, ge=1, description="What there is to choose from. Without it nothing is told.", examples=[5000]
    )
    requests_per_day: Number | None = Field(
        None, gt=0, description="Requests of a day. Without it nothing is told.", examples=[2_000_000]
    )
    growth_per_month: Share | None = Field(
        None,
        description="By which share of a month's requests the next month has more. Without it they stay as many.",
        examples=["10%"],
    )


class Requirements(SpecModel):
    """Bounds that a version must keep to be promoted, and what it is made for."""

    latency_p99: PositiveDuration | None = Field(
        None,
        description=(
            "99 of 100 requests must be answered within this time. Without it a challenger is only "
            "compared with the champion."
        ),
        examples=["50ms"],
    )
    place: Literal["Cloud", "OnDevice"] = Field(
        "Cloud",
        description=(
            "Where versions answer. OnDevice: a version is promoted only if a graph of ONNX answers each of its "
            "example rows as the version does, so that `capstan export` can take it to a device. Needs the extra "
            "`onnx`."
        ),
        examples=["OnDevice"],
    )
    scale: Scale = Field(
        default_factory=Scale,
        description="How much is expected: users, items, requests and their growth. Told on the card, not enforced.",
        examples=[{"requestsPerDay": 2_000_000, "growthPerMonth": "10%"}],
    )
    model_size: Quantity | None = Field(
        None,
        description="A packaged model must not be larger than this. Without it any size is allowed.",
        examples=["50Mi"],
    )
    throughput: Number | None = Field(
        None,
        gt=0,
        description=(
            "A version must answer at least so many rows a second, one after the other on one core, without HTTP; a "
            "slower one is not promoted. It is measured on example rows where the version is packaged. Without it any "
            "speed is allowed. A backtest does not judge it."
        ),
        examples=[500],
    )
    training_time: PositiveDuration | None = Field(
        None,
        description=(
            "A training must not take longer than this, from the beginning of its first step to the registration; a "
            "version whose training did is not promoted. Without it any time is allowed. A backtest does not judge it."
        ),
        examples=["2h"],
    )
    training_cost: TrainingCost | None = Field(
        None,
        description=(
            "A training must not cost more than this, by its hours times the price of an hour; a version whose "
            "training did is not promoted. Without it any cost is allowed. A backtest does not judge it."
        ),
        examples=[{"most": 5, "perHour": 1.2, "currency": "$"}],
    )
