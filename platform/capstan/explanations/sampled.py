"""Contributions to the score of any model, estimated by drawn orders of its columns.

In an order the columns of a background row are replaced by the row's one after the other, and each is worth what the
score moves then (Štrumbelj & Kononenko 2014). Along one order the moves add up to the row's score less the background
row's, so that the values of a row add up exactly, however few orders were drawn. Each order is drawn with its reverse,
which halves the variance where columns work in pairs (Mitchell et al. 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from capstan.explanations.contributions import Contributions, Row, outputs_of
from capstan.features.columns import Floats
from capstan.features.transform import as_columns
from capstan.tasks import Learnt, Task

ORDERS = 200
"""Drawn for a row, each with its reverse, if the time is enough."""
_AT_ONCE = 10
"""Orders, with their reverses, whose mixtures are asked at once."""
SEED = 2017


class SampledExplainer:
    """The same rows give the same values, unless time is short."""

    exact = False

    def __init__(self, pipeline: Any, task: Task, learnt: Learnt, background: Mapping[str, Any]) -> None:
        self._pipeline, self._task = pipeline, task
        self._background = background
        self._columns = tuple(background)
        scores = self._scores(background)
        self._base: Floats = scores.mean(axis=0)
        self._outputs = outputs_of(scores.shape[1], learnt)
        self._scale = "probability" if task.method == "predict_proba" else "the answer itself"

    def explain(
        self, rows: Sequence[Row], *, seconds: float | None = None, orders: int = ORDERS
    ) -> Contributions:
        """`orders`: most that are drawn for a row."""
        started, found = perf_counter(), []
        given = as_columns(rows, self._columns)
        for at in range(len(rows)):
            until = None if seconds is None else started + seconds * (at + 1) / len(rows)
            found.append(self._of_row({name: given[name][at] for name in self._columns}, until, orders))
            if seconds is not None and perf_counter() - started > 2 * seconds:
                raise TimeoutError
        values, errors = (np.stack([one[part] for one in found]) for part in (0, 1))
        return Contributions(
            self._columns, self._outputs, self._scale, self._base, values, exact=False, errors=errors
        )

    def _of_row(self, row: Mapping[str, object], until: float | None, orders: int) -> tuple[Floats, Floats]:
        """Values and their standard errors, (columns, outputs) each."""
        rng = np.random.default_rng(SEED)
        size = len(next(iter(self._background.values())))
        lots: list[Floats] = []
        drawn = 0
        while drawn < orders and (not lots or until is None or perf_counter() < until):
            count = min(_AT_ONCE, orders - drawn)
            # Each background row is taken before any comes again.
            behind = np.arange(drawn, drawn + count) * 7919 % size
            lots.append(self._moves(row, behind, rng))
            drawn += count
        moves = np.concatenate(lots)
        total = self._scores({name: _one(value) for name, value in row.items()})[0] - self._base
        mean = moves.mean(axis=0)
        # Not every background row was drawn as often: what is missing to the mean of all is shared out evenly.
        mean += (total - mean.sum(axis=0)) / len(self._columns)
        spread = (
            moves.std(axis=0, ddof=1) / np.sqrt(len(moves)) if len(moves) > 1 else np.full_like(mean, np.nan)
        )
        return mean, spread

    def _moves(self, row: Mapping[str, object], behind: Any, rng: np.random.Generator) -> Floats:
        """(orders, columns, outputs): the mean of an order's moves and of its reverse's."""
        players, orders = len(self._columns), len(behind)
        drawn = np.stack([rng.permutation(players) for _ in range(orders)])
        both = np.concatenate([drawn, drawn[:, ::-1]])
        # Place of each column in its order; a mixture of k columns of the row has those of the first k places.
        place = np.argsort(both, axis=1)
        taken = place[:, None, :] < np.arange(players + 1)[None, :, None]
        rows = np.repeat(np.tile(behind, 2), players + 1)
        mixed = {}
        for at, name in enumerate(self._columns):
            column = self._background[name][rows]
            column[taken[:, :, at].reshape(-1)] = row[name]
            mixed[name] = column
        scores = self._scores(mixed).reshape(2 * orders, players + 1, -1)
        steps = np.diff(scores, axis=1)
        moved = np.take_along_axis(steps, place[:, :, None], axis=1)
        found: Floats = (moved[:orders] + moved[orders:]) / 2
        return found

    def _scores(self, columns: Mapping[str, Any]) -> Floats:
        """(n, outputs)."""
        from capstan.features.transform import FeatureTransform

        table: Any = columns
        steps = getattr(self._pipeline, "steps", [("", None)])
        if not isinstance(steps[0][1], FeatureTransform):
            import pandas

            table = pandas.DataFrame(dict(columns))
        found = np.asarray(self._task.scores(self._pipeline, table), dtype=np.float64)
        return found.reshape(len(found), -1)


def _one(value: object) -> Any:
    column = np.empty(1, dtype=object)
    column[0] = value
    return column
