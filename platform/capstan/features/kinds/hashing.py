"""A category by its hash: a fixed number of columns, whatever categories come; a missing value has one of its own.

The hash is MurmurHash3 of the category's text with the seed 0, so that it is the same in every process and on every
machine; columns are those of scikit-learn's FeatureHasher.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import murmurhash3_32

from capstan.features.columns import Codes, Floats, codes, type_of
from capstan.features.kinds.kind import RowPlace
from capstan.features.values import ColumnType, category

if TYPE_CHECKING:
    from capstan.spec.features import Feature

BUCKETS = 32
"""Where the file says nothing."""


@dataclass(frozen=True)
class HashingSettings:
    """The spec's `categorical` with `encode: Hashing`, free of the spec's imports."""

    name: str
    column: str
    buckets: int = BUCKETS

    @classmethod
    def of(cls, feature: Feature) -> HashingSettings:
        """What the file says."""
        written = feature.categorical
        assert written is not None
        return cls(feature.name, feature.column, written.buckets or BUCKETS)

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — a missing category has a column
        """All rows stay in training."""
        return

    def fit(self, table_column: Any) -> FittedHashing:
        return FittedHashing(self, type_of(table_column))


@dataclass(frozen=True)
class FittedHashing:
    settings: HashingSettings
    type: ColumnType
    """What the column held in training; every later value is read as one of it."""

    @property
    def names(self) -> tuple[str, ...]:
        name = self.settings.name
        return (*(f"{name}#{bucket}" for bucket in range(self.settings.buckets)), f"{name}=missing")

    @property
    def is_code(self) -> bool:
        return False

    @property
    def is_one_hot(self) -> bool:
        return True

    @property
    def known(self) -> None:
        """Any category has a column."""
        return None

    def codes(self, table_column: Any) -> Codes:
        """(rows,): which column is 1."""
        return codes(table_column, self._bucket, self.type)

    def transform(self, table_column: Any) -> Floats:
        found = self.codes(table_column)
        hot: Floats = np.zeros((len(found), self.settings.buckets + 1))
        hot[np.arange(len(found)), found] = 1.0
        return hot

    def unseen(self, table_column: Any) -> int:  # noqa: ARG002 — which categories there were is not kept
        return 0

    def row_source(self, place: RowPlace) -> list[str]:
        bucket, kind = self._bucket, self.type
        found: Callable[[object], int] = lambda value: bucket(category(value, kind))  # noqa: E731
        place.names[f"bucket{place.feature}"] = found
        return [f" h{place.feature} = bucket{place.feature}(v)"]

    def narrower(self, table_column: Any, outputs: int) -> str:  # noqa: ARG002
        if self.settings.buckets <= max(2, outputs - 1):
            return ""
        return f"{self.settings.name} alone has {len(self.names):,} columns: set `buckets: {max(2, outputs - 1)}`"

    def _bucket(self, text: str | None) -> int:
        if text is None:
            return self.settings.buckets
        # A request may carry half of a surrogate pair, which UTF-8 has no bytes for.
        hashed = int(murmurhash3_32(text.encode("utf-8", "surrogatepass"), seed=0))
        return abs(hashed) % self.settings.buckets
