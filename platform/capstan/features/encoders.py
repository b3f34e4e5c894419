"""One fitted feature: what it learnt from training, and what it makes of a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from capstan.features.columns import Codes, Floats, codes, counts, numbers, type_of
from capstan.features.values import ColumnType

OTHER = "other"
MOST_CODES = 255
"""Boosted trees take at most so many categories; with more, the codes are numbers in order of frequency."""


@dataclass(frozen=True)
class NumericSettings:
    """How a number becomes a feature; the spec's `numeric`, free of the spec's imports."""

    name: str
    column: str
    impute: Literal["Median", "Mean", "Mode", "Default", "DropRow"] = "Median"
    default: float | None = None
    scale: Literal["None", "ZScore", "MinMax", "Log"] = "None"
    bucket_edges: tuple[float, ...] | None = None
    bucket_quantiles: int | None = None
    bucket_widths: int | None = None

    def fit(self, table_column: Any) -> FittedNumeric:
        kind = type_of(table_column)
        values = numbers(table_column, self.column, kind)
        present = values[~np.isnan(values)]
        missing = self._stand_in(present)
        filled = np.where(np.isnan(values), missing, values)
        center, spread = 0.0, 1.0
        if self.scale == "ZScore" and filled.size:
            center, spread = float(np.mean(filled)), float(np.std(filled))
        elif self.scale == "MinMax" and filled.size:
            center, spread = float(np.min(filled)), float(np.max(filled) - np.min(filled))
        # A constant has no spread; what differs from it later is measured in its own unit.
        if not np.isfinite(spread) or spread <= 0 or not np.isfinite(center):
            center, spread = (center if np.isfinite(center) else 0.0), 1.0
        missing_rows = len(values) - len(present)
        return FittedNumeric(self, kind, missing, center, spread, self._edges(present), missing_rows)

    def _stand_in(self, present: Floats) -> float:
        if self.impute == "Default":
            return float(self.default or 0.0)
        if not present.size:
            return 0.0
        if self.impute == "Mean":
            return float(np.mean(present))
        if self.impute == "Mode":
            unique, number_of = np.unique(present, return_counts=True)
            return float(unique[np.argmax(number_of)])
        return float(np.median(present))

    def _edges(self, present: Floats) -> tuple[float, ...] | None:
        if self.bucket_edges is not None:
            return tuple(float(edge) for edge in self.bucket_edges)
        if self.bucket_quantiles is not None:
            shares = np.linspace(0, 1, self.bucket_quantiles + 1)[1:-1]
            return tuple(np.unique(np.quantile(present, shares)).tolist()) if present.size else ()
        if self.bucket_widths is not None:
            if not present.size:
                return ()
            return tuple(
                np.unique(np.linspace(present.min(), present.max(), self.bucket_widths + 1)[1:-1]).tolist()
            )
        return None


@dataclass(frozen=True)
class FittedNumeric:
    settings: NumericSettings
    type: ColumnType
    """What the column held in training."""
    missing: float
    """Stands for a missing value."""
    center: float
    spread: float
    edges: tuple[float, ...] | None
    """None: no buckets."""
    missing_rows: int

    @property
    def names(self) -> tuple[str, ...]:
        return (self.settings.name,)

    @property
    def categorical(self) -> bool:
        return False

    def transform(self, table_column: Any) -> Floats:
        values = numbers(table_column, self.settings.column, self.type)
        values = np.where(np.isnan(values), self.missing, values)
        # An overflow to infinity is a very large value, which trees order rightly.
        with np.errstate(over="ignore"):
            if self.edges is not None:
                return (
                    np.searchsorted(np.array(self.edges), values, side="right")
                    .astype(np.float64)
                    .reshape(-1, 1)
                )
            if self.settings.scale == "Log":
                values = np.copysign(np.log1p(np.abs(values)), values)
            elif self.settings.scale != "None":
                values = (values - self.center) / self.spread
        return values.reshape(-1, 1)

    def unseen(self, table_column: Any) -> int:  # noqa: ARG002 — a number is never unseen
        return 0


@dataclass(frozen=True)
class CategoricalSettings:
    """How a category becomes a feature; the spec's `categorical`, free of the spec's imports."""

    name: str
    column: str
    encode: Literal["Integer", "OneHot"] = "OneHot"
    min_frequency: int = 1

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
    def categorical(self) -> bool:
        return self.settings.encode == "Integer" and len(self.categories) < MOST_CODES

    @property
    def table(self) -> dict[str | None, int]:
        """Category -> code."""
        return {text: index for index, text in enumerate(self.categories)}

    def codes(self, table_column: Any) -> Codes:
        table, other = self.table, len(self.categories)
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


Settings = NumericSettings | CategoricalSettings
Fitted = FittedNumeric | FittedCategorical
