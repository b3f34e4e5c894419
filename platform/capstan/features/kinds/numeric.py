"""A number: a stand-in where it is missing, a scale, or the bucket that it falls into; and whether it was missing."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from capstan.features.columns import Floats, as_floats, numbers, type_of
from capstan.features.kinds.kind import Booleans, PlainNumbers, RowPlace
from capstan.features.values import ColumnType, number

if TYPE_CHECKING:
    from capstan.spec.features import Feature


@dataclass(frozen=True)
class NumericSettings:
    """The spec's `numeric`, free of the spec's imports."""

    name: str
    column: str
    impute: Literal["Median", "Mean", "Mode", "Default", "DropRow"] = "Median"
    default: float | None = None
    scale: Literal["None", "ZScore", "MinMax", "Log"] = "None"
    bucket_edges: tuple[float, ...] | None = None
    bucket_quantiles: int | None = None
    bucket_widths: int | None = None
    indicator: bool = False
    """Whether a second output is 1 where the value is missing."""

    @classmethod
    def of(cls, feature: Feature) -> NumericSettings:
        """What the file says."""
        written = feature.numeric
        assert written is not None
        return cls(
            name=feature.name,
            column=feature.column,
            impute=written.impute,
            default=written.default,
            scale=written.scale,
            bucket_edges=written.bucket_edges,
            bucket_quantiles=written.bucket_quantiles,
            bucket_widths=written.bucket_widths,
            indicator=written.indicator,
        )

    def kept_rows(self, table_column: Any) -> Booleans | None:
        """Rows with a value, where the others are left out of training; None where all stay."""
        if self.impute != "DropRow":
            return None
        return ~np.isnan(numbers(table_column, self.column, type_of(table_column)))

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
class FittedNumeric(PlainNumbers):
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
        name = self.settings.name
        return (name, f"{name}=missing") if self.settings.indicator else (name,)

    @property
    def is_straight(self) -> bool:
        """Whether its one output is the value, moved and stretched, so that many such columns can be one matrix."""
        return self.edges is None and self.settings.scale != "Log" and not self.settings.indicator

    def transform(self, table_column: Any) -> Floats:
        values = numbers(table_column, self.settings.column, self.type)
        is_missing = np.isnan(values)
        made = self._scaled(np.where(is_missing, self.missing, values))
        return np.column_stack([made, is_missing]) if self.settings.indicator else made.reshape(-1, 1)

    def _scaled(self, values: Floats) -> Floats:
        # An overflow to infinity is a very large value, which trees order rightly.
        with np.errstate(over="ignore"):
            if self.edges is not None:
                return np.searchsorted(np.array(self.edges), values, side="right").astype(np.float64)
            if self.settings.scale == "Log":
                values = np.copysign(np.log1p(np.abs(values)), values)
            elif self.settings.scale != "None":
                values = (values - self.center) / self.spread
        return values

    @staticmethod
    def transform_straight(features: Sequence[FittedNumeric], table_columns: Sequence[Any]) -> Floats:
        """What `transform` makes of each of these columns, all of them straight, to the bit."""
        matrix = np.empty((len(table_columns[0]), len(features)))
        for at, (feature, values) in enumerate(zip(features, table_columns, strict=True)):
            matrix[:, at] = as_floats(values, feature.settings.column, feature.type)
        matrix = np.where(np.isfinite(matrix), matrix, [feature.missing for feature in features])
        with np.errstate(over="ignore"):
            found: Floats = (matrix - [feature.center for feature in features]) / [
                feature.spread for feature in features
            ]
        return found

    def unseen(self, table_column: Any) -> int:  # noqa: ARG002 — a number is never unseen
        return 0

    def row_source(self, place: RowPlace) -> list[str]:
        index, output = place.feature, place.output
        place.names.update(
            {
                "number": number,
                "copysign": math.copysign,
                "log1p": np.log1p,
                "bisect_right": bisect_right,
                f"type{index}": self.type,
            }
        )
        lines = [
            f" if type(v) is not float: v = number(v, {self.settings.column!r}, type{index})",
            *([f" x{output + 1} = 1.0 if v - v != 0.0 else 0.0"] if self.settings.indicator else []),
            # Only nan and the infinities differ from themselves by something else than 0.
            f" if v - v != 0.0: v = {self.missing!r}",
        ]
        if self.edges is not None:
            place.names[f"edges{index}"] = list(self.edges)
            return [*lines, f" x{output} = float(bisect_right(edges{index}, v))"]
        if self.settings.scale == "Log":
            # numpy's logarithm, not math's: they may differ in the last bit.
            return [*lines, f" x{output} = copysign(float(log1p(abs(v))), v)"]
        if self.settings.scale == "None":
            return [*lines, f" x{output} = v"]
        return [*lines, f" x{output} = (v - {self.center!r}) / {self.spread!r}"]

    def narrower(self, table_column: Any, outputs: int) -> str:  # noqa: ARG002 — it has one or two
        return ""
