"""What the rows looked like on which an estimate was calibrated, so that others can be told from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.features.columns import codes, counts, numbers, type_of
from capstan.features.values import ColumnType
from capstan.features.views import View, views_of
from capstan.spec.features import Feature
from capstan.tasks.metric import Booleans, Floats


@dataclass(frozen=True)
class SeenColumn:
    """One input column."""

    feature: str
    column: str
    type: ColumnType
    """What it held; payloads are read as values of it."""
    low: float | None = None
    """Of a number; None: a category, or no value was seen."""
    high: float | None = None
    categories: tuple[str, ...] = ()
    has_missing: bool = False
    """Whether a value was missing in some row."""
    is_number: bool = True
    view: View | None = None
    """What is looked at of the column's values; None: the values themselves."""

    def read(self, values: Any) -> Floats:
        """(n,): numbers, or places among the categories; nan is missing, -1 a category that was not seen."""
        if self.view is not None:
            return self.view.numbers(values)
        if self.is_number:
            return _numbers(values, self.column, self.type)
        place = {name: index for index, name in enumerate(self.categories)}
        found = codes(values, lambda name: -2 if name is None else place.get(name, -1), self.type)
        return np.where(found == -2, np.nan, found.astype(np.float64))

    def is_outside(self, read: Floats) -> Booleans:
        """Rows whose value was not among those seen, nor between them."""
        missing = np.isnan(read)
        with np.errstate(invalid="ignore"):
            if not self.is_number:
                beyond = read == -1
            elif self.low is None or self.high is None:
                beyond = ~missing
            else:
                beyond = (read < self.low) | (read > self.high)
        found: Booleans = beyond | (missing & (not self.has_missing))
        return found

    @classmethod
    def of(cls, document: dict[str, Any]) -> SeenColumn:
        """As it was kept in JSON."""
        return cls(
            **{
                **document,
                "type": ColumnType(document["type"]),
                "categories": tuple(document["categories"]),
                "view": View.made_again(document.get("view")),
            }
        )


def seen_columns(table: Any, features: Sequence[Feature], zone: str = "UTC") -> tuple[SeenColumn, ...]:
    """Of each feature's column of the rows, an Arrow table; `zone` is `data.timeZone`."""
    found: list[SeenColumn] = []
    for feature in features:
        values = table[feature.column]
        views = views_of(feature, zone, values)
        found += [_viewed(values, feature, one) for one in views] or [_seen(values, feature)]
    return tuple(found)


def _viewed(values: Any, feature: Feature, view: View) -> SeenColumn:
    return _of_numbers(view.name, feature.column, type_of(values), view.numbers(values), view)


def _of_numbers(
    name: str, column: str, kind: ColumnType, read: Floats, view: View | None = None
) -> SeenColumn:
    present = read[np.isfinite(read)]
    return SeenColumn(
        name,
        column,
        kind,
        low=float(present.min()) if len(present) else None,
        high=float(present.max()) if len(present) else None,
        has_missing=len(present) < len(read),
        view=view,
    )


def _seen(values: Any, feature: Feature) -> SeenColumn:
    kind = type_of(values)
    if feature.reading == "numeric":
        return _of_numbers(feature.name, feature.column, kind, numbers(values, feature.column, kind))
    found = counts(values, kind)
    return SeenColumn(
        feature.name,
        feature.column,
        kind,
        categories=tuple(sorted(name for name in found if name is not None)),
        has_missing=None in found,
        is_number=False,
    )


def _numbers(values: Any, column: str, kind: ColumnType) -> Floats:
    try:
        return numbers(values, column, kind)
    except InvalidDataError:
        # Text where a number belongs is as good as missing; schema checks tell it.
        return np.full(len(values), np.nan)
