"""A search's memory: Optuna says what to try next, by all that was tried before, and keeps it in a journal.

One process asks and tells; those that try know nothing of it. A search that was ended goes on where it stood: each draw
has a seed of its own number, so that it draws what it would have drawn without the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capstan.training.families import Choice, Dimension, Value, Values
from capstan.training.search.space import OF, Searched
from capstan.training.search.trial import Trial, TrialState

_MOST_REPEATS = 30
"""After so many draws of known settings there is nothing new to try."""
_BOUND_TO, _SECONDS, _STATE, _WHY, _REPEATS = "bound to", "seconds", "state", "why", "repeats"
"""Names of what is noted in the journal."""


@dataclass(frozen=True)
class Asked:
    """What is tried next."""

    number: int
    searched: Searched
    values: Values
    is_written: bool
    """Whether it is the candidate as the file has it."""

    @property
    def of(self) -> str:
        return self.searched.candidate.name


class Study:
    """All trials of one search."""

    def __init__(
        self, searched: Sequence[Searched], *, seed: int, journal: Path | None = None, bound_to: str = ""
    ) -> None:
        """`journal`: where trials are kept; None: in memory. A journal that is bound to something else begins anew."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna: Any = optuna
        self._searched = {one.candidate.name: one for one in searched}
        self._seed = seed
        self._study = self._opened(journal, bound_to)
        self._interrupted = [trial for trial in self._all() if trial.state.name == "RUNNING"]
        self._known = {self._key(trial.params) for trial in self._all() if trial.state.is_finished()}
        self._open: dict[int, Any] = {}

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Those that have ended, in the order in which they were asked for."""
        return tuple(
            self._trial(one)
            for one in self._all()
            if one.state.is_finished() and not one.user_attrs.get(_REPEATS)
        )

    @property
    def repeated(self) -> int:
        """How many draws were of settings that were known."""
        return sum(bool(one.user_attrs.get(_REPEATS)) for one in self._all())

    @property
    def seconds(self) -> float:
        """How long it was searched, in all its starts."""
        return float(self._study.user_attrs.get(_SECONDS, 0.0))

    def note_seconds(self, seconds: float) -> None:
        self._study.set_user_attr(_SECONDS, seconds)

    def ask(self) -> Asked | None:
        """What to try next; None where nothing new is drawn any more."""
        for _ in range(_MOST_REPEATS):
            trial = self._gone_on_with(self._interrupted.pop(0)) if self._interrupted else self._drawn()
            asked = self._suggested(trial)
            key = self._key(trial.params)
            if key not in self._known:
                self._known.add(key)
                return asked
            trial.set_user_attr(_REPEATS, True)
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            del self._open[asked.number]
        return None

    def _drawn(self) -> Any:
        self._study.sampler = self._sampler(len(self._all()))
        return self._study.ask()

    def _gone_on_with(self, left: Any) -> Any:
        """A trial that has no result, since the search was ended while it was drawn or tried, with the same draw."""
        if left.number >= len(self._searched):
            # Of its draw perhaps a part was kept; a sampler gives the same only if it draws the whole.
            anew = self._optuna.create_study(direction="maximize", sampler=self._sampler(left.number))
            anew.add_trials([one for one in self._all() if one.number < left.number])
            drawn = anew.ask()
            self._suggested(drawn)
            self._study._storage.set_trial_system_attr(left._trial_id, "fixed_params", drawn.params)
        return self._optuna.trial.Trial(self._study, left._trial_id)

    def report(self, asked: Asked, number: int, score: float) -> list[float]:
        """Note the trial's score of a round; returns those of other trials of its candidate in the same round."""
        trial = self._open[asked.number]
        if number not in self._all()[asked.number].intermediate_values:
            trial.report(score, number)
        return [
            float(other.intermediate_values[number])
            for other in self._all()
            if other.number != asked.number
            and number in other.intermediate_values
            and self._of(other.params) == asked.of
        ]

    def tell(
        self,
        asked: Asked,
        state: TrialState,
        *,
        score: float | None = None,
        seconds: float = 0.0,
        why: str = "",
    ) -> None:
        """Keep how the trial ended; `score` where it finished."""
        trial, states = self._open.pop(asked.number), self._optuna.trial.TrialState
        for name, value in ((_STATE, state.value), (_SECONDS, round(seconds, 3)), (_WHY, why)):
            trial.set_user_attr(name, value)
        if state is TrialState.FINISHED:
            self._study.tell(trial, score)
        else:
            self._study.tell(trial, state=states.PRUNED if state is TrialState.PRUNED else states.FAIL)

    def _opened(self, journal: Path | None, bound_to: str) -> Any:
        study = self._stored(journal)
        if study.user_attrs.get(_BOUND_TO) == bound_to:
            return study
        if study.user_attrs or study.get_trials(deepcopy=False):
            assert journal is not None
            journal.unlink()
            study = self._stored(journal)
        for searched in self._searched.values():
            study.enqueue_trial(self._named(searched))
        # Last: a journal without it was not begun to the end.
        study.set_user_attr(_BOUND_TO, bound_to)
        return study

    def _stored(self, journal: Path | None) -> Any:
        from optuna.storages import InMemoryStorage, JournalStorage
        from optuna.storages.journal import JournalFileBackend

        storage: Any = InMemoryStorage()
        if journal is not None:
            mend(journal)
            storage = JournalStorage(JournalFileBackend(str(journal)))
        return self._optuna.create_study(
            study_name="search", storage=storage, direction="maximize", load_if_exists=True
        )

    def _sampler(self, number: int) -> Any:
        """For the trial of this number: a sampler that has drawn nothing yet, so that none must be kept."""
        seed = (self._seed + max(0, number - len(self._searched))) % 2**32
        if len(self._searched) == 1:
            return self._optuna.samplers.TPESampler(seed=seed)
        return self._optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)

    def _suggested(self, trial: Any) -> Asked:
        of = next(iter(self._searched))
        if len(self._searched) > 1:
            of = trial.suggest_categorical(OF, list(self._searched))
        searched = self._searched[of]
        values = {one.name: _suggest(trial, f"{of}.{one.name}", one) for one in searched.space.dimensions}
        self._open[trial.number] = trial
        return Asked(trial.number, searched, values, trial.number < len(self._searched))

    def _named(self, searched: Searched) -> dict[str, Value]:
        of = searched.candidate.name
        written: dict[str, Value] = {f"{of}.{name}": value for name, value in searched.space.written.items()}
        return written if len(self._searched) == 1 else {OF: of, **written}

    def _all(self) -> list[Any]:
        found: list[Any] = self._study.get_trials(deepcopy=False)
        return found

    def _of(self, parameters: Values) -> str:
        return str(parameters.get(OF, next(iter(self._searched))))

    def _key(self, parameters: Values) -> tuple[tuple[str, Value], ...]:
        return tuple(sorted(parameters.items()))

    def _trial(self, stored: Any) -> Trial:
        noted, of = stored.user_attrs, self._of(stored.params)
        score = stored.value
        if stored.intermediate_values and score is None:
            score = stored.intermediate_values[max(stored.intermediate_values)]
        return Trial(
            stored.number,
            of,
            {name.removeprefix(f"{of}."): value for name, value in stored.params.items() if name != OF},
            TrialState(noted.get(_STATE, TrialState.FAILED.value)),
            None if score is None else float(score),
            float(noted.get(_SECONDS, 0.0)),
            noted.get(_WHY, ""),
            stored.number < len(self._searched),
        )


def _suggest(trial: Any, name: str, one: Dimension | Choice) -> Value:
    if isinstance(one, Choice):
        chosen: str = trial.suggest_categorical(name, list(one.choices))
        return chosen
    suggest = trial.suggest_int if one.is_whole else trial.suggest_float
    number: float | int = suggest(name, one.low, one.high, log=one.is_logarithmic)
    return number


def mend(journal: Path) -> None:
    """Take away what a process that was killed while it wrote has left: half a line, and its lock."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        journal.with_name(f"{journal.name}.lock").unlink()
    with suppress(FileNotFoundError):
        content = journal.read_bytes()
        if content and not content.endswith(b"\n"):
            journal.write_bytes(content[: content.rfind(b"\n") + 1])
