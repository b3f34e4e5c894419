"""Rules of candidates that go on with the model that serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.families import Candidate, FineTune, Search
from capstan.spec.location import Location
from capstan.spec.model_rules import field_naming
from capstan.spec.rule import JOINED_LISTS, Breach, Cel, rule

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


def _fine_tuned(spec: MLSystemSpec) -> Iterator[tuple[Location, FineTune, Candidate | None]]:
    """Each with what it goes on with; None: that stands nowhere."""
    known = {candidate.name: candidate for candidate in spec.training.candidates}
    for index, candidate in enumerate(spec.training.candidates):
        if isinstance(candidate.chosen, FineTune):
            place: Location = ("spec", "training", "candidates", index, candidate.key)
            yield place, candidate.chosen, known.get(candidate.chosen.of)


@rule("is of a family that can't go on with a fitted model; name one that can", why_no_cel=JOINED_LISTS)
def what_is_fine_tuned_can_go_on(spec: MLSystemSpec) -> Iterator[Breach]:
    able = ", ".join(family for family, settings in Candidate.families().items() if settings.goes_on)
    for place, fine_tune, of in _fine_tuned(spec):
        if of is None or isinstance(of.chosen, FineTune | Search):
            continue
        if not of.chosen.goes_on:
            message = f"{of.name!r} is {of.key}, which learns from nothing each time; name one of {able}"
            yield Breach((*place, "of"), message=message)
        elif of.chosen.anew:
            message = (
                f"{of.name!r} has `{of.chosen.anew}`, with which {of.key} learns from nothing each time; drop that "
                "setting, or name another candidate"
            )
            yield Breach((*place, "of"), message=message)
        elif of.naive_bayes is not None and fine_tune.rounds is not None:
            message = f"{fine_tune.rounds} rounds, and {of.name!r} is naiveBayes, which counts each row once; drop it"
            yield Breach((*place, "rounds"), message=message)


@rule("is a fineTune, which goes on alone; name what it goes on with", why_no_cel=JOINED_LISTS)
def nothing_is_made_of_what_is_fine_tuned(spec: MLSystemSpec) -> Iterator[Breach]:
    known = {candidate.name: candidate for candidate in spec.training.candidates}
    for index, candidate in enumerate(spec.training.candidates):
        for name in candidate.chosen.made_of:
            of = known.get(name)
            if of is None or name == candidate.name or not isinstance(of.chosen, FineTune):
                continue
            field = field_naming(candidate.chosen, name)
            yield Breach(
                ("spec", "training", "candidates", index, candidate.key, field),
                message=f"{name!r} is a fineTune, of which nothing can be made; name {of.chosen.of!r}",
            )


@rule(
    "learns the rows that came since the champion, and rows have no time; name their column in `data.keys.time`, or "
    "drop the candidate",
    Cel(
        "has(self.data.keys.time) || !has(self.training.candidates) || "
        "self.training.candidates.all(c, !has(c.fineTune))",
        field="training.candidates",
        message="a fineTune learns the rows that came since the champion, and rows have no time; name their column in "
        "data.keys.time, or drop the candidate",
    ),
)
def fine_tuning_needs_times(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.data.keys.time is None:
        yield from (Breach(place) for place, _, _ in _fine_tuned(spec))


@rule(
    "folds draw rows of all times to judge by, and the champion that a fineTune goes on with has learnt most of them; "
    "drop `folds`, or the fineTune",
    Cel(
        "!has(self.choose.folds) || !has(self.candidates) || self.candidates.all(c, !has(c.fineTune))",
        "training",
        "choose",
    ),
)
def fine_tuning_is_judged_by_later_rows(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.training.choose.folds is not None and any(_fine_tuned(spec)):
        yield Breach(("spec", "training", "choose", "folds"), spec.training.choose.folds)


@rule(
    "gives each version's model the shares of its own rows, and a fineTune goes on with a model of others; drop "
    "`balance`, or the fineTune",
    Cel(
        "!has(self.balance) || !has(self.candidates) || self.candidates.all(c, !has(c.fineTune))",
        "training",
        "balance",
    ),
)
def fine_tuning_is_not_balanced(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.training.balance is not None and any(_fine_tuned(spec)):
        yield Breach(("spec", "training", "balance"))


RULES = (
    fine_tuning_is_not_balanced,
    fine_tuning_is_judged_by_later_rows,
    what_is_fine_tuned_can_go_on,
    nothing_is_made_of_what_is_fine_tuned,
    fine_tuning_needs_times,
)
