"""Rules between a search, the candidates that it tries and the ranges in which it looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic.alias_generators import to_camel

from capstan.spec.families import Candidate, Search, SearchRange
from capstan.spec.finding import UNKNOWN
from capstan.spec.location import Location
from capstan.spec.model_rules import field_naming
from capstan.spec.rule import ARITHMETIC, JOINED_LISTS, Breach, rule
from capstan.spec.searchable import Searchable, searchable_settings, why_not
from capstan.spec.tasks import TASK_FACTS
from capstan.spec.units import format_duration

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

SEARCHED_SHARE = 0.8
"""Share of `training.fitDeadline` that a search may take: what it found may have to be fitted once more."""


_WHY_NO_SEARCH = {
    "search": "a search tries no other search",
    "fine_tune": "does not go on",
    "distil": "neither teaches nor is taught",
}


def _searches(spec: MLSystemSpec) -> Iterator[tuple[Location, Search]]:
    for index, candidate in enumerate(spec.training.candidates):
        if isinstance(candidate.chosen, Search):
            yield ("spec", "training", "candidates", index, candidate.key), candidate.chosen


def _named(spec: MLSystemSpec) -> dict[str, Candidate]:
    return {candidate.name: candidate for candidate in spec.training.candidates}


@rule("is a search; name the candidates that it searches", why_no_cel=JOINED_LISTS)
def nothing_is_made_of_a_search(spec: MLSystemSpec) -> Iterator[Breach]:
    known = _named(spec)
    for index, candidate in enumerate(spec.training.candidates):
        for name in candidate.chosen.made_of:
            made_of = known.get(name)
            if made_of is None or name == candidate.name or not isinstance(made_of.chosen, Search):
                continue
            of = ", ".join(made_of.chosen.of)
            what = _WHY_NO_SEARCH.get(candidate.kind, "an ensemble has none")
            field = field_naming(candidate.chosen, name)
            yield Breach(
                ("spec", "training", "candidates", index, candidate.key, field),
                message=f"{name!r} is a search, and {what}; name what it searches: {of}",
            )


@rule(
    "a search has something to change, and tries each candidate once; add one, or give `ranges`",
    why_no_cel=JOINED_LISTS,
)
def a_search_has_something_to_search(spec: MLSystemSpec) -> Iterator[Breach]:
    known = _named(spec)
    for location, search in _searches(spec):
        for at, name in enumerate(search.of):
            if name in search.of[:at]:
                yield Breach((*location, "of", at), message=f"{name!r} is written twice; keep one")
        named = [known[name] for name in search.of if name in known]
        if len(named) == len(search.of) and not any(_changes(search, one) for one in named):
            able = ", ".join(family for family, one in Candidate.families().items() if one.searched)
            yield Breach(
                (*location, "of"),
                message=f"{', '.join(search.of)}: there is nothing to change, so every trial would be the same; name a "
                f"candidate of {able}, or give `ranges` of settings that change",
            )
        if search.trials < len(set(search.of)):
            yield Breach(
                (*location, "trials"),
                message=f"{search.trials} is too few to try each of {len(set(search.of))} candidates as it is written; "
                f"write {len(set(search.of))} or more",
            )


def _changes(search: Search, candidate: Candidate) -> set[str]:
    """Settings of the candidate that differ from trial to trial."""
    ranges = {one.setting: one for one in search.ranges if one.of == candidate.name}
    changed = {name for name, one in ranges.items() if one.min != one.max or len(one.choices or ()) > 1}
    return changed | {to_camel(name) for name in candidate.chosen.searched} - set(ranges)


@rule("is no range in which a search can look; write another", why_no_cel=JOINED_LISTS)
def ranges_lie_within_the_limits_of_a_family(spec: MLSystemSpec) -> Iterator[Breach]:
    known = _named(spec)
    for location, search in _searches(spec):
        for at, one in enumerate(search.ranges):
            place = (*location, "ranges", at)
            if one.of not in search.of:
                message = f"{one.of!r} is not searched here; `of` names {', '.join(search.of)}"
                yield Breach((*place, "of"), message=message)
            elif one.of in known and not isinstance(known[one.of].chosen, Search):
                if (one.of, one.setting) in [(other.of, other.setting) for other in search.ranges[:at]]:
                    yield Breach(
                        (*place, "setting"),
                        message=f"{one.setting!r} of {one.of} has a range already; keep one",
                    )
                for field, message in _wrong(spec, known[one.of], one):
                    yield Breach((*place, field), message=message)


def _wrong(spec: MLSystemSpec, candidate: Candidate, one: SearchRange) -> Iterator[tuple[str, str]]:
    settings = candidate.chosen
    able = searchable_settings(settings)
    setting = able.get(one.setting)
    if setting is None:
        which = ", ".join(able) or ("none: name them in `parameters`" if candidate.custom else "none")
        yield (
            "setting",
            (
                f"{one.setting!r} is no setting of {candidate.key} that is a number, a share or one of several texts; "
                f"those are {which}"
            ),
        )
        return
    task = spec.objective.task
    for name, labels in settings.only_for.items():
        is_other = spec.objective.target != UNKNOWN and TASK_FACTS[task].label not in labels
        if to_camel(name) == one.setting and is_other:
            yield (
                "setting",
                f"{one.setting!r} is a setting for other labels than those of {task}; drop the range",
            )
            return
    yield from _wrong_values(candidate, setting, one)


def _wrong_values(candidate: Candidate, setting: Searchable, one: SearchRange) -> Iterator[tuple[str, str]]:
    if setting.kind == "Choice":
        if one.choices is None:
            which = f", such as {', '.join(setting.choices)}" if setting.choices else ""
            yield "min", f"{one.setting} is a text; write `choices`{which}"
    elif one.choices is not None:
        yield "choices", f"{one.setting} is a number; write `min` and `max`"
    values = {"choices": one.choices} if setting.kind == "Choice" else {"min": (one.min,), "max": (one.max,)}
    for field, tried in values.items():
        for value in tried or ():
            wrong = None if value is None else why_not(candidate.chosen, one.setting, value)
            if wrong is not None:
                shown = repr(value) if isinstance(value, str) else f"{value:g}"
                said = wrong if wrong.startswith(shown) else f"{shown} {wrong}"
                yield field, f"as {one.setting} of {candidate.key}: {said}"
                return


@rule("is longer than a fit may take; write less, or raise `training.fitDeadline`", why_no_cel=ARITHMETIC)
def a_search_ends_before_the_deadline(spec: MLSystemSpec) -> Iterator[Breach]:
    deadline = spec.training.fit_deadline
    for location, search in _searches(spec):
        if search.time is not None and search.time > SEARCHED_SHARE * deadline:
            yield Breach(
                (*location, "time"),
                message=f"{format_duration(search.time)} is above {SEARCHED_SHARE:.0%} of training.fitDeadline "
                f"({format_duration(deadline)}), which may leave no time for the last fit; write less, or raise it",
            )


RULES = (
    nothing_is_made_of_a_search,
    a_search_has_something_to_search,
    ranges_lie_within_the_limits_of_a_family,
    a_search_ends_before_the_deadline,
)
