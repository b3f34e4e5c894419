"""What a prediction request must carry: the schema that training writes into the model's manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from capstan.features.columns import type_of
from capstan.features.encoders import CategoricalSettings
from capstan.features.values import ColumnType, category, number
from capstan.spec.system import MLSystem


@dataclass(frozen=True)
class ColumnSchema:
    """One raw column of a request; as JSON one entry of `columns` in manifest.json."""

    name: str
    type: ColumnType
    """What the column holds in training; a request's value is read as one of it."""
    kind: Literal["numeric", "categorical"]
    """Whether a feature reads it as a number; a category only otherwise."""
    nullable: bool = True
    min: float | None = None
    """None: no lower bound."""
    max: float | None = None
    """None: no upper bound."""
    allowed: tuple[str, ...] | tuple[float, ...] | None = None
    """None: any value; otherwise numbers or, in a categorical column, categories as text."""


def request_schema(system: MLSystem, table: pa.Table) -> list[ColumnSchema]:
    """The columns that features are made from, in order; `table` is what the model was trained on.

    Bounds come from `data.checks`, `nullable: false` also from `impute: DropRow`, and the allowed values of
    `unseen: Refuse` from the categories in the table.
    """
    spec = system.spec
    schemas = []
    for column in dict.fromkeys(feature.column for feature in spec.features):
        features = [feature for feature in spec.features if feature.column == column]
        numeric = any(feature.numeric is not None for feature in features)
        checks = [check for check in spec.data.checks if check.column == column]
        dropping = any(f.numeric is not None and f.numeric.impute == "DropRow" for f in features)
        lows = [check.min for check in checks if check.min is not None]
        highs = [check.max for check in checks if check.max is not None]
        found = type_of(table[column])
        lists = [
            {category(value, found) for value in check.allowed}
            for check in checks
            if check.allowed is not None
        ]
        for feature in features:
            categorical = feature.categorical
            if categorical is not None and categorical.unseen == "Refuse":
                settings = CategoricalSettings(
                    feature.name, column, categorical.encode, categorical.min_frequency
                )
                lists.append(set(settings.fit(table[column]).categories))
        texts = sorted(text for text in set.intersection(*lists) if text is not None) if lists else None
        allowed: tuple[str, ...] | tuple[float, ...] | None = None if texts is None else tuple(texts)
        if texts is not None and numeric:
            allowed = tuple(_number_of(text, column, found) for text in texts)
        schemas.append(
            ColumnSchema(
                name=column,
                type=found,
                kind="numeric" if numeric else "categorical",
                nullable=not dropping and all(check.nullable for check in checks),
                min=max(lows, default=None),
                max=min(highs, default=None),
                allowed=allowed,
            )
        )
    return schemas


def _number_of(text: str, column: str, kind: ColumnType) -> float:
    return number(text if kind is ColumnType.BOOLEAN else float(text), column, kind)
