"""The search itself: trials begin, are compared and end until a budget is used up."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from capstan.training.search.attempt import Attempt, Failed, Running
from capstan.training.search.space import Budget, Searched
from capstan.training.search.study import Asked, Study
from capstan.training.search.trial import Found, Trial, TrialState, best_of, goes_on

UNDEFINED = "the metric is not defined on the validation rows"


@dataclass(frozen=True)
class Progress:
    """How far a search has come."""

    ended: Sequence[Trial]
    most: int
    """How many trials it may try."""
    running: int
    seconds_left: float | None
    """None: no time is set."""

    @property
    def best(self) -> Trial | None:
        return best_of(self.ended)

    def of_state(self, state: TrialState) -> int:
        return sum(trial.state is state for trial in self.ended)


def search(
    searched: Sequence[Searched],
    attempt: Attempt,
    budget: Budget,
    *,
    seed: int,
    journal: Path | None = None,
    bound_to: str = "",
    tell: Callable[[Progress], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Try settings until the budget is used up; the first trials are the candidates as they are written.

    With a `journal` it goes on where an earlier process stood, if that was `bound_to` the same. With one trial at a
    time and no limit of time the same seed gives the same trials, however often the process was ended.
    """
    with warnings.catch_warnings():
        # Of Optuna, about what is experimental; what a fit warns of is told when the best is fitted.
        warnings.simplefilter("ignore")
        study = Study(searched, seed=seed, journal=journal, bound_to=bound_to)
        return _Search(study, attempt, budget, tell, clock).run()


class _Search:
    def __init__(
        self,
        study: Study,
        attempt: Attempt,
        budget: Budget,
        tell: Callable[[Progress], None],
        clock: Callable[[], float],
    ) -> None:
        self._study, self._attempt, self._budget = study, attempt, budget
        self._tell, self._clock = tell, clock
        self._began = clock() - study.seconds
        self._running: list[Running] = []
        self._is_exhausted = False
        halving = budget.halving
        rounds = 0 if halving is None else halving.rounds
        self._shares = [*(halving.share(one) for one in range(rounds) if halving), 1.0]

    def run(self) -> Found:
        try:
            while True:
                self._start_trials()
                if not self._running:
                    break
                self._hear()
                if self._is_over and best_of(self._study.trials) is not None:
                    self._cut_short()
                    break
        finally:
            for running in self._running:
                running.end()
        trials = self._study.trials
        self._study.note_seconds(self._seconds)
        return Found(trials, self._seconds, self._ended_by(len(trials)), self._study.repeated)

    @property
    def _seconds(self) -> float:
        return self._clock() - self._began

    @property
    def _is_over(self) -> bool:
        return self._budget.seconds is not None and self._seconds >= self._budget.seconds

    def _ended_by(self, trials: int) -> str:
        if self._is_exhausted:
            return "nothing new was left to try"
        return "its trials" if trials >= self._budget.trials else "its time"

    def _start_trials(self) -> None:
        while (
            len(self._running) < self._budget.parallel
            and len(self._study.trials) + len(self._running) < self._budget.trials
            and not self._is_over
            and not self._is_exhausted
        ):
            asked = self._study.ask()
            if asked is None:
                self._is_exhausted = True
                return
            self._running.append(Running(asked, self._attempt, self._shares))

    def _hear(self) -> None:
        left = None if self._budget.seconds is None else self._budget.seconds - self._seconds
        if best_of(self._study.trials) is None:
            # The first to finish may take longer than there is time, so that there is something to use.
            left = None
        ready = wait([one.connection for one in self._running], None if left is None else max(0.0, left))
        for running in [one for one in self._running if one.connection in ready]:
            self._take(running)

    def _take(self, running: Running) -> None:
        said = running.hear()
        if isinstance(said, Failed):
            self._end(running, TrialState.FAILED, why=said.why)
        elif self._shares[running.round] == 1.0:
            if math.isfinite(said.score):
                self._end(running, TrialState.FINISHED, score=said.score)
            else:
                self._end(running, TrialState.FAILED, why=UNDEFINED)
        elif self._is_among_the_best(running.asked, running.round, said.score):
            running.answer(goes_on=True)
        else:
            running.answer(goes_on=False)
            self._end(running, TrialState.PRUNED)

    def _is_among_the_best(self, asked: Asked, number: int, score: float) -> bool:
        if not math.isfinite(score):
            return True
        others = self._study.report(asked, number, score)
        assert self._budget.halving is not None
        # What the file says is always tried to the end: a search is compared with it.
        return asked.is_written or goes_on(score, others, self._budget.halving.factor)

    def _end(self, running: Running, state: TrialState, *, score: float | None = None, why: str = "") -> None:
        seconds = running.seconds
        running.end()
        self._running.remove(running)
        self._study.tell(running.asked, state, score=score, seconds=seconds, why=why)
        self._study.note_seconds(self._seconds)
        limit = self._budget.seconds
        self._tell(
            Progress(
                self._study.trials,
                self._budget.trials,
                len(self._running),
                None if limit is None else max(0.0, limit - self._seconds),
            )
        )

    def _cut_short(self) -> None:
        for running in list(self._running):
            self._end(running, TrialState.CUT)
