"""A category by what its rows' labels are in the mean: one number for each category, learnt out of fold.

The numbers are those of scikit-learn's TargetEncoder with `smooth="auto"` (Micci-Barreca 2001): the mean of a
category's labels, drawn to the mean of all rows by as much as the category is rare or its labels vary. In service and
for rows after training they come from all training rows. The rows of the training itself get numbers that other rows
gave: else each would carry its own label, and the model would trust the feature more than later rows bear out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.features.columns import Codes, Floats
from capstan.features.kinds.coded import CategoryTable
from capstan.features.kinds.kind import RowPlace, Target

if TYPE_CHECKING:
    from capstan.features.kinds.categorical import CategoricalSettings, FittedCategorical
    from capstan.features.values import ColumnType
    from capstan.spec.features import Feature

FOLDS, STRETCHES = 5, 10
"""Of rows without a time, and of rows in the order of their time."""
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TargetSettings:
    """The spec's `categorical` with `encode: Target`, free of the spec's imports."""

    categories: CategoricalSettings
    """Which categories are told apart."""

    @property
    def name(self) -> str:
        return self.categories.name

    @property
    def column(self) -> str:
        return self.categories.column

    @classmethod
    def of(cls, feature: Feature) -> TargetSettings:
        """What the file says."""
        from capstan.features.kinds.categorical import CategoricalSettings

        written = feature.categorical
        assert written is not None
        return cls(CategoricalSettings(feature.name, feature.column, "Integer", written.min_frequency))

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — a missing category is one
        """All rows stay in training."""
        return

    def fit(self, table_column: Any) -> FittedTarget:  # noqa: ARG002 — there is nothing to learn without labels
        """Raises InvalidDataError: the labels are needed, see `fit_to`."""
        raise InvalidDataError(
            f"features.{self.name}.categorical.encode: Target learns from labels, and none are given; "
            "fit it with a Target"
        )

    def fit_to(self, table_column: Any, target: Target) -> FittedTarget:
        """What the column and the labels of the same rows teach."""
        categories = self.categories.fit(table_column)
        size = len(categories.categories) + 1
        learnt = _encodings(categories.codes(table_column), target.values, size)
        return FittedTarget(self, categories, tuple(map(tuple, learnt.tolist())), target.names)


@dataclass(frozen=True)
class FittedTarget:
    settings: TargetSettings
    categories: FittedCategorical
    encodings: tuple[tuple[float, ...], ...]
    """By code of the category, `other` last: one number for each output."""
    outputs: tuple[str, ...]
    """Names of the label's classes; one empty text where it is a number or true and false."""

    @property
    def type(self) -> ColumnType:
        return self.categories.type

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.settings.name}:{one}" if one else self.settings.name for one in self.outputs)

    @property
    def is_code(self) -> bool:
        return False

    @property
    def is_one_hot(self) -> bool:
        return False

    @property
    def known(self) -> dict[str | None, int]:
        """Category -> its place in `encodings`."""
        return self.categories.known

    def transform(self, table_column: Any) -> Floats:
        return np.array(self.encodings, dtype=np.float64)[self.categories.codes(table_column)]

    def transform_out_of_fold(self, table_column: Any, target: Target) -> Floats:
        """The training's own rows, by the labels of others: of earlier ones where rows are in order of time."""
        found, values = self.categories.codes(table_column), target.values
        size = len(self.encodings)
        made = np.empty_like(values)
        for others, rows in _folds(len(found), in_time_order=target.in_time_order):
            if len(others):
                made[rows] = _encodings(found[others], values[others], size)[found[rows]]
            else:
                # Nothing is known of their categories: all get one number.
                made[rows] = values[rows].mean(axis=0)
        return made

    def unseen(self, table_column: Any) -> int:
        """Rows whose category was rare or absent in training."""
        return self.categories.unseen(table_column)

    def row_source(self, place: RowPlace) -> list[str]:
        single = len(self.outputs) == 1
        said: list[Any] = [one[0] if single else one for one in self.encodings]
        table = {text: said[code] for text, code in self.known.items()}
        place.names[f"mean{place.feature}"] = CategoryTable(table, said[-1], self.type)
        made = "".join(f"x{place.output + at}, " for at in range(len(self.outputs)))
        return [f" {made.removesuffix(', ') if single else made}= mean{place.feature}[v]"]

    def narrower(self, table_column: Any, outputs: int) -> str:  # noqa: ARG002 — a class each
        return ""


def _folds(rows: int, *, in_time_order: bool) -> Iterator[tuple[Places, Places]]:
    """Rows that are learnt from, and rows that are told by them; each row is told once."""
    every = np.arange(rows)
    if in_time_order:
        for stretch in np.array_split(every, STRETCHES):
            if len(stretch):
                yield every[: stretch[0]], stretch
    elif rows == 1:
        yield every[:0], every
    elif rows:
        from sklearn.model_selection import KFold

        yield from KFold(min(FOLDS, rows), shuffle=True, random_state=0).split(every)


def _encodings(found: Codes, values: Floats, size: int) -> Floats:
    """(categories, outputs) of codes and labels of the same rows; a category without a row has the mean of all."""
    if not len(found):
        return np.zeros((size, values.shape[1]))
    from sklearn.preprocessing import TargetEncoder

    codes = found.reshape(-1, 1)
    made = [
        TargetEncoder(categories=[np.arange(size)], target_type="continuous").fit(codes, column).encodings_[0]
        for column in values.T
    ]
    return np.column_stack(made).astype(np.float64)
