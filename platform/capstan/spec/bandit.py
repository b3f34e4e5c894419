"""The rollout step whose weights follow the rewards: its arms, policy, metric and rule."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from capstan.spec.experiment import (
    ARM_RULES,
    LEAST_UNITS,
    MOST_ARMS,
    UNLESS_WORSE_ENDS,
    ArmAlpha,
    ArmEffect,
    ArmMargin,
    ArmUnits,
    ExperimentGuardrail,
    RunnersUp,
    VersionText,
)
from capstan.spec.grammar import OWN_METRIC, OwnMetric, SpecModel
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.units import Duration, Number, PositiveDuration, Whole

_PLACE = "rollout.steps[].bandit"

BANDIT_RULES = (
    part_rule(
        "floor for each arm makes more than 100 percent; make it smaller",
        lambda step: step.floor * (len(step.arms) + step.runners_up + 2) <= 100,
        Cel(
            "self.floor * ((has(self.arms) ? size(self.arms) : 0) + self.runnersUp + 2) <= 100",
            _PLACE,
            "floor",
        ),
    ),
    part_rule(
        "a version stands twice among the arms; keep one",
        lambda step: len(set(step.arms)) == len(step.arms),
        Cel(
            "!has(self.arms) || self.arms.all(a, self.arms.exists_one(b, b == a))",
            _PLACE,
            "arms",
        ),
    ),
)


class Bandit(SpecModel):
    """Versions share the requests, and the better one gets more of them while it is found out."""

    arms: tuple[VersionText, ...] = Field(
        (),
        max_length=MOST_ARMS,
        description=(
            "Registered versions that take part besides champion and challenger. The one that wins goes on through the "
            "remaining steps. One step of a rollout may have some."
        ),
        examples=[["v3"]],
    )
    runners_up: RunnersUp = Field(
        0,
        description=(
            "How many runners-up of the training run take part too: its next best candidates, judged by the same gates."
        ),
        examples=[1],
    )
    policy: Literal["Thompson", "UCB1", "EpsilonGreedy"] = Field(
        "Thompson",
        description=(
            "Thompson: an arm gets the probability that it is the best. UCB1: the best upper bound gets all above the "
            "floor. EpsilonGreedy: the best mean gets all but `epsilon`."
        ),
        examples=["Thompson"],
    )
    metric: OwnMetric = Field(
        OWN_METRIC,
        description="The reward: a metric of `evaluation.online` or a loss of the task; without it the task's own.",
        examples=["bookings"],
    )
    guardrails: tuple[ExperimentGuardrail, ...] = Field(
        (),
        max_length=10,
        description=(
            "Metrics by which an arm must not be shown worse. An alarm, one-sided at alpha divided by their number, "
            "rolls the challenger back or takes a further arm out."
        ),
        examples=[[{"metric": "complaints", "margin": 0.01}]],
    )
    floor: Annotated[Whole, Field(ge=1, le=50)] = Field(
        5,
        description="Least share of each arm in percent, so that it can still be learned about.",
        examples=[5],
    )
    epsilon: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.1, description="Share that EpsilonGreedy divides equally between all arms.", examples=[0.1]
    )
    per: Literal["Batch", "Request"] = Field(
        "Batch",
        description=(
            "Batch: the gateway splits requests by weights, which move. Request: a router in a graph of "
            "Seldon draws a version for each request, and records the shares by which it drew; it needs "
            "the provider Istio."
        ),
        examples=["Request"],
    )
    batch: PositiveDuration = Field(
        timedelta(days=1),
        description=(
            "How often weights move, by what is known then. With `per: Request`: how often the router is "
            "told about rewards."
        ),
        examples=["6h"],
    )
    window: Duration | None = Field(
        None,
        description=(
            "How long a unit is followed from its first request on; without it the online metric's own, for a loss 1d "
            "where users stick to a version, else 1s."
        ),
        examples=["1d"],
    )
    cap: Annotated[Number, Field(gt=0)] | None = Field(
        None,
        description="Bound of one unit's reward; without it the metric's own. UCB1 needs one.",
        examples=[500],
    )
    decide: Literal["Better", "NotWorse", "UnlessWorse"] = Field(
        "Better",
        description="What must be shown before an arm is promoted, as in an analysis.",
        examples=["NotWorse"],
    )
    margin: ArmMargin = 0.0
    minimum_effect: ArmEffect = 0.0
    alpha: ArmAlpha = 0.05
    min_units: ArmUnits = LEAST_UNITS
    duration: Duration = Field(timedelta(0), description="The step lasts at least so long.", examples=["14d"])
    deadline: PositiveDuration | None = Field(
        None,
        description="Without a verdict by then, `limits.onInconclusive` decides; without it there is no deadline.",
        examples=["28d"],
    )

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Bandit:
        return require(self, (*BANDIT_RULES, *ARM_RULES, UNLESS_WORSE_ENDS))
