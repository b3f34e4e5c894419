"""What a kind of feature is: settings that learn from a column, and what was learnt as code for tables and for one row.

How the column is read before that, as numbers or as categories, its grammar says (`reading` in
`capstan.spec.features`): requests, payloads, checks and drift ask for that and know no kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from capstan.features.columns import Floats
from capstan.features.values import ColumnType

if TYPE_CHECKING:
    from capstan.spec.features import Feature

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RowPlace:
    """Where a feature stands in the source of the path for single rows."""

    feature: int
    """Its number."""
    output: int
    """Column of the matrix that its first output is."""
    names: dict[str, Any]
    """What the source may name; its own names end in the feature's number."""


@dataclass(frozen=True)
class Target:
    """Labels of a table's rows, for features that learn from them."""

    values: Floats
    """(rows, outputs): numbers; 1 and 0 for true and false; of classes a column for each."""
    names: tuple[str, ...]
    """Of the classes; one empty text where there are none."""
    in_time_order: bool
    """Whether each row is no earlier than the one before it."""


class FittedFeature(Protocol):
    """What a feature learnt from training."""

    @property
    def settings(self) -> Kind: ...

    @property
    def type(self) -> ColumnType:
        """What the column held in training; every later value is read as one of it."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of its outputs."""
        ...

    @property
    def is_code(self) -> bool:
        """Whether its one output is the code of a category, which trees may split as such."""
        ...

    @property
    def is_one_hot(self) -> bool:
        """Whether one of its outputs is 1 and all others are 0."""
        ...

    @property
    def known(self) -> Mapping[str | None, int] | None:
        """Category -> code, of those that it tells apart; None: it takes whatever value."""
        ...

    def transform(self, table_column: Any) -> Floats:
        """(rows, outputs), all finite but for what overflows."""
        ...

    def unseen(self, table_column: Any) -> int:
        """Rows whose category was rare or absent in training."""
        ...

    def row_source(self, place: RowPlace) -> list[str]:
        """Lines of Python that make of `v`, the value in a row, x<output> and those after it, bit-equal to `transform`.

        Of a one-hot feature: h<feature>, which of its outputs is 1.
        """
        ...

    def narrower(self, table_column: Any, outputs: int) -> str:
        """What to write so that it has so many outputs at most; empty if it is as narrow as can be."""
        ...


class PlainNumbers:
    """What fitted features have in common that take whatever value and make numbers of it, no code of a category."""

    @property
    def is_code(self) -> bool:
        return False

    @property
    def is_one_hot(self) -> bool:
        return False

    @property
    def known(self) -> None:
        return None


class Kind(Protocol):
    """One feature, not yet fitted. Plain data: it is pickled with the model, and the spec is not imported for it."""

    @property
    def name(self) -> str: ...

    @property
    def column(self) -> str: ...

    @classmethod
    def of(cls, feature: Feature) -> Kind:
        """What the file says; a kind may have a form of its own for some settings."""
        ...

    def kept_rows(self, table_column: Any) -> Booleans | None:
        """Rows that stay in training; None: all."""
        ...

    def fit(self, table_column: Any) -> FittedFeature:
        """What the column teaches; the same column gives the same. Raises InvalidDataError."""
        ...
