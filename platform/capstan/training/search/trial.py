"""One trial of a search, what a search found, and which trials go on to learn from more rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from capstan.training.families import Values


class TrialState(Enum):
    """How a trial ended."""

    FINISHED = "finished"
    PRUNED = "pruned"
    """It was not among the best of a round."""
    FAILED = "failed"
    CUT = "cut short"
    """The time was over."""


@dataclass(frozen=True)
class Trial:
    """One setting that was tried."""

    number: int
    """From 0, in the order in which trials were asked for; repeated settings leave gaps."""
    of: str
    """Name of the candidate."""
    values: Values
    """Of its search space."""
    state: TrialState
    score: float | None = None
    """Higher is better; of the last round where it was pruned. None: it failed, or was cut short."""
    seconds: float = 0.0
    why: str = ""
    """Why it failed."""
    is_written: bool = False
    """Whether it is the candidate as the file has it."""


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving: a trial learns from few rows first, and from more if it is among the best."""

    rounds: int
    factor: int

    def share(self, number: int) -> float:
        """Share of the rows in this round, from 0."""
        return float(self.factor ** (number - self.rounds))


def goes_on(score: float, others: Sequence[float], factor: int) -> bool:
    """Whether a trial is among the best 1 / `factor` of those that came to its round, or the best of fewer."""
    better = sum(other > score for other in others)
    return better < max(1, (len(others) + 1) // factor)


@dataclass(frozen=True)
class Found:
    """What a search found."""

    trials: Sequence[Trial]
    seconds: float
    """How long it searched, in all the starts that it took."""
    ended_by: str
    """Which budget ended it, in words."""
    repeated: int = 0
    """Settings that were drawn again and not tried again."""

    @property
    def best(self) -> Trial | None:
        """The first of those with the best score; None where none finished."""
        return best_of(self.trials)

    def of_state(self, state: TrialState) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.state is state)


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """The first of the finished trials with the best score; None where none finished."""
    best: Trial | None = None
    for trial in trials:
        if trial.state is not TrialState.FINISHED or trial.score is None:
            continue
        if best is None or best.score is None or trial.score > best.score:
            best = trial
    return best
