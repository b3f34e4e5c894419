"""The step in which users get one list of both rankers."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from capstan.spec.experiment import UNLESS_WORSE_ENDS
from capstan.spec.grammar import SpecModel
from capstan.spec.online import EventName
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.units import Duration, Number, PositiveDuration, Whole

GUARDRAIL_RULES = (
    part_rule(
        "an event guards twice, or is the step's own; name each once",
        lambda step: len({step.event, *(one.event for one in step.guardrails)}) == 1 + len(step.guardrails),
        Cel(
            "!has(self.guardrails) || self.guardrails.all(a, a.event != self.event && "
            "self.guardrails.exists_one(b, b.event == a.event))",
            "rollout.steps[].interleave",
            "guardrails",
        ),
    ),
    part_rule(
        "Balanced credits by how deep a user looked, which no unwanted event tells; drop the guardrails, or interleave "
        "by method: TeamDraft",
        lambda step: step.method == "TeamDraft" or not step.guardrails,
        Cel(
            "self.method == 'TeamDraft' || !has(self.guardrails) || size(self.guardrails) == 0",
            "rollout.steps[].interleave",
            "guardrails",
        ),
    ),
)


class InterleaveGuardrail(SpecModel):
    """An event that must not fall on the challenger's items more often than on the champion's."""

    event: EventName = Field(
        description="Name of the events, as they are posted to `/events`; each names an item.",
        examples=["return"],
    )
    # Not below 0.5: an API server compares a whole number such as 0 with the whole part of a bound.
    margin: Annotated[Number, Field(ge=0, le=0.45)] = Field(
        0.0,
        description=(
            "Of the units that have more of these events on one side, the challenger's side may have one "
            "half and this much more."
        ),
        examples=[0.05],
    )
    window: PositiveDuration | None = Field(
        None,
        description=(
            "How long after a unit's first request its requests and these events count, such as the days in which "
            "something is sent back; the step waits for `minUnits` units whose window is over. By default the step's."
        ),
        examples=["14d"],
    )


class Interleave(SpecModel):
    """Both rankers order each request, users get one list of the two, and their clicks say whom they prefer."""

    percent: Annotated[Whole, Field(ge=1, le=100)] = Field(
        100, description="Share of requests that is interleaved, in percent.", examples=[100]
    )
    method: Literal["TeamDraft", "Balanced"] = Field(
        "TeamDraft",
        description=(
            "How the list is made. TeamDraft: in each round a coin says who drafts its best free item first; a click "
            "counts for its drafter. Balanced: both alternate from their own top; clicks count for who had more of "
            "them near its top."
        ),
        examples=["TeamDraft"],
    )
    event: EventName = Field(
        description="Name of the events that are clicks, as they are posted to `/events`; each names an item.",
        examples=["click"],
    )
    window: PositiveDuration = Field(
        timedelta(hours=1),
        description="How long after a unit's first request its requests and clicks count.",
        examples=["1h"],
    )
    maximum_delay: Duration = Field(
        timedelta(minutes=10),
        description=(
            "How long after it happened a click, or an event of a guardrail, may be posted; a unit counts when both "
            "have passed."
        ),
        examples=["10m"],
    )
    min_units: Annotated[Whole, Field(ge=20, le=1_000_000_000)] = Field(
        100,
        description="Units (keys of `data.keys.stickyBy`, else requests) before anything is decided.",
        examples=[500],
    )
    alpha: Annotated[Number, Field(gt=0, lt=0.5)] = Field(
        0.05,
        description="Highest probability, over all looks, of naming either ranker where users prefer none.",
        examples=[0.05],
    )
    decide: Literal["Better", "UnlessWorse"] = Field(
        "Better",
        description=(
            "What must be shown. Better: that users prefer the challenger. UnlessWorse: nothing, but there "
            "must be enough units, and the challenger fails if users are shown to prefer the champion, and "
            "does not pass while they seem to; it takes more risk."
        ),
        examples=["Better"],
    )
    guardrails: tuple[InterleaveGuardrail, ...] = Field(
        (),
        max_length=10,
        description=(
            "Events that nobody wants, such as returns. If they are shown to fall on the challenger's items more often "
            "than the margin allows, one-sided at alpha divided by their number, the challenger is rolled back."
        ),
        examples=[[{"event": "return", "margin": 0.05, "window": "14d"}]],
    )
    deadline: PositiveDuration | None = Field(
        None,
        description="Without a verdict by then, `limits.onInconclusive` decides; without it there is no deadline.",
        examples=["14d"],
    )

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Interleave:
        return require(self, (*GUARDRAIL_RULES, UNLESS_WORSE_ENDS))
