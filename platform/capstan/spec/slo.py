"""Service level objectives: what users are promised, with the share of it that may fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from capstan.spec.grammar import Name, OneOf, SpecModel
from capstan.spec.units import PositiveDuration, Share, format_share

LEAST_OBJECTIVE = 0.95
"""Below it the fastest alert, at 14.4 times the budget, would need more failures than there are requests."""
LONGEST_WINDOW = timedelta(days=30)
"""Prometheus keeps what recorded rules made for a little longer."""


def _objective(share: float) -> float:
    if not LEAST_OBJECTIVE <= share < 1:
        raise PydanticCustomError(
            "objective",
            "is not from 95% to below 100%; at 100% nothing may ever fail, and below 95% the alert at 14.4 times the "
            "budget could hardly fire: write a share such as {example}",
            {"example": "99.9%" if share >= 1 else format_share(LEAST_OBJECTIVE)},
        )
    return share


def _window(window: timedelta) -> timedelta:
    if not timedelta(days=7) <= window <= LONGEST_WINDOW:
        raise PydanticCustomError(
            "window", "is not between 7d and 30d, for which Prometheus keeps what it takes; write 28d or 30d"
        )
    return window


Objective = Annotated[Share, AfterValidator(_objective)]
"""A float from 0.95 to below 1; text such as `99.9%`."""
BudgetWindow = Annotated[PositiveDuration, AfterValidator(_window)]
"""From 7 to 30 days."""
_USUAL_WINDOW = timedelta(days=30)


class AvailabilitySlo(SpecModel):
    """Predictions that are answered without a failure of the system."""

    objective: Objective = Field(
        description="Share of predictions that must be answered, by whichever version. What a client got wrong, "
        "answered with 4xx, does not count.",
        examples=["99.9%"],
    )
    window: BudgetWindow = Field(
        _USUAL_WINDOW, description="Time for which the share is promised.", examples=["30d"]
    )


class LatencySlo(SpecModel):
    """Predictions that are answered fast enough."""

    below: PositiveDuration = Field(
        description="How soon a prediction must be answered at the gateway, a second try included.",
        examples=["100ms"],
    )
    objective: Objective = Field(
        description="Share of predictions that must be answered so soon.", examples=["99%"]
    )
    window: BudgetWindow = Field(
        _USUAL_WINDOW, description="Time for which the share is promised.", examples=["30d"]
    )


class FreshnessSlo(SpecModel):
    """Time in which the monitor knows how the system does lately."""

    of: Literal["Labels", "Requests"] = Field(
        "Labels",
        description="What must be young: the newest window whose labels are in, or the newest window of requests.",
        examples=["Labels"],
    )
    within: PositiveDuration = Field(
        description="How long ago that window may have ended at most.", examples=["10d"]
    )
    objective: Objective = Field(description="Share of the time in which it must be so.", examples=["99%"])
    window: BudgetWindow = Field(
        _USUAL_WINDOW, description="Time for which the share is promised.", examples=["30d"]
    )


class Slo(OneOf):
    """One promise to users, and how much of it may fail."""

    members: ClassVar[tuple[str, ...]] = ("availability", "latency", "freshness")

    name: Name = Field(description="Name by which alerts tell it.", examples=["answered"])
    availability: AvailabilitySlo | None = Field(
        None, description="Predictions are answered.", examples=[{"objective": "99.9%"}]
    )
    latency: LatencySlo | None = Field(
        None,
        description="Predictions are answered soon.",
        examples=[{"below": "100ms", "objective": "99%"}],
    )
    freshness: FreshnessSlo | None = Field(
        None,
        description="The monitor knows how the system does lately.",
        examples=[{"within": "10d", "objective": "99%"}],
    )
