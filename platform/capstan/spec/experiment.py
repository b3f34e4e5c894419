"""The rollout step that divides users between versions: its arms, metrics, guardrails and test."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from capstan.spec.grammar import OWN_METRIC, MetricName, OwnMetric, SpecModel
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.units import Duration, Number, PositiveDuration, Whole

LEAST_UNITS = 500
"""Units below which no difference of means is trusted."""
MOST_ARMS = 8
STICKING = timedelta(days=1)
"""How long a user's losses are followed where the file names no window."""
ONE_REQUEST = timedelta(seconds=1)
"""The same where each request is a unit of its own."""
ONE_LOOK = ("FixedHorizon", "MannWhitney")
"""Tests that look once, at the end of the step's duration, and wait for nothing then."""
VERSION_PATTERN = r"^v[1-9][0-9]*$"
VersionText = Annotated[str, StringConstraints(pattern=VERSION_PATTERN, max_length=10)]
ArmWeight = Annotated[Whole, Field(ge=1, le=98)]
RunnersUp = Annotated[Whole, Field(ge=0, le=MOST_ARMS)]
ArmMargin = Annotated[
    Number,
    Field(ge=0, description="By how much an arm may be worse, in the metric's unit.", examples=[0.01]),
]
ArmEffect = Annotated[
    Number,
    Field(ge=0, description="By how much it must be better under `decide: Better`.", examples=[0.01]),
]
ArmAlpha = Annotated[
    Number,
    Field(
        gt=0,
        lt=0.5,
        description="Highest probability of a wrong verdict; divided by the number of challengers.",
        examples=[0.05],
    ),
]
ArmUnits = Annotated[
    Whole,
    Field(
        ge=LEAST_UNITS,
        le=1_000_000_000,
        description="Units of the champion and an arm that have an outcome before anything is decided.",
        examples=[2000],
    ),
]

EXPERIMENT_RULES = (
    part_rule(
        "weights of the arms leave nothing to the champion; make them smaller, together at most 99",
        lambda step: step.weight * (1 + step.runners_up) + sum(arm.weight for arm in step.arms) <= 99,
        Cel(
            "self.weight * (1 + self.runnersUp) + (has(self.arms) ? self.arms.map(a, a.weight).sum() : 0) <= 99",
            "rollout.steps[].experiment",
            "arms",
        ),
    ),
    part_rule(
        "a version has two arms; write it once",
        lambda step: len({arm.version for arm in step.arms}) == len(step.arms),
        Cel(
            "!has(self.arms) || self.arms.all(a, self.arms.exists_one(b, b.version == a.version))",
            "rollout.steps[].experiment",
            "arms",
        ),
    ),
    part_rule(
        "a test of one look has it at the end of its duration; write a duration above 0, or test: AlwaysValid",
        lambda step: step.test == "AlwaysValid" or step.duration > timedelta(0),
        Cel(
            "self.test == 'AlwaysValid' || !(self.duration in ['0s', '0m', '0h', '0d', '0ms'])",
            "rollout.steps[].experiment",
            "duration",
        ),
    ),
    part_rule(
        "blocks: Day goes with test: AlwaysValid alone; drop one of them",
        lambda step: step.test == "AlwaysValid" or step.blocks == "Unit",
        Cel(
            "self.test == 'AlwaysValid' || self.blocks == 'Unit'",
            "rollout.steps[].experiment",
            "blocks",
        ),
    ),
    part_rule(
        "test: MannWhitney compares ranks, which no covariate explains; drop it, or take test: FixedHorizon",
        lambda step: step.test != "MannWhitney" or step.covariate is None,
        Cel(
            "self.test != 'MannWhitney' || !has(self.covariate)",
            "rollout.steps[].experiment",
            "covariate",
        ),
    ),
)
ARM_RULES = (
    part_rule(
        "margin 0 under decide: NotWorse asks for a better model; write a margin above 0, or decide: Better",
        lambda step: step.decide != "NotWorse" or step.margin > 0,
        *(
            Cel("self.decide != 'NotWorse' || self.margin > 0.0", place, "margin")
            for place in ("rollout.steps[].experiment", "rollout.steps[].bandit")
        ),
    ),
    part_rule(
        "minimumEffect of a step counts only with decide: Better; drop it, or write decide: Better",
        lambda step: step.decide == "Better" or not step.minimum_effect,
        *(
            Cel("self.decide == 'Better' || self.minimumEffect == 0.0", place, "minimumEffect")
            for place in ("rollout.steps[].experiment", "rollout.steps[].bandit")
        ),
    ),
)
"""Of experiments and of bandits."""
UNLESS_WORSE_ENDS = part_rule(
    "decide: UnlessWorse waits while a challenger looks worse, without a deadline perhaps for ever; write a deadline, "
    "such as 28d, or decide otherwise",
    lambda step: (
        step.decide != "UnlessWorse" or step.deadline is not None or getattr(step, "test", "") in ONE_LOOK
    ),
    Cel(
        f"self.decide != 'UnlessWorse' || has(self.deadline) || self.test in {[*ONE_LOOK]}",
        "rollout.steps[].experiment",
        "deadline",
    ),
    *(
        Cel("self.decide != 'UnlessWorse' || has(self.deadline)", place, "deadline")
        for place in ("rollout.steps[].bandit", "rollout.steps[].interleave")
    ),
)
"""Of the steps that look at units every few seconds, where waiting counts towards no limit."""


