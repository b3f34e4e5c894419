"""The steps of a training as they are told while it runs: when each begins and ends, and how far a long one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstan.domain.training import RunPhase, StepProgress

_WORDS = {"Succeeded": "ok", "Failed": "failed", "Running": "runs"}


AGAIN_SECONDS = 10.0
"""Seconds after which a running step is told again, if it says something else."""


@dataclass(frozen=True)
class ToldStep:
    """What was last told of a step."""

    phase: RunPhase
    message: str
    at: float
    """In seconds of any clock."""


def news_of(
    steps: Iterable[StepProgress], told: Mapping[str, ToldStep], *, now: float
) -> dict[str, tuple[StepProgress, ToldStep]]:
    """By name: the steps that are in another phase than was told, and running ones that say something else by now."""
    return {
        step.name: (step, ToldStep(step.phase, step.message, now))
        for step in steps
        if _is_news(step, told.get(step.name), now)
    }


def _is_news(step: StepProgress, told: ToldStep | None, now: float) -> bool:
    if told is None or told.phase is not step.phase:
        return True
    return step.finished_at is None and step.message != told.message and now - told.at >= AGAIN_SECONDS


def step_in_words(step: StepProgress) -> str:
    """`fit: runs`, then `fit: ok in 12 s 3 candidates`."""
    took = f" in {lasted(step.started_at, step.finished_at)}" if step.finished_at else ""
    first = step.message.splitlines()[0] if step.message else ""
    return f"{step.name}: {_WORDS.get(step.phase.value, step.phase.value)}{took} {first}".rstrip()


def lasted(began: datetime | None, ended: datetime | None) -> str:
    """`12 s`, `3 min 5 s`, `2 h 0 min`; `-` while it is not known."""
    if began is None or ended is None:
        return "-"
    seconds = (ended - began) / timedelta(seconds=1)
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
