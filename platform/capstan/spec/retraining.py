"""What starts a training, and what holds it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.data import TimeZone
from capstan.spec.grammar import Name, OneOf, SpecModel
from capstan.spec.secrets import ValueFrom
from capstan.spec.units import Duration, PositiveDuration, Whole

_ANY_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


def _cron(value: str) -> str:
    try:
        # A sixth field would be seconds, of which a loop that looks now and then knows nothing.
        moment = next(CronSim(value, _ANY_MOMENT), None) if len(value.split()) == 5 else None
    except CronSimError:
        moment = None
    if moment is None:
        raise PydanticCustomError(
            "cron", "is no cron line; write minute hour day month weekday, such as 0 6 * * MON"
        )
    return value


Cron = Annotated[str, AfterValidator(_cron)]


class OnDrift(SpecModel):
    """A drift alert starts a training."""


class OnQuality(SpecModel):
    """A quality alert starts a training."""


class OnEstimatedQuality(SpecModel):
    """An alert by estimated quality starts a training."""


class OnSchedule(SpecModel):
    """The calendar starts a training."""

    cron: Cron = Field(
        description="Minute, hour, day, month, weekday, as cron reads them.", examples=["0 6 * * MON"]
    )
    time_zone: TimeZone = Field(
        "UTC", description="IANA zone of the cron line.", examples=["America/New_York"]
    )


class OnNewData(SpecModel):
    """New labels start a training."""

    rows: Annotated[Whole, Field(ge=1)] = Field(
        description="So many cases got a label that the last training did not know.", examples=[50000]
    )


class OnWebhook(SpecModel):
    """A signed call of another system starts a training."""

    sender: Name = Field(
        description="Name of the system that calls; it posts to `/webhooks/SENDER` of the gateway.",
        examples=["airflow"],
    )
    secret_from: ValueFrom = Field(
        description="Secret that signs its calls, by Standard Webhooks: base64 of 24 to 64 bytes. While it is being "
        "changed, it may hold two, a line each.",
        examples=[{"secretKeyRef": {"name": "airflow", "key": "webhook"}}],
    )


class SingleTrigger(OneOf):
    """One reason to train."""

    members: ClassVar[tuple[str, ...]] = (
        "drift",
        "quality",
        "estimated_quality",
        "schedule",
        "new_data",
        "webhook",
    )

    drift: OnDrift | None = Field(None, description="An alert of drift.", examples=[{}])
    quality: OnQuality | None = Field(None, description="An alert of falling quality.", examples=[{}])
    estimated_quality: OnEstimatedQuality | None = Field(
        None,
        description="An alert by estimated quality, before labels come; `monitoring.estimate.alert` raises it.",
        examples=[{}],
    )
    schedule: OnSchedule | None = Field(None, description="The calendar.", examples=[{"cron": "0 6 * * MON"}])
    new_data: OnNewData | None = Field(
        None,
        description="New labels, as `feedback` brings them.",
        examples=[{"rows": 50000}],
    )
    webhook: OnWebhook | None = Field(
        None,
        description="A signed call of another system, such as a data pipeline that is done.",
        examples=[
            {"sender": "airflow", "secretFrom": {"secretKeyRef": {"name": "airflow", "key": "webhook"}}}
        ],
    )


class OnAll(SpecModel):
    """Several reasons that hold at once start a training."""

    of: tuple[SingleTrigger, ...] = Field(
        min_length=2,
        max_length=20,
        description="Reasons of which each must hold.",
        examples=[[{"drift": {}}, {"newData": {"rows": 5000}}]],
    )


class RetrainingTrigger(SingleTrigger):
    """One reason to train, or several that must hold at once."""

    members: ClassVar[tuple[str, ...]] = (*SingleTrigger.members, "all")

    all: OnAll | None = Field(
        None,
        description="Several reasons at once.",
        examples=[{"of": [{"drift": {}}, {"newData": {"rows": 5000}}]}],
    )


class Budget(SpecModel):
    """How many trainings may start within a period."""

    runs: Annotated[Whole, Field(ge=1, le=10_000)] = Field(4, description="Trainings at most.", examples=[4])
    per: PositiveDuration = Field(timedelta(days=30), description="Length of that period.", examples=["30d"])


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

    @property
    def webhooks(self) -> dict[str, OnWebhook]:
        """Each sender's, by its field."""
        found: dict[str, OnWebhook] = {}
        for index, trigger in enumerate(self.triggers):
            place = f"retraining.triggers[{index}]"
            together = trigger.all.of if trigger.all is not None else ()
            beside = {f"{place}.all.of[{number}]": one for number, one in enumerate(together)}
            for field, one in {place: trigger, **beside}.items():
                senders = [known.sender for known in found.values()]
                if one.webhook is not None and one.webhook.sender not in senders:
                    found[f"{field}.webhook"] = one.webhook
        return found
