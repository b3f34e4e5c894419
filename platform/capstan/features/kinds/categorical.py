"""A category: a column for each that training saw, or its number in order of frequency; all others are one, `other`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from capstan.features.columns import Codes, Floats, codes, counts, type_of
from capstan.features.kinds.kind import RowPlace
from capstan.features.values import ColumnType, category

if TYPE_CHECKING:
    from capstan.spec.features import Feature

OTHER = "other"
MOST_CODES = 255
"""Boosted trees take at most so many categories; with more, the codes are numbers in order of frequency."""


@dataclass(frozen=True)
class CategoricalSettings:
    """The spec's `categorical`, free of the spec's imports."""

    name: str
    column: str
    encode: Literal["Integer", "OneHot"] = "OneHot"
    min_frequency: int = 1

    @classmethod
    def of(cls, feature: Feature) -> CategoricalSettings:
        """What the file says."""
        written = feature.categorical
        assert written is not None
        return cls(feature.name, feature.column, written.encode, written.min_frequency)

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — a missing category is one
        """All rows stay in training."""
        return

    def fit(self, table_column: Any) -> FittedCategorical:
        kind = type_of(table_column)
        found = counts(table_column, kind)
        ranked = sorted(found.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
        kept = tuple(text for text, count in ranked if count >= self.min_frequency)
        rare = {text: count for text, count in ranked if count < self.min_frequency}
        return FittedCategorical(self, kind, kept, len(rare), sum(rare.values()))


@dataclass(frozen=True)
class FittedCategorical:
    settings: CategoricalSettings
    type: ColumnType
    """What the column held in training; every later value is read as one of it."""
    categories: tuple[str | None, ...]
    """By falling frequency; None stands for a missing value. All others are `other`, the code after the last."""
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
        return self.settings.encode == "Integer" and len(self.categories) < MOST_CODES

    @property
    def is_one_hot(self) -> bool:
        return self.settings.encode == "OneHot"

    @property
    def known(self) -> dict[str | None, int]:
        """Category -> code."""
        return {text: index for index, text in enumerate(self.categories)}

    def codes(self, table_column: Any) -> Codes:
        table, other = self.known, len(self.categories)
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
        return int(np.count_nonzero(self.codes(table_column) == len(self.categories)))

    def row_source(self, place: RowPlace) -> list[str]:
        other, code = len(self.categories), f"code{place.feature}"
        if self.is_one_hot:
            place.names[code] = _Codes(dict(self.known), other, self.type)
            return [f" h{place.feature} = {code}[v]"]
        table: dict[str | None, Any] = {text: float(number) for text, number in self.known.items()}
        place.names[code] = _Codes(table, float(other), self.type)
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


class _Codes(dict[Any, Any]):
    """Category -> what stands for it; a value that is not written as training's category is read first."""

    def __init__(self, table: dict[str | None, Any], other: Any, kind: ColumnType) -> None:
        super().__init__(table)
        self._table, self._other, self._kind = table, other, kind
        self.setdefault(None, other)

    def __missing__(self, value: object) -> Any:
        return self._table.get(category(value, self._kind), self._other)
