"""What users report after an answer: labels once their delay is over, and events by whether the answer was right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from capstan.embedded.replay.client import Answer
from capstan.embedded.traffic.changes import share_of
from capstan.embedded.traffic.plan import PlannedRequest
from capstan.errors import InvalidDataError
from capstan.spec.online import OnlineMetric
from capstan.tasks.labels import Label


@dataclass(frozen=True)
class EventRate:
    """How often users do something after an answer."""

    event: str
    after_right: float
    after_wrong: float
    needs_value: bool = False


@dataclass(frozen=True)
class Report:
    """One label or event, as a client posts it."""

    due: datetime
    kind: str
    """`label`, or the event's name."""
    body: Mapping[str, Any]


def read_event_rates(
    written: Sequence[str], online: Sequence[OnlineMetric], *, judges: bool
) -> tuple[EventRate, ...]:
    """`click=0.3/0.05`: after right answers and after wrong ones; `click=0.1`: after any. Raises InvalidDataError.

    `judges`: whether an answer of the task is right or wrong, as one of a class is.
    """
    known = {metric.event for metric in online}
    needing = {metric.event for metric in online if metric.needs_value}
    rates = []
    for text in written:
        name, _, given = text.partition("=")
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise InvalidDataError(
                f"--events {text}: no metric of evaluation.online reads {name!r}; the file's events are: {there}"
            )
        shares = [share_of(part) for part in given.split("/")]
        if len(shares) > 2 or None in shares:
            raise InvalidDataError(
                f"--events {text}: write the share of right and of wrong answers that it follows, such as "
                f"{name}=0.3/0.05, or one share for all"
            )
        if len(shares) == 2 and not judges:
            raise InvalidDataError(
                f"--events {text}: an answer of this task is neither right nor wrong; write one share, such as "
                f"{name}=0.3"
            )
        rates.append(EventRate(name, shares[0] or 0.0, shares[-1] or 0.0, name in needing))
    return tuple(rates)


def labels_after(
    request: PlannedRequest, answer: Answer, *, answered_at: datetime, delay: timedelta
) -> list[Report]:
    """The true labels of its cases, or that there is none; a case without an id is named by its request.

    Nothing is said of a case whose label may be known somewhere else.
    """
    due = answered_at + delay
    found = []
    for case, identity in zip(request.cases, request.ids, strict=True):
        if case.label is None and not case.has_no_label:
            continue
        told = {"noLabel": True} if case.has_no_label else {"label": case.label}
        subject = {"requestId": answer.request_id} if identity is None else {"id": identity}
        found.append(Report(due, "label", {**subject, **told}))
    return found


def events_after(
    request: PlannedRequest,
    answer: Answer,
    rates: Sequence[EventRate],
    form: Label,
    *,
    answered_at: datetime,
    rng: np.random.Generator,
) -> list[Report]:
    """What the user does at once; a case whose label is not known counts as answered wrong."""
    found = []
    pairs = zip(request.cases, answer.predictions, strict=False)
    right = all(
        case.label is not None and form.parse(told.get("label")) == case.label for case, told in pairs
    )
    for rate in rates:
        if rng.random() >= (rate.after_right if right else rate.after_wrong):
            continue
        body = {
            "eventId": f"{answer.request_id}-{rate.event}",
            "event": rate.event,
            "requestId": answer.request_id,
            "at": answered_at.isoformat(),
            **({"value": 1.0} if rate.needs_value else {}),
        }
        found.append(Report(answered_at, rate.event, body))
    return found
