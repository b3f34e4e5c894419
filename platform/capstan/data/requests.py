"""What a prediction request must carry: the schema that training writes into the model's manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.extraction import UNQUOTED
from capstan.features.columns import numbers, type_of
from capstan.features.fullness import is_left_out
from capstan.features.images import Limits
from capstan.features.kinds import categories_of
from capstan.features.values import ColumnType, category, number
from capstan.spec.feature_settings import Reading
from capstan.spec.features import Feature
from capstan.spec.system import MLSystem


@dataclass(frozen=True)
class ColumnSchema:
    """One raw column of a request; as JSON one entry of `columns` in manifest.json."""

    name: str
    type: ColumnType
    """What the column holds in training; a request's value is read as one of it."""
    kind: Reading
    """Whether a feature reads it as a number; a category only otherwise."""
    required: bool = False
    """Whether a request must name the column; as null where the value is not known."""
    nullable: bool = True
    min: float | None = None
    """None: no lower bound."""
    max: float | None = None
    """None: no upper bound."""
    allowed: tuple[str, ...] | tuple[float, ...] | None = None
    """None: any value; otherwise numbers or, in a categorical column, categories as text."""
    trained_min: float | None = None
    trained_max: float | None = None
    """The range of training; None: no number was seen, or the column is no number."""
    outside: Literal["Answer", "Refuse"] = "Answer"
    """What becomes of a number outside that range."""
    filled: bool = True
    """Whether any row of training had a value."""
    unquoted: bool = False
    """Whether the texts of training stood in JSON without quotes as well."""
    image: Limits | None = None
    """What an image of the column may take; None: it holds no images."""
    unreadable: Literal["Refuse", "Missing"] = "Refuse"
    """What becomes of a value that is no image that can be read."""


def request_schema(system: MLSystem, table: pa.Table) -> list[ColumnSchema]:
    """The columns that features are made from, in order; `table` is what the model was trained on.

    Bounds come from `data.checks`, `nullable: false` also from `impute: DropRow`, and the allowed values of
    `unseen: Refuse` from the categories in the table. A column is required if no row of the table lacks its value and
    no feature says `optional`.
    """
    spec = system.spec
    schemas = []
    for column in dict.fromkeys(feature.column for feature in spec.features):
        readers = [feature for feature in spec.features if feature.column == column]
        numeric = any(feature.reading == "numeric" for feature in readers)
        # What the model does not read can ask nothing of a request.
        features = [feature for feature in readers if not is_left_out(feature, table)]
        checks = [check for check in spec.data.checks if check.column == column]
        dropping = any(feature.settings.needs_value for feature in features)
        lows = [check.min for check in checks if check.min is not None]
        highs = [check.max for check in checks if check.max is not None]
        found = type_of(table[column])
        lists = [
            {category(value, found, spec.data.time_zone) for value in check.allowed}
            for check in checks
            if check.allowed is not None
        ]
        lists += [
            categories_of(feature, table[column])
            for feature in features
            if feature.reading == "categorical" and feature.settings.refuses_unknown
        ]
        texts = sorted(text for text in set.intersection(*lists) if text is not None) if lists else None
        allowed: tuple[str, ...] | tuple[float, ...] | None = None if texts is None else tuple(texts)
        if texts is not None and numeric:
            allowed = tuple(_number_of(text, column, found) for text in texts)
        low, high = _range(table, column, found) if numeric else (None, None)
        filled = low is not None if numeric else pc.any(pc.is_valid(table[column])).as_py() is True
        dropped_or_full = dropping or not pc.any(pc.is_null(table[column], nan_is_null=True)).as_py()
        schemas.append(
            ColumnSchema(
                name=column,
                type=found,
                kind="numeric" if numeric else "categorical",
                required=dropped_or_full and not any(feature.optional for feature in readers),
                nullable=not dropping and all(check.nullable for check in checks),
                min=max(lows, default=None),
                max=min(highs, default=None),
                allowed=allowed,
                trained_min=low,
                trained_max=high,
                outside="Refuse"
                if any(f.reading == "numeric" and f.settings.refuses_unknown for f in features)
                else "Answer",
                filled=filled,
                image=image_limits(readers),
                unreadable="Missing"
                if all(feature.image and feature.image.unreadable == "Missing" for feature in readers)
                else "Refuse",
                unquoted=found is ColumnType.TEXT and UNQUOTED in (table.schema.field(column).metadata or {}),
            )
        )
    return schemas


def image_limits(readers: Sequence[Feature]) -> Limits | None:
    """The narrowest of the features that read one column; None where it holds no images."""
    images = [feature.image for feature in readers if feature.image is not None]
    if not images:
        return None
    return Limits(min(image.max_bytes for image in images), min(image.max_pixels for image in images))


def _range(table: pa.Table, column: str, kind: ColumnType) -> tuple[float | None, float | None]:
    values = numbers(table[column], column, kind)
    present = values[~np.isnan(values)]
    return (float(present.min()), float(present.max())) if len(present) else (None, None)


def _number_of(text: str, column: str, kind: ColumnType) -> float:
    return number(text if kind is ColumnType.BOOLEAN else float(text), column, kind)
