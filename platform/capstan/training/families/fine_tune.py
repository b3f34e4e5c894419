"""A model that serves, which learns what came since; without one the same as the candidate that it names."""

from __future__ import annotations

from dataclasses import replace

from capstan.spec.families import FineTune
from capstan.training.families.family import NOTHING_TO_SEARCH, Fitted, Part, SearchSpace
from capstan.training.lesson import Lesson


class FineTuneFamily:
    """The lesson's parent, going on as the family of the named candidate does."""

    settings = FineTune
    uses: frozenset[Part] = frozenset({"weights", "parent"})

    def fit(self, settings: FineTune, lesson: Lesson) -> Fitted:
        fitted: Fitted = lesson.candidates[settings.of](replace(lesson, rounds=settings.rounds))
        return fitted

    def search_space(self, settings: FineTune) -> SearchSpace:  # noqa: ARG002
        return NOTHING_TO_SEARCH