class ExperimentArm(SpecModel):
    """A registered version that is compared besides the challenger."""

    version: VersionText = Field(description="Name in the registry.", examples=["v3"])
    weight: ArmWeight = Field(description="Share of requests that it answers, in percent.", examples=[20])


class ExperimentGuardrail(SpecModel):
    """A metric that must not become worse."""

    metric: MetricName = Field(
        description="Loss of the task, or a metric of `evaluation.online`.", examples=["complaints"]
    )
    margin: ArmMargin = 0.0


class Experiment(SpecModel):
    """An A/B test: each version answers its share of the users, and the better one is found out."""

    weight: Annotated[Whole, Field(ge=1, le=99)] = Field(
        50, description="Share of requests the challenger answers, in percent.", examples=[50]
    )
    arms: tuple[ExperimentArm, ...] = Field(
        (),
        max_length=MOST_ARMS,
        description=(
            "Registered versions that take part besides champion and challenger (A/B/n). The one that wins goes on "
            "through the remaining steps. One step of a rollout may have some."
        ),
        examples=[[{"version": "v3", "weight": 20}]],
    )
    runners_up: RunnersUp = Field(
        0,
        description=(
            "How many runners-up of the training run take part too, each with the challenger's share: its next best "
            "candidates, judged by the same gates. The one that wins goes on as one of `arms` does."
        ),
        examples=[1],
    )
    metric: OwnMetric = Field(
        OWN_METRIC,
        description="What decides: a loss of the task or a metric of `evaluation.online`; without it the task's own.",
        examples=["logLoss"],
    )
    secondary: tuple[MetricName, ...] = Field(
        (), max_length=10, description="Metrics that are reported and decide nothing.", examples=[["revenue"]]
    )
    guardrails: tuple[ExperimentGuardrail, ...] = Field(
        (),
        max_length=10,
        description=(
            "Metrics by which an arm must not be shown worse. An alarm, one-sided at alpha divided by their number, "
            "rolls the challenger back or takes a further arm out."
        ),
        examples=[[{"metric": "brierScore", "margin": 0.01}]],
    )
    test: Literal["AlwaysValid", "FixedHorizon", "MannWhitney"] = Field(
        "AlwaysValid",
        description=(
            "AlwaysValid: you may look at any time. FixedHorizon: one look, at the end of `duration`, by "
            "a test of proportions for shares and by Welch's test for other metrics. MannWhitney: one "
            "look at ranks; the effect is by how much the share of pairs of units in which an arm is "
            "better exceeds one half."
        ),
        examples=["AlwaysValid"],
    )
    decide: Literal["Better", "NotWorse", "UnlessWorse"] = Field(
        "Better",
        description="What must be shown, as in an analysis.",
        examples=["NotWorse"],
    )
    margin: ArmMargin = 0.0
    minimum_effect: ArmEffect = 0.0
    expected_effect: Annotated[Number, Field(gt=0)] | None = Field(
        None,
        description=(
            "Improvement that the experiment should find with a power of 80 %: `plan` tells what it takes, and a "
            "deadline that is too short for it is refused. It decides nothing."
        ),
        examples=[0.02],
    )
    alpha: ArmAlpha = 0.05
    blocks: Literal["Unit", "Day"] = Field(
        "Unit",
        description=(
            "What counts as one independent observation. Unit: a unit. Day: a whole day, or several days "
            "together where neighbouring days are correlated."
        ),
        examples=["Day"],
    )
    window: Duration | None = Field(
        None,
        description=(
            "How long a unit is followed from its first request on; without it the online metric's own, for a loss 1d "
            "where users stick to a version, else 1s."
        ),
        examples=["7d"],
    )
    cap: Annotated[Number, Field(gt=0)] | None = Field(
        None, description="Bound of one unit's outcome; without it the metric's own.", examples=[500]
    )
    covariate: PositiveDuration | None = Field(
        None,
        description=(
            "Length of a time before the step. A unit's outcome in that time makes the variance smaller "
            "(CUPED)."
        ),
        examples=["14d"],
    )
    min_units: ArmUnits = LEAST_UNITS
    duration: Duration = Field(
        timedelta(0),
        description="The step lasts at least this long. Under a test of one look, units count that begin "
        "within it.",
        examples=["14d"],
    )
    deadline: PositiveDuration | None = Field(
        None,
        description="Without a verdict by then, `limits.onInconclusive` decides; without it there is no deadline.",
        examples=["28d"],
    )

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Experiment:
        return require(self, (*EXPERIMENT_RULES, *ARM_RULES, UNLESS_WORSE_ENDS))
