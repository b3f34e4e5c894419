"""How the answer moves with the values of one column, the others being as they are (Friedman 2001).

The mean over rows hides columns that work together: one value may raise the answer of some rows and lower that of
others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.features.columns import Floats

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 100
MOST_VALUES = 12
"""Of one column: quantiles of numbers, or the most frequent categories."""
Scores = Callable[["pa.Table"], Floats]
"""(n,) or (n, outputs)."""


@dataclass(frozen=True)
class Dependence:
    """The mean answer by the values of one column."""

    column: str
    values: tuple[float | str, ...]
    means: Mapping[str, tuple[float, ...]]
    """By output, one for each value."""


def dependence(
    scores: Scores, table: pa.Table, column: str, outputs: Sequence[str], *, is_number: bool
) -> Dependence | None:
    """Of the rows of the table; None where the column has fewer than two values."""
    import pyarrow as arrow

    place = table.column_names.index(column)
    kind = table[column].type
    values = _numbers(table, column) if is_number else _categories(table, column)
    if len(values) < 2:
        return None
    rows = table.num_rows
    repeated = arrow.concat_tables([table] * len(values))
    given = arrow.array([one for one in values for _ in range(rows)])
    means = scores(repeated.set_column(place, column, given.cast(kind, safe=False)))
    by_value = means.reshape(len(values), rows, -1).mean(axis=1)
    shown = tuple(float(one) if is_number else str(one) for one in values)
    return Dependence(
        column,
        shown,
        {name: tuple(by_value[:, at].tolist()) for at, name in enumerate(outputs)},
    )


def _numbers(table: pa.Table, column: str) -> list[Any]:
    """Values that are there, at even quantiles."""
    found = [one for one in table[column].to_pylist() if isinstance(one, int | float) and one == one]
    if not found:
        return []
    ordered = sorted(found)
    places = np.linspace(0.02, 0.98, MOST_VALUES) * (len(ordered) - 1)
    return list(dict.fromkeys(ordered[round(at)] for at in places.tolist()))


def _categories(table: pa.Table, column: str) -> list[Any]:
    counted = table[column].drop_null().value_counts()
    pairs = [(one["counts"], one["values"]) for one in counted.to_pylist()]
    pairs.sort(key=lambda one: (-one[0], str(one[1])))
    return [value for _, value in pairs[:MOST_VALUES]]
