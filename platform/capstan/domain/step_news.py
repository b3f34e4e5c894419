"""The steps of a training as they are told while it runs: when each begins, and when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstan.domain.training import RunPhase, StepProgress

_WORDS = {"Succeeded": "ok", "Failed": "failed", "Running": "runs"}


def news_of(steps: Iterable[StepProgress], known: Mapping[str, RunPhase]) -> list[StepProgress]:
    """The steps that are in another phase than the one that is known of their name."""
    return [step for step in steps if known.get(step.name) is not step.phase]


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
