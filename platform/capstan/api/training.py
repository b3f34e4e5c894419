"""A training that a notebook waits for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from capstan.domain.training import RunPhase, StepProgress
from capstan.embedded.layout import StateDir
from capstan.embedded.training import Trained
from capstan.errors import CapstanError, NotAllowedError
from capstan.spec import MLSystem
from capstan.verbs.training import failure_of, trained


def train(
    system: MLSystem, state: StateDir, *, as_of: datetime | None, tell: Callable[[str], object] | None
) -> Trained:
    """The run and its version; raises CapstanError where there is none, NotAllowedError where it was cancelled."""
    made = trained(
        system,
        state,
        as_of=as_of,
        stop=lambda: False,
        tell=lambda step: None if tell is None else tell(line_of(step)),
    )
    if made.status.phase is RunPhase.CANCELLED:
        raise NotAllowedError(
            f"{made.request.run}: cancelled; train again, with another `as_of` if it is given"
        )
    failure = failure_of(made)
    if failure is not None:
        raise CapstanError(failure)
    return made


def line_of(step: StepProgress) -> str:
    """`fit trees: Succeeded, rocAuc 0.9312`."""
    first = step.message.splitlines()[0] if step.message else ""
    return f"{step.name}: {step.phase.value}{f', {first}' if first else ''}"
