"""How much of a feature's column has a value, and whether a training leaves the feature out for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.features.columns import column_of, counts, numbers, type_of
from capstan.features.dates import NO_PART, parts_of_column
from capstan.features.values import ColumnType

if TYPE_CHECKING:
    from capstan.spec.features import Feature


def missing_share(feature: Feature, table: Any) -> float:
    """Of the rows, from 0 to 1; an infinite number is no value, as in the transform. 0 of no rows."""
    column = column_of(table, feature.column)
    if not len(column):
        return 0.0
    kind = type_of(column)
    if feature.reading == "numeric":
        return float(np.isnan(numbers(column, feature.column, kind)).mean())
    if feature.settings.needs_moments and kind is ColumnType.TIME:
        # All moments differ: to count each would take long.
        return float(np.mean(parts_of_column(column, "UTC", ("Hour",)) == NO_PART))
    return float(counts(column, kind).get(None, 0) / len(column))


def is_left_out(feature: Feature, table: Any) -> bool:
    """Whether more rows of the training's table have no value than its `maxMissing` allows."""
    return feature.max_missing is not None and missing_share(feature, table) > feature.max_missing
