"""What starts a training, and what holds it back."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.data import TimeZone
from capstan.spec.grammar import OneOf, SpecModel
from capstan.spec.units import Duration, PositiveDuration, Whole

_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def _cron(value: str) -> str:
    fields = value.split()
    if len(fields) != 5 or not all(map(_cron_field, fields, _CRON_RANGES)):
        raise PydanticCustomError(
            "cron", "is not a cron line; write minute hour day month weekday in numbers, such as 0 6 * * 1"
        )
    return value


def _cron_field(text: str, bounds: tuple[int, int]) -> bool:
    low, high = bounds
    for part in text.split(","):
        span, _, step = part.partition("/")
        if "/" in part and not (step.isascii() and step.isdigit() and len(step) < 4 and int(step) > 0):
            return False
        if span == "*":
            continue
        ends = span.split("-")
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() and len(end) < 4 for end in ends):
            return False
        if not low <= int(ends[0]) <= int(ends[-1]) <= high:
            return False
    return True


class OnDrift(SpecModel):
    """A drift alert starts a training."""


class OnQuality(SpecModel):
    """A quality alert starts a training."""


class OnSchedule(SpecModel):
    """The calendar starts a training."""

    cron: Annotated[str, AfterValidator(_cron)] = Field(
        description="Minute, hour, day, month, weekday, in numbers.", examples=["0 6 * * 1"]
    )
    time_zone: TimeZone = Field(
        "UTC", description="IANA zone of the cron line.", examples=["America/New_York"]
    )


class OnNewData(SpecModel):
    """New labelled rows start a training."""

    rows: Annotated[Whole, Field(ge=1)] = Field(
        description="So many labelled rows since the champion's training.", examples=[50000]
    )


class RetrainingTrigger(OneOf):
    """One reason to train."""

    members: ClassVar[tuple[str, ...]] = ("drift", "quality", "schedule", "new_data")

    drift: OnDrift | None = Field(None, description="An alert of drift.", examples=[{}])
    quality: OnQuality | None = Field(None, description="An alert of falling quality.", examples=[{}])
    schedule: OnSchedule | None = Field(
        None, description="The calendar; not in this version.", examples=[{"cron": "0 6 * * 1"}]
    )
    new_data: OnNewData | None = Field(
        None, description="New labelled rows; not in this version.", examples=[{"rows": 50000}]
    )


class Budget(SpecModel):
    """How many trainings may start within a period."""

    runs: Annotated[Whole, Field(ge=1, le=10_000)] = Field(4, description="Trainings at most.", examples=[4])
    per: PositiveDuration = Field(timedelta(days=30), description="In this time.", examples=["30d"])


class Backoff(SpecModel):
    """What follows failed trainings."""

    initial: PositiveDuration = Field(
        timedelta(hours=1), description="Wait after the first failure; it doubles with each.", examples=["1h"]
    )
    maximum: PositiveDuration = Field(timedelta(days=2), description="Longest wait.", examples=["2d"])
    circuit_after: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        5,
        description="After this many failures in a row no training starts until a person resets it.",
        examples=[5],
    )

    @model_validator(mode="after")
    def _ordered(self) -> Backoff:
        if self.initial > self.maximum:
            raise PydanticCustomError(
                "backoff", "initial is longer than maximum; raise maximum or lower initial"
            )
        return self


def _default_triggers() -> tuple[RetrainingTrigger, ...]:
    return (RetrainingTrigger(drift=OnDrift()), RetrainingTrigger(quality=OnQuality()))


class Retraining(SpecModel):
    """Triggers, cooldown, budget and approval."""

    triggers: tuple[RetrainingTrigger, ...] = Field(
        default_factory=_default_triggers,
        max_length=100,
        description="Reasons to train; an empty list leaves it to people.",
        examples=[[{"drift": {}}, {"quality": {}}]],
    )
    cooldown: Duration = Field(
        timedelta(days=1),
        description="No training starts within this time after the last one; triggers are kept.",
        examples=["14d"],
    )
    budget: Budget = Field(
        default_factory=Budget,
        description="How many trainings may start within a period.",
        examples=[{"runs": 4, "per": "30d"}],
    )
    approval: Literal["Automatic", "Required"] = Field(
        "Automatic", description="Whether a person must approve each training.", examples=["Automatic"]
    )
    loop_breaker: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        3,
        description="After this many retrained models in a row that were not promoted, a person must "
        "approve the next.",
        examples=[3],
    )
    backoff: Backoff = Field(
        default_factory=Backoff,
        description="What follows failed trainings.",
        examples=[{"initial": "1h", "maximum": "2d", "circuitAfter": 5}],
    )
