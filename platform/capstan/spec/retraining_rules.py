"""Rules between triggers, cooldown and budget, and those of a replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic.alias_generators import to_camel

from capstan.spec.finding import UNKNOWN
from capstan.spec.rule import ARITHMETIC, UNTRIED, Breach, rule
from capstan.spec.units import format_duration

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


@rule(
    "no such alert is raised; write monitoring.estimate: {alert: true}, or drop the trigger",
    why_no_cel=UNTRIED,
)
def an_estimates_trigger_has_its_alert(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, trigger in enumerate(spec.retraining.triggers):
        if trigger.kind == "estimated_quality" and not spec.monitoring.estimate.alert:
            yield Breach(("spec", "retraining", "triggers", index, to_camel(trigger.kind)))


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
    seen = set()
    for index, trigger in enumerate(spec.retraining.triggers):
        if trigger.kind in seen and trigger.kind != "schedule":
            message = f"{to_camel(trigger.kind)} is written twice; keep one"
            yield Breach(("spec", "retraining", "triggers", index), message=message)
        seen.add(trigger.kind)


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
    window = spec.monitoring.window.duration
    if spec.replay is not None and spec.replay.tick > window:
        yield Breach(
            ("spec", "replay", "tick"),
            message=f"{format_duration(spec.replay.tick)} is longer than monitoring.window.duration "
            f"({format_duration(window)}), so windows would close unseen; make it shorter",
        )


RULES = (
    an_estimates_trigger_has_its_alert,
    a_cooldown_is_within_the_budgets_time,
    a_trigger_is_written_once,
    a_replay_sends_by_the_key,
    a_replay_knows_its_cases,
    a_replay_sees_every_window,
)
