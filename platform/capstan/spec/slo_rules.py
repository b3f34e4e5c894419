"""Rules between promises to users and what else the file says of windows and clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from capstan.spec.providers import PROVIDERS
from capstan.spec.rule import ARITHMETIC, UNTRIED, Breach, rule
from capstan.spec.units import format_duration

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

GATEWAY_GIVES_UP = timedelta(seconds=5)
"""The gateway answers a prediction with 504 after it, so every answer is sooner."""
LONGEST_COUNTED = timedelta(seconds=18)
"""Versions count what takes longer in one bucket that has no end."""


@rule(
    "is not below what is ever counted, so the promise could not be measured; lower below, or promise availability",
    why_no_cel=ARITHMETIC,
)
def a_slow_answer_can_be_counted(spec: MLSystemSpec) -> Iterator[Breach]:
    at_gateway = PROVIDERS[spec.serving.traffic.provider].has_gateway
    for index, slo in enumerate(spec.monitoring.slos):
        if slo.latency is None:
            continue
        below = format_duration(slo.latency.below)
        place = ("spec", "monitoring", "slos", index, "latency", "below")
        if at_gateway and slo.latency.below >= GATEWAY_GIVES_UP:
            yield Breach(
                place,
                message=f"{below} is not below {format_duration(GATEWAY_GIVES_UP)}, after which the gateway answers "
                "with 504 by itself, so no answer could be too slow; lower below, or promise availability",
            )
        elif slo.latency.below > LONGEST_COUNTED:
            yield Breach(
                place,
                message=f"{below} is above {format_duration(LONGEST_COUNTED)}, beyond which versions do not tell "
                "seconds apart; lower below, or promise availability",
            )


@rule(
    "is not longer than monitoring.window.duration, so windows would be late as a rule; lengthen within, or shorten "
    "the windows",
    why_no_cel=ARITHMETIC,
)
def a_window_may_end_in_its_time(spec: MLSystemSpec) -> Iterator[Breach]:
    window = spec.monitoring.window.duration
    for index, slo in enumerate(spec.monitoring.slos):
        if slo.freshness is not None and slo.freshness.within <= window:
            within = format_duration(slo.freshness.within)
            yield Breach(
                ("spec", "monitoring", "slos", index, "freshness", "within"),
                message=f"{within} is not longer than monitoring.window.duration ({format_duration(window)}), so "
                "windows would be late as a rule; lengthen within, or shorten the windows",
            )


@rule(
    "goes by the time of day, and a replay has a clock of its own; drop this entry, or replay",
    why_no_cel=UNTRIED,
)
def a_replay_is_never_fresh(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, slo in enumerate(spec.monitoring.slos):
        if slo.freshness is not None and spec.replay is not None:
            yield Breach(("spec", "monitoring", "slos", index, "freshness"))


RULES = (a_slow_answer_can_be_counted, a_window_may_end_in_its_time, a_replay_is_never_fresh)
