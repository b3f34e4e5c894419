"""How much worse a model becomes when the values of one column are shuffled among the rows (Breiman 2001).

The columns are those of a request and not those of the matrix, and the metric is the task's own, with its groups: so
scikit-learn's `permutation_importance`, which takes an array and a scorer of rows, does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from capstan.tasks import Metric, Predictions
from capstan.tasks.metric import Groups, Truth, numbered

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 1000
REPEATS = 3
Predict = Callable[["pa.Table", "Groups | None"], Predictions]


@dataclass(frozen=True)
class Importance:
    """Of one column."""

    column: str
    drop: float
    """By how much the metric gets worse; negative where it gets better by chance."""
    error: float
    """Standard error over the repeats."""


def some_rows(count: int, groups: Groups | None, most: int = MOST_ROWS) -> npt.NDArray[np.int64]:
    """At most so many rows, evenly spread; of rows in groups some whole groups, at least one."""
    if groups is None:
        return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))
    every = max(1, int(np.ceil(count / most)))
    found: npt.NDArray[np.int64] = np.flatnonzero(groups % every == 0)
    return found


def importances(
    metric: Metric,
    predict: Predict,
    table: pa.Table,
    truth: Truth,
    groups: Groups | None,
    columns: Sequence[str],
    *,
    rng: np.random.Generator,
    repeats: int = REPEATS,
) -> list[Importance]:
    """Of each column, the most important first."""
    import pyarrow as arrow

    rows, sign = table.num_rows, metric.facts.sign
    best = sign * metric.value(truth, predict(table, groups), groups)
    count = int(groups.max()) + 1 if groups is not None else 0
    of_all = None if groups is None else np.concatenate([groups + at * count for at in range(repeats)])
    stacked = arrow.concat_tables([table] * repeats)
    found = []
    for column in columns:
        drawn = np.concatenate([rng.permutation(rows) for _ in range(repeats)])
        place = stacked.column_names.index(column)
        shuffled = stacked.set_column(place, column, table[column].take(arrow.array(drawn)))
        said = predict(shuffled, of_all)
        drops = []
        for at in range(repeats):
            part = slice(at * rows, (at + 1) * rows)
            own = None if of_all is None else numbered(of_all[part])
            drops.append(best - sign * metric.value(truth, said.rows(part), own))
        error = float(np.std(drops, ddof=1)) / repeats**0.5 if repeats > 1 else float("nan")
        found.append(Importance(column, float(np.mean(drops)), error))
    return sorted(found, key=lambda one: -one.drop if one.drop == one.drop else float("inf"))
