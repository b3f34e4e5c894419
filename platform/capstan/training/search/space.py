"""Which candidates a search tries, where it looks for their settings, and how long it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate, Search, SearchRange
from capstan.spec.searchable import Searchable, searchable_settings
from capstan.training.families import Choice, Dimension, SearchSpace, Value, Values, search_space
from capstan.training.search.trial import Halving, Trial

OF = "of"
"""Among the values that a search found: which of its candidates they are for."""
_LOGARITHMIC_FROM = 10
"""Where the largest value of a range is so many times the smallest, values are drawn by their logarithm."""


@dataclass(frozen=True)
class Searched:
    """One candidate that is tried with many settings."""

    candidate: Candidate
    space: SearchSpace


@dataclass(frozen=True)
class Budget:
    """When a search ends, and how it spends its time."""

    trials: int
    seconds: float | None = None
    """None: until all trials are done."""
    parallel: int = 1
    halving: Halving | None = None
    """None: every trial learns from all rows."""


def searched_of(candidate: Candidate, others: Sequence[Candidate]) -> tuple[Searched, ...]:
    """What a search for this candidate tries: itself where it has `tune`, those it names where it is a search."""
    settings = candidate.chosen
    if isinstance(settings, Search):
        return tuple(
            Searched(one, _narrowed(one, [part for part in settings.ranges if part.of == one.name]))
            for one in _named(settings, others)
        )
    space = search_space(candidate)
    return (Searched(candidate, space),) if space.trials else ()


def budget_of(candidate: Candidate, *, seconds: float) -> Budget:
    """What the candidate says of its search; `seconds` where it says no time."""
    settings = candidate.chosen
    if not isinstance(settings, Search):
        return Budget(search_space(candidate).trials, seconds)
    prune = settings.prune
    return Budget(
        settings.trials,
        seconds if settings.time is None else settings.time.total_seconds(),
        settings.parallel,
        None if prune is None else Halving(prune.rounds, prune.factor),
    )


def settings_of(candidate: Candidate, trial: Trial) -> dict[str, Value]:
    """The trial's values as they are kept: those of a search say of which candidate they are."""
    return values_of(candidate, trial.of, trial.values)


def values_of(candidate: Candidate, of: str, values: Values) -> dict[str, Value]:
    """The same from the values alone and the name of the candidate that they are for."""
    named = {OF: of} if isinstance(candidate.chosen, Search) else {}
    return {**named, **values}


def resolved(candidate: Candidate, values: Values, others: Sequence[Candidate]) -> tuple[Candidate, Values]:
    """The candidate that is fitted, and with which values; a search names one of its own by `of`.

    Whole numbers are whole again after a trip through JSON.
    """
    if not isinstance(candidate.chosen, Search):
        return candidate, search_space(candidate).plain(values)
    found = next(one for one in searched_of(candidate, others) if one.candidate.name == values[OF])
    return found.candidate, found.space.plain({name: value for name, value in values.items() if name != OF})


def _named(search: Search, others: Sequence[Candidate]) -> list[Candidate]:
    known = {one.name: one for one in others}
    missing = [name for name in search.of if name not in known]
    if missing:
        raise InvalidDataError(f"search.of: {missing[0]!r} is no candidate; those are {', '.join(known)}")
    return [known[name] for name in search.of]


def _narrowed(candidate: Candidate, ranges: Sequence[SearchRange]) -> SearchSpace:
    """The family's own space with the file's ranges in place of its own and beside them."""
    able = searchable_settings(candidate.chosen)
    dimensions = {one.name: one for one in search_space(candidate).dimensions}
    dimensions |= {one.setting: _dimension(able[one.setting], one) for one in ranges}
    return SearchSpace(tuple(dimensions.values()))


def _dimension(setting: Searchable, one: SearchRange) -> Dimension | Choice:
    written = setting.written
    match setting.kind:
        case "Choice":
            choices = one.choices or setting.choices
            return Choice(one.setting, written if written in choices else choices[0], choices)
        case "Whole" | "Number" | "Share":
            assert one.min is not None
            assert one.max is not None
            low, high, at = one.min, one.max, one.min if written is None else float(written)
            by_logarithm = low > 0 and high >= _LOGARITHMIC_FROM * low
            if one.scale is not None:
                by_logarithm = one.scale == "Logarithmic"
            nearest = min(max(at, low), high)
            if setting.kind == "Whole":
                return Dimension(one.setting, int(nearest), int(low), int(high), by_logarithm)
            return Dimension(one.setting, nearest, low, high, by_logarithm)
        case _:
            assert_never(setting.kind)
