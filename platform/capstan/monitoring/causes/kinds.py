"""Kinds of rows by one feature: its categories, or ranges of its numbers, named as people say them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.features.columns import codes, counts, numbers, type_of
from capstan.features.values import ColumnType
from capstan.features.views import View, views_of
from capstan.spec.features import Feature
from capstan.tasks.metric import Floats

MOST_CATEGORIES = 30
"""Categories by name; the others are one kind."""
MOST_NUMBERS = 30
"""A column with so few different numbers has a kind for each."""
QUANTILES = (0.01, 0.02, 0.05, *(round(0.1 * tenth, 1) for tenth in range(1, 10)), 0.95, 0.98, 0.99)
"""Ends of the ranges of other numbers: closer together where values are rare."""
CELLS = MOST_CATEGORIES + 2
"""Codes of every feature are below this."""

Cells = NDArray[np.uint8]


@dataclass(frozen=True)
class Kinds:
    """How the rows are told apart by one feature."""

    feature: str
    column: str
    type: ColumnType
    """What the column held; payloads are read as values of it."""
    is_number: bool
    ends: tuple[float, ...] = ()
    """Of numbers: the upper end of each range but the last, ascending."""
    is_exact: bool = False
    """Whether each range holds the one number at its end."""
    categories: tuple[str, ...] = ()
    has_rare: bool = False
    """Whether there were more categories than have a kind of their own."""
    view: View | None = None
    """What tells rows apart of the column's values; None: the values themselves."""

    @property
    def missing(self) -> int:
        """The code of rows without a value."""
        return 1 + (len(self.ends) if self.is_number else len(self.categories))

    def codes(self, values: Any) -> Cells:
        """(n,): the kind of each row of a column, in whatever holds it."""
        if self.view is not None:
            return self.of_numbers(self.view.numbers(values))
        if self.is_number:
            return self.of_numbers(_as_numbers(values, self.column, self.type))
        place = {name: code for code, name in enumerate(self.categories)}
        other, missing = len(self.categories), self.missing
        found = codes(values, lambda name: missing if name is None else place.get(name, other), self.type)
        return found.astype(np.uint8)

    def of_numbers(self, values: Floats) -> Cells:
        """The same of numbers; nan is missing."""
        found = np.searchsorted(np.array(self.ends), values, side="left")
        return np.where(np.isnan(values), self.missing, found).astype(np.uint8)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """First and last code of each kind of rows that has a name: all ranges of neighbours, or single categories."""
        last = self.missing - 1
        for first in range(last + 1):
            yield first, first
            if self.is_number:
                yield from ((first, end) for end in range(first + 1, last + 1) if end - first < last)
        yield self.missing, self.missing

    def name(self, first: int, last: int) -> str:
        """Those rows in words, such as `weather=snow`, `temp up to -5` or `dep_hour 17 to 20`."""
        if first == self.missing:
            return f"{self.feature} missing"
        if not self.is_number:
            if first < len(self.categories):
                return f"{self.feature}={self.categories[first]}"
            return f"{self.feature}={'a rare or new value' if self.has_rare else 'a new value'}"
        if last == len(self.ends):
            return f"{self.feature} above {self.ends[first - 1]:g}" if first else self.feature
        if self.is_exact and first == last:
            return f"{self.feature}={self.ends[first]:g}"
        if not first:
            return f"{self.feature} up to {self.ends[last]:g}"
        if self.is_exact:
            return f"{self.feature} {self.ends[first]:g} to {self.ends[last]:g}"
        return f"{self.feature} above {self.ends[first - 1]:g} up to {self.ends[last]:g}"


def kinds_of(table: Any, features: tuple[Feature, ...], zone: str = "UTC") -> tuple[Kinds, ...]:
    """Those of each feature of some rows, an Arrow table; `zone` is `data.timeZone`."""
    found: list[Kinds] = []
    for feature in features:
        values = table[feature.column]
        views = views_of(feature, zone, values)
        found += [_viewed(values, feature, one) for one in views] or [_kinds(values, feature)]
    return tuple(found)


def _viewed(values: Any, feature: Feature, view: View) -> Kinds:
    read = view.numbers(values)
    kinds = kinds_of_numbers(view.name, feature.column, type_of(values), read[np.isfinite(read)])
    return replace(kinds, view=view)


def kinds_of_numbers(feature: str, column: str, kind: ColumnType, values: Floats) -> Kinds:
    """Ranges of numbers that are all there."""
    different = np.unique(values)
    if len(different) <= MOST_NUMBERS:
        return Kinds(feature, column, kind, True, tuple(map(float, different)), is_exact=True)
    ends = np.quantile(values, QUANTILES, method="lower")
    spread = float(ends[-1] - ends[0])
    # Ends are told to people: digits that tell nothing are left out.
    digits = 2 - math.floor(math.log10(spread)) if spread > 0 else 9
    return Kinds(feature, column, kind, True, tuple(map(float, np.unique(np.round(ends, digits)))))


def _kinds(values: Any, feature: Feature) -> Kinds:
    kind = type_of(values)
    if feature.reading == "numeric":
        read = _as_numbers(values, feature.column, kind)
        return kinds_of_numbers(feature.name, feature.column, kind, read[np.isfinite(read)])
    found = {name: count for name, count in counts(values, kind).items() if name is not None}
    frequent = sorted(found, key=lambda name: (-found[name], name))[:MOST_CATEGORIES]
    return Kinds(
        feature.name,
        feature.column,
        kind,
        False,
        categories=tuple(frequent),
        has_rare=len(found) > len(frequent),
    )


def _as_numbers(values: Any, column: str, kind: ColumnType) -> Floats:
    try:
        return numbers(values, column, kind)
    except InvalidDataError:
        # Text where a number belongs is as good as missing; schema checks tell it.
        return np.full(len(values), np.nan)
