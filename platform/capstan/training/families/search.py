"""A search of several candidates, before it has found anything; how it finds is in `capstan.training.search`."""

from __future__ import annotations

from capstan.spec.families import Search
from capstan.training.families.family import NOTHING_TO_SEARCH, Fitted, Part, SearchSpace
from capstan.training.lesson import Lesson


class SearchFamily:
    """What a search begins with: the first of its candidates as it is written."""

    settings = Search
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: Search, lesson: Lesson) -> Fitted:
        fitted: Fitted = lesson.candidates[settings.of[0]](lesson)
        return fitted

    def search_space(self, settings: Search) -> SearchSpace:  # noqa: ARG002 — that of each candidate is its own
        return NOTHING_TO_SEARCH
