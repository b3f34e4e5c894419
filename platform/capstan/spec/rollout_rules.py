"""Rules between the steps, analyses and deadlines of a rollout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic.alias_generators import to_camel

from capstan.spec.finding import Finding
from capstan.spec.location import Location
from capstan.spec.units import format_duration

if TYPE_CHECKING:
    from capstan.spec.rollout import Rollout
    from capstan.spec.system import MLSystemSpec

DAY = timedelta(days=1)
LEAST_BLOCKS_OF_A_VERDICT = 7
"""A comparison of fewer closed blocks has no finite bound."""


def broken_rollout_rules(spec: MLSystemSpec) -> list[Finding]:
    """All broken rules of `spec.rollout`."""
    return [*_steps(spec.rollout), *_analyses(spec.rollout), *_deadlines(spec)]


def _steps(rollout: Rollout) -> Iterator[Finding]:
    reached = 0
    for index, step in enumerate(rollout.steps):
        location: Location = ("spec", "rollout", "steps", index)
        if step.shadow is not None and reached:
            yield Finding(
                (*location, "shadow"),
                f"stands after the canary of {reached} %; move it before the first canary: users come last",
            )
        if step.canary is not None:
            if step.canary.weight <= reached:
                yield Finding(
                    (*location, "canary", "weight"),
                    f"{step.canary.weight} is not above {reached}, the weight of an earlier step; weights must rise",
                )
            reached = max(reached, step.canary.weight)


def _analyses(rollout: Rollout) -> Iterator[Finding]:
    known = [analysis.name for analysis in rollout.analyses]
    for index, step in enumerate(rollout.steps):
        names: tuple[str, ...] = getattr(step.chosen, "analyses", ())
        if step.canary is not None and names:
            yield Finding(
                ("spec", "rollout", "steps", index, "canary", "analyses"),
                "compare both versions on the same requests, which a canary's users never send twice; "
                "move them to a shadow step before it, guardrails watch the canary",
            )
            continue
        for position, name in enumerate(names):
            location: Location = (
                "spec",
                "rollout",
                "steps",
                index,
                to_camel(step.kind),
                "analyses",
                position,
            )
            if name not in known:
                yield Finding(
                    location,
                    f"{name!r} is not in rollout.analyses ({', '.join(known) or 'which is empty'}); add it there",
                )
            elif name in names[:position]:
                yield Finding(location, f"{name!r} is written twice; keep one")
    for index, analysis in enumerate(rollout.analyses):
        location = ("spec", "rollout", "analyses", index)
        if analysis.decide == "NotWorse" and analysis.margin == 0:
            yield Finding(
                (*location, "margin"),
                "0 under decide: NotWorse asks for a better model; write a margin above 0, or decide: Better",
            )
        if analysis.decide != "Better" and analysis.minimum_effect:
            yield Finding(
                (*location, "minimumEffect"),
                f"{analysis.minimum_effect:g} counts only under decide: Better; drop it or decide so",
            )


def _deadlines(spec: MLSystemSpec) -> Iterator[Finding]:
    # Labels that come at once close a block with its day: how late they come is left to the warnings of `plan`.
    for index, step in enumerate(spec.rollout.steps):
        deadline: timedelta | None = getattr(step.chosen, "deadline", None)
        if deadline is None:
            continue
        location: Location = ("spec", "rollout", "steps", index, to_camel(step.kind), "deadline")
        duration: timedelta = getattr(step.chosen, "duration", timedelta(0))
        if duration > deadline:
            yield Finding(
                location,
                f"{format_duration(deadline)} is shorter than the step's duration "
                f"({format_duration(duration)}); make it longer",
            )
        # An analysis looks at no fewer blocks, whatever the step asks for.
        asks = bool(step.shadow is not None and step.shadow.analyses) or step.experiment is not None
        blocks = LEAST_BLOCKS_OF_A_VERDICT if asks else 0
        if step.shadow is not None:
            blocks = max(blocks, step.shadow.min_blocks)
        if blocks * DAY > deadline:
            least = blocks == LEAST_BLOCKS_OF_A_VERDICT and asks
            why = "; an analysis needs as many" if least else " or ask for fewer blocks"
            yield Finding(
                location,
                f"{format_duration(deadline)} can't be met: {blocks} day blocks take "
                f"{format_duration(blocks * DAY)} at the soonest; make it longer{why}",
            )
