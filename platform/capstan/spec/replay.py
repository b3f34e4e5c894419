"""Recorded data sent as live traffic, in event time."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.grammar import ColumnName, SpecModel, Text
from capstan.spec.units import Day, Duration, PositiveDuration, Share, Whole


class Charges(SpecModel):
    """Event time that slow work is charged, so that a replay decides the same on any machine."""

    training: Duration = Field(timedelta(hours=2), description="Event time of a training.", examples=["2h"])
    deployment: Duration = Field(
        timedelta(minutes=15), description="Event time of a deployment.", examples=["15m"]
    )


class ReplayedEvents(SpecModel):
    """What users do with their answers."""

    query: Text = Field(
        description=(
            "SQL whose rows are events, with the columns event, at, one of id, request_id and unit, and value. It "
            "reads `answers` (id, request_id, unit, arm, version, time, and the outputs) and `cases` (the recorded "
            "rows with their labels). A row whose event or at is null is none."
        ),
        examples=[
            "select id, 'complaint' as event, time + interval 2 hours as at from answers join cases on "
            "id = flight_id where late and probability < 0.2"
        ],
    )
    within: PositiveDuration = Field(
        timedelta(days=1),
        description="How long after an answer its events may happen; later ones are not posted.",
        examples=["1d"],
    )


class Replay(SpecModel):
    """Which days are replayed, and how."""

    start: Day = Field(
        description="First day; local midnight in data.timeZone. The first model knows nothing later.",
        examples=["2013-02-01"],
    )
    end: Day = Field(
        description="Day after the last; local midnight in data.timeZone.", examples=["2014-01-01"]
    )
    time_column: ColumnName | None = Field(
        None,
        description="Column with the moment a row is sent; only data.keys.time in this version.",
        examples=["scheduled_departure"],
    )
    sample: Share = Field(
        1.0,
        description="Share of cases that are sent, drawn by a fixed hash of their id.",
        examples=["36%"],
    )
    tick: PositiveDuration = Field(
        timedelta(days=1), description="Event time between two looks of the loop.", examples=["1d"]
    )
    connections: Annotated[Whole, Field(ge=1, le=1024)] = Field(
        16, description="Requests under way at once.", examples=[16]
    )
    events: ReplayedEvents | None = Field(
        None,
        description="Business events of the replayed users, for online metrics; without it there are none.",
        examples=[
            {"query": "select id, 'click' as event, time as at from answers where probability > 0.5"},
        ],
    )
    charges: Charges = Field(
        default_factory=Charges,
        description="Event time that a replay counts for slow work.",
        examples=[{"training": "2h", "deployment": "15m"}],
    )

    @model_validator(mode="after")
    def _forwards(self) -> Replay:
        if self.end <= self.start:
            raise PydanticCustomError("replay", "end is not after start, so no day is replayed; swap them")
        if not self.sample:
            raise PydanticCustomError("replay", "sample is 0%, so nothing is sent; raise it")
        return self
