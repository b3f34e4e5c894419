"""Online metrics: what users do after an answer, as events that are posted to the gateway."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from capstan.spec.grammar import OwnMetricName, SpecModel, Text
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.tasks import MetricFacts
from capstan.spec.units import Duration, Number, PositiveDuration

EVENT_PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]*$"
LONGEST_EVENT = 63
EventName = Annotated[str, StringConstraints(pattern=EVENT_PATTERN, max_length=LONGEST_EVENT)]
"""A letter, then letters, digits, dots, dashes and underscores; at most 63."""

ONLINE_RULES = (
    part_rule(
        "cap bounds a Count, a Sum or a Mean: a Rate is 0 or 1 by itself; drop it",
        lambda metric: metric.cap is None or metric.aggregate != "Rate",
        Cel("self.aggregate != 'Rate' || !has(self.cap)", "evaluation.online[]", "cap"),
    ),
)


class OnlineMetric(SpecModel):
    """What one unit did within a time after it was answered."""

    name: OwnMetricName = Field(
        description="Name of the metric in this file and in tables; not that of another metric.",
        examples=["revenue"],
    )
    title: Text | None = Field(
        None,
        description="Title that people read; without it the name is shown.",
        examples=["revenue of a customer, $"],
    )
    event: EventName = Field(
        description="Name of the events it reads, as they are posted to `/events`.", examples=["purchase"]
    )
    aggregate: Literal["Count", "Sum", "Mean", "Rate"] = Field(
        description=(
            "What a unit's events become. Count: how many. Sum and Mean: of their values; a unit without events has "
            "the sum 0 and no mean. Rate: 1 if there was any, else 0."
        ),
        examples=["Sum"],
    )
    per: Literal["Request", "Unit"] = Field(
        "Unit",
        description=(
            "Which events count together. Unit: those of one value of `data.keys.stickyBy`, from its "
            "first request on; a request without such a value is a unit by itself. Request: those that "
            "name one request, or the id that it asked about."
        ),
        examples=["Unit"],
    )
    window: PositiveDuration = Field(description="How long after the answer events count.", examples=["7d"])
    maximum_delay: Duration = Field(
        timedelta(minutes=10),
        description="How long after it happened an event may be posted; a unit counts when both have passed.",
        examples=["1d"],
    )
    better: Literal["Higher", "Lower"] = Field(
        description="Whether lower or higher values are better.", examples=["Higher"]
    )
    cap: Number | None = Field(
        None,
        gt=0,
        description=(
            "Bound of one unit's outcome, above 0 and below 0, so that no single unit decides: an outcome "
            "beyond it counts as the bound. Without it there is none."
        ),
        examples=[500],
    )

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> OnlineMetric:
        return require(self, ONLINE_RULES)

    @property
    def facts(self) -> MetricFacts:
        """What other metrics' facts say of them; no answer has a loss by it, so versions are not paired by it."""
        return MetricFacts(self.name, self.title or self.name, self.better, "window")

    @property
    def needs_value(self) -> bool:
        """Whether an event that it reads must carry a number."""
        return self.aggregate in ("Sum", "Mean")

    @property
    def closes_after(self) -> timedelta:
        """Time after a unit's first request at which nothing more is awaited."""
        return self.window + self.maximum_delay
