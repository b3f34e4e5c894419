"""Step 4: features that are counted from a table of events, as it was known at the moment of each row."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from capstan.spec.grammar import ColumnName, SpecModel
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.secrets import ValueFrom
from capstan.spec.units import Duration, PositiveDuration

Function = Literal["Count", "Sum", "Mean", "Min", "Max", "Distinct", "LastValue", "SecondsSinceLast"]
WITHOUT_COLUMN: tuple[Function, ...] = ("Count", "SecondsSinceLast")
"""Functions of events themselves; all others are of the values of a column."""
OF_NUMBERS: tuple[Function, ...] = ("Sum", "Mean", "Min", "Max")

AGGREGATE_RULES = (
    part_rule(
        "Count and SecondsSinceLast are of events, all other functions of the values of a column; drop `column` there, "
        "and write it for the others",
        lambda one: (one.function in WITHOUT_COLUMN) == (one.column is None),
        Cel(
            "(self.function in ['Count', 'SecondsSinceLast']) == !has(self.column)",
            "data.events[].aggregates[]",
            "column",
        ),
    ),
)


class Aggregate(SpecModel):
    """One number or text that is made of the events of a window."""

    name: ColumnName = Field(
        description=(
            "Column of the cases that holds the result. Features, checks and slices name it as they name a column of "
            "the query."
        ),
        examples=["spent_7d"],
    )
    function: Function = Field(
        description=(
            "Count: how many events. Sum, Mean, Min, Max: of the numbers in `column`. Distinct: how many different "
            "values. LastValue: the value of the newest event that has one. SecondsSinceLast: how old the newest event "
            "is. Without events Count, Sum and Distinct are 0 and the others are missing."
        ),
        examples=["Sum"],
    )
    column: ColumnName | None = Field(
        None,
        description="Column of the events; Count and SecondsSinceLast have none.",
        examples=["amount"],
    )
    window: PositiveDuration = Field(
        description="How far back from the moment of a row events count, such as 7d.", examples=["7d"]
    )

    @model_validator(mode="after")
    def _coherent(self) -> Aggregate:
        return require(self, AGGREGATE_RULES)


class OnlineStore(SpecModel):
    """A server in which services look up events, in place of a file of this machine."""

    url_from: ValueFrom = Field(
        description=(
            "Secret that holds the address of a server of Valkey or Redis, such as redis://:PASSWORD@HOST:6379/0, or "
            "rediss:// where it speaks TLS."
        ),
        examples=[{"secretKeyRef": {"name": "shop-events", "key": "url"}}],
    )


EVENT_RULES = (
    part_rule(
        "availableAt and delay both say when an event is known; keep one",
        lambda events: events.available_at is None or not events.delay,
        Cel("!has(self.availableAt) || self.delay == '0s'", "data.events[]", "delay"),
    ),
)


class Events(SpecModel):
    """A table of events, and what is counted of it for each row."""

    source: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=63)] = Field(
        description="The source of `data.sources` that holds the events, one in each row.",
        examples=["payments"],
    )
    entity: ColumnName = Field(
        description=(
            "Column of the query's result that says whose events count for a row, such as the id of a customer."
        ),
        examples=["customer"],
    )
    key: ColumnName = Field(
        default_factory=lambda earlier: earlier["entity"],
        description="Column of the events with the same ids; the name of `entity` if left out.",
        examples=["customer_id"],
    )
    time: ColumnName = Field(
        description=(
            "Column of the events with the moment at which they happened. Only events from before the moment of a row "
            "(`data.keys.time`) count for it."
        ),
        examples=["paid_at"],
    )
    available_at: ColumnName | None = Field(
        None,
        description=(
            "Column of the events with the moment at which they became known. An event counts for no row from before "
            "it. An event without this moment never counts."
        ),
        examples=["booked_at"],
    )
    delay: Duration = Field(
        timedelta(0),
        description="How long after `time` an event becomes known, where no column says when.",
        examples=["5m"],
    )
    freshness: PositiveDuration = Field(
        timedelta(hours=1),
        description=(
            "How old the newest load of events (`capstan features`) may be when a request is answered. Beyond it the "
            "events are stale."
        ),
        examples=["15m"],
    )
    stale: Literal["Refuse", "Missing", "Use"] = Field(
        "Refuse",
        description=(
            "What a service does where events are stale. Refuse: it answers 503. Missing: the features are missing. "
            "Use: they are made of the events that are there. Each answer says so, and it is counted."
        ),
        examples=["Missing"],
    )
    online: OnlineStore | None = Field(
        None,
        description=(
            "Where services look up these events. Without it they lie in a SQLite file in the system's folder. Needs "
            "the extra `redis`."
        ),
        examples=[{"urlFrom": {"secretKeyRef": {"name": "shop-events", "key": "url"}}}],
    )
    aggregates: tuple[Aggregate, ...] = Field(
        min_length=1,
        max_length=200,
        description="What is made of the events.",
        examples=[[{"name": "spent_7d", "function": "Sum", "column": "amount", "window": "7d"}]],
    )

    @model_validator(mode="after")
    def _known_once(self) -> Events:
        return require(self, EVENT_RULES)

    @property
    def table(self) -> str:
        """What an online store calls these events; other moments or ids of the same source are another table."""
        known = self.available_at or f"{self.delay.total_seconds():g} s later"
        return f"{self.source} by {self.key} at {self.time} known {known}"

    @property
    def longest(self) -> timedelta:
        """The longest window."""
        return max(one.window for one in self.aggregates)
