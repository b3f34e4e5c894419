"""Rules between triggers, cooldown and budget, and those of a replay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic.alias_generators import to_camel

from capstan.spec.finding import UNKNOWN
from capstan.spec.rule import ARITHMETIC, UNTRIED, Breach, rule
from capstan.spec.units import format_duration

if TYPE_CHECKING:
    from capstan.spec.location import Location
    from capstan.spec.retraining import SingleTrigger
    from capstan.spec.secrets import ValueFrom
    from capstan.spec.system import MLSystemSpec


@rule(
    "no such alert is raised; write monitoring.estimate: {alert: true}, or drop the trigger",
    why_no_cel=UNTRIED,
)
def an_estimates_trigger_has_its_alert(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.monitoring.estimate.alert:
        return
    for place, triggers in _lists_of_triggers(spec):
        for index, trigger in enumerate(triggers):
            if trigger.kind == "estimated_quality":
                yield Breach((*place, index, to_camel(trigger.kind)))


def _lists_of_triggers(spec: MLSystemSpec) -> Iterator[tuple[Location, Sequence[SingleTrigger]]]:
    """Those of the file, then those of each `all`, with the place of each."""
    place = ("spec", "retraining", "triggers")
    yield place, spec.retraining.triggers
    for index, trigger in enumerate(spec.retraining.triggers):
        if trigger.all is not None:
            yield (*place, index, "all", "of"), trigger.all.of


@rule("is longer than budget.per, so the budget means nothing; lengthen budget.per", why_no_cel=ARITHMETIC)
def a_cooldown_is_within_the_budgets_time(spec: MLSystemSpec) -> Iterator[Breach]:
    retraining = spec.retraining
    if retraining.cooldown > retraining.budget.per:
        yield Breach(
            ("spec", "retraining", "cooldown"),
            message=f"{format_duration(retraining.cooldown)} is longer than budget.per "
            f"({format_duration(retraining.budget.per)}), so the budget means nothing; lengthen budget.per",
        )


@rule("a trigger is written twice; keep one", why_no_cel=UNTRIED)
def a_trigger_is_written_once(spec: MLSystemSpec) -> Iterator[Breach]:
    for place, triggers in _lists_of_triggers(spec):
        seen: list[SingleTrigger] = []
        for index, trigger in enumerate(triggers):
            may_differ = trigger.kind in ("schedule", "all")
            if trigger.webhook is not None:
                # Of webhooks the sender is what is written once.
                continue
            if any(trigger == other if may_differ else trigger.kind == other.kind for other in seen):
                message = f"{trigger.key} is written twice; keep one"
                yield Breach((*place, index), message=message)
            seen.append(trigger)


@rule("has another secret where it is written before; write the same one", why_no_cel=UNTRIED)
def a_sender_has_one_secret(spec: MLSystemSpec) -> Iterator[Breach]:
    known: dict[str, ValueFrom] = {}
    for place, triggers in _lists_of_triggers(spec):
        beside: set[str] = set()
        for index, trigger in enumerate(triggers):
            webhook = trigger.webhook
            if webhook is None:
                continue
            where = (*place, index, "webhook")
            if known.setdefault(webhook.sender, webhook.secret_from) != webhook.secret_from:
                yield Breach((*where, "secretFrom"))
            elif webhook.sender in beside:
                yield Breach((*where, "sender"), message=f"{webhook.sender} is written twice; keep one")
            beside.add(webhook.sender)


@rule(
    "is not data.keys.time; sending by another moment is not in this version: drop the key",
    why_no_cel=UNTRIED,
)
def a_replay_sends_by_the_key(spec: MLSystemSpec) -> Iterator[Breach]:
    column = spec.replay.time_column if spec.replay is not None else None
    if spec.data.keys.time is not None and column is not None and column != spec.data.keys.time != UNKNOWN:
        yield Breach(("spec", "replay", "timeColumn"), column, f" ({spec.data.keys.time!r})")


@rule("joins labels by the ids of cases; name the column in data.keys.id, or drop replay", why_no_cel=UNTRIED)
def a_replay_knows_its_cases(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.replay is not None and spec.data.keys.id is None:
        message = (
            "joins labels by the ids of cases, and data.keys.id is not given; name the column in data.keys.id, or drop "
            "replay"
        )
        yield Breach(("spec", "replay"), message=message)


@rule("is longer than the window, so windows would close unseen; make it shorter", why_no_cel=ARITHMETIC)
def a_replay_sees_every_window(spec: MLSystemSpec) -> Iterator[Breach]:
    window, field = spec.monitoring.window.step, "every" if spec.monitoring.window.every else "duration"
    if spec.replay is not None and spec.replay.tick > window:
        yield Breach(
            ("spec", "replay", "tick"),
            message=f"{format_duration(spec.replay.tick)} is longer than monitoring.window.{field} "
            f"({format_duration(window)}), so windows would close unseen; make it shorter",
        )


RULES = (
    an_estimates_trigger_has_its_alert,
    a_cooldown_is_within_the_budgets_time,
    a_trigger_is_written_once,
    a_sender_has_one_secret,
    a_replay_sends_by_the_key,
    a_replay_knows_its_cases,
    a_replay_sees_every_window,
)
