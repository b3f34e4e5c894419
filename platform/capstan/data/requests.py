"""What a prediction request must carry: the schema that training writes into the model's manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from capstan.features.columns import number
from capstan.features.encoders import CategoricalSettings
from capstan.spec.system import MLSystem


@dataclass(frozen=True)
class ColumnSchema:
    """One raw column of a request; as JSON one entry of `columns` in manifest.json."""

    name: str
    kind: Literal["numeric", "categorical"]
    nullable: bool = True
    min: float | None = None
    """None: no lower bound."""
    max: float | None = None
    """None: no upper bound."""
    allowed: tuple[str, ...] | tuple[float, ...] | None = None
    """None: any value; of the column's kind otherwise."""


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
        lists = [set(check.allowed) for check in checks if check.allowed is not None]
        for feature in features:
            categorical = feature.categorical
            if categorical is not None and categorical.unseen == "Refuse":
                settings = CategoricalSettings(
                    feature.name, column, categorical.encode, categorical.min_frequency
                )
                known = settings.fit(table[column]).categories
                lists.append({text for text in known if text is not None})
        allowed = tuple(sorted(set.intersection(*lists))) if lists else None
        schemas.append(
            ColumnSchema(
                name=column,
                kind="numeric" if numeric else "categorical",
                nullable=not dropping and all(check.nullable for check in checks),
                min=max(lows, default=None),
                max=min(highs, default=None),
                allowed=tuple(number(float(text), column) for text in allowed)
                if allowed and numeric
                else allowed,
            )
        )
    return schemas
