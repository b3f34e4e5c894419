"""A category: a column for each that training saw, or its number in order of frequency; all others are one, `other`.

Where the file gives the order, the numbers are its places in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from capstan.errors import InvalidDataError
from capstan.features.columns import Codes, Floats, codes, counts, type_of
from capstan.features.kinds.coded import CategoryTable
from capstan.features.kinds.hashing import HashingSettings
from capstan.features.kinds.kind import Kind, RowPlace
from capstan.features.kinds.target import TargetSettings
from capstan.features.values import ColumnType, category

if TYPE_CHECKING:
    from capstan.spec.features import Feature

OTHER = "other"
MOST_CODES = 255
"""Boosted trees take at most so many categories; with more, the codes are numbers in order of frequency."""

MISSING_OF_ORDER, OTHER_OF_ORDER = -1, -2
"""Below all that an order lists, so that the numbers of listed categories rise as they do."""


@dataclass(frozen=True)
class CategoricalSettings:
    """The spec's `categorical`, free of the spec's imports."""

    name: str
    column: str
    encode: Literal["Integer", "OneHot"] = "OneHot"
    min_frequency: int = 1
    order: tuple[str, ...] | None = None
    """None: by falling frequency."""

    @classmethod
    def of(cls, feature: Feature) -> Kind:
        """What the file says."""
        written = feature.categorical
        assert written is not None
        if written.encode == "Hashing":
            return HashingSettings.of(feature)
        if written.encode == "Target":
            return TargetSettings.of(feature)
        return cls(feature.name, feature.column, written.encode, written.min_frequency, written.order)

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — a missing category is one
        """All rows stay in training."""
        return

    def fit(self, table_column: Any) -> FittedCategorical:
        kind = type_of(table_column)
        found = counts(table_column, kind)
        if self.order is not None:
            return self._ordered(self.order, kind, found)
        ranked = sorted(found.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
        kept = tuple(text for text, count in ranked if count >= self.min_frequency)
        rare = {text: count for text, count in ranked if count < self.min_frequency}
        return FittedCategorical(self, kind, kept, len(rare), sum(rare.values()))

    def unlisted(self, table_column: Any) -> dict[str, int]:
        """Categories of the column that `order` lacks, with their rows; empty without an order."""
        if self.order is None:
            return {}
        kind = type_of(table_column)
        return _others(counts(table_column, kind), [category(text, kind) for text in self.order])

    def _ordered(
        self, order: tuple[str, ...], kind: ColumnType, found: dict[str | None, int]
    ) -> FittedCategorical:
        listed = tuple(category(text, kind) for text in order)
        if len(set(listed)) < len(listed):
            twice = next(text for text, read in zip(order, listed, strict=True) if listed.count(read) > 1)
            raise InvalidDataError(
                f"features.{self.name}.categorical.order: {twice!r} is there twice as a value of the column "
                f"{self.column!r}, whose type is {kind.value}; keep each value once"
            )
        others = _others(found, listed)
        if others and not any(text in found for text in listed if text is not None):
            shown = ", ".join(repr(text) for text in list(others)[:5])
            raise InvalidDataError(
                f"features.{self.name}.categorical.order: lists {', '.join(map(repr, order[:5]))}, and no row of the "
                f"column {self.column!r} holds one of them (it holds {shown}); write them as the column does"
            )
        return FittedCategorical(self, kind, listed, len(others), sum(others.values()))


def _others(found: Mapping[str | None, int], listed: Collection[str | None]) -> dict[str, int]:
    known = set(listed)
    return {text: count for text, count in found.items() if text is not None and text not in known}


@dataclass(frozen=True)
class FittedCategorical:
    settings: CategoricalSettings
    type: ColumnType
    """What the column held in training; every later value is read as one of it."""
    categories: tuple[str | None, ...]
    """By falling frequency; None stands for a missing value. All others are `other`, the code after the last.

    Of an order: what it lists.
    """
    rare_categories: int
    rare_rows: int

    @property
    def names(self) -> tuple[str, ...]:
        if self.settings.encode == "Integer":
            return (self.settings.name,)
        texts = ["missing" if text is None else text for text in self.categories]
        return tuple(f"{self.settings.name}={text}" for text in [*texts, OTHER])

    @property
    def is_code(self) -> bool:
        return self.is_unordered_code and len(self.categories) < MOST_CODES

    @property
    def is_unordered_code(self) -> bool:
        """Whether its one output is a code, of however many categories, whose order means nothing."""
        return self.settings.encode == "Integer" and self.settings.order is None

    @property
    def is_one_hot(self) -> bool:
        return self.settings.encode == "OneHot"

    @property
    def known(self) -> dict[str | None, int]:
        """Category -> code."""
        found = {text: index for index, text in enumerate(self.categories)}
        return found if self.settings.order is None else {**found, None: MISSING_OF_ORDER}

    @property
    def other(self) -> int:
        """Code of all other categories."""
        return len(self.categories) if self.settings.order is None else OTHER_OF_ORDER

    def codes(self, table_column: Any) -> Codes:
        table, other = self.known, self.other
        return codes(table_column, lambda text: table.get(text, other), self.type)

    def transform(self, table_column: Any) -> Floats:
        found = self.codes(table_column)
        if self.settings.encode == "Integer":
            return found.astype(np.float64).reshape(-1, 1)
        hot: Floats = np.zeros((len(found), len(self.categories) + 1))
        hot[np.arange(len(found)), found] = 1.0
        return hot

    def unseen(self, table_column: Any) -> int:
        """Rows whose category was rare or absent in training."""
        return int(np.count_nonzero(self.codes(table_column) == self.other))

    def row_source(self, place: RowPlace) -> list[str]:
        other, code = self.other, f"code{place.feature}"
        if self.is_one_hot:
            place.names[code] = CategoryTable(dict(self.known), other, self.type)
            return [f" h{place.feature} = {code}[v]"]
        table: dict[str | None, Any] = {text: float(number) for text, number in self.known.items()}
        place.names[code] = CategoryTable(table, float(other), self.type)
        return [f" x{place.output} = {code}[v]"]

    def narrower(self, table_column: Any, outputs: int) -> str:
        frequent = sorted(counts(table_column, self.type).values(), reverse=True)
        # One output is that of all others.
        least = frequent[min(max(1, outputs - 1), len(frequent) - 1)] + 1
        return (
            f"{self.settings.name} alone has {len(self.categories):,} categories, each a column: set "
            f"`encode: Integer` (one column, for trees), or `minFrequency: {least}`, which keeps the "
            f"{sum(count >= least for count in frequent):,} most frequent"
        )
