"""Answers of many rows as columns: through the transform and the model at once, with the bits of single rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.embedded.backtest.loaded_model import LoadedModel
from capstan.embedded.batch.plain_columns import PlainColumns, as_json
from capstan.errors import InvalidRequestError
from capstan.features.kinds import FittedCustom
from capstan.tasks import Predictions

_PROVEN = 20
"""Rows by which the columns' way is proven equal to that of single rows."""
_MATRIX_BYTES = 64 * 2**20
"""Of the matrix that the rows of one part become: a feature of many categories must not take the memory."""


@dataclass(frozen=True)
class ColumnAnswers:
    """Of the rows of a batch that are accepted and have a sound answer."""

    places: npt.NDArray[np.int64]
    """Which rows of the batch they are."""
    read: Mapping[str, Any]
    """Columns as the model reads them."""
    familiar: npt.NDArray[np.bool_]
    predictions: Predictions

    def rows(self, chosen: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """Some of them as the model reads them; missing is None."""
        columns = {name: _listed(_taken(values, chosen)) for name, values in self.read.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


class ColumnwiseAnswers:
    """Answers the rows of one model as columns as long as that is proven to be what it says of single rows."""

    def __init__(
        self, loaded: LoadedModel, columns: PlainColumns, predict: Callable[[Any], list[Any]], most: int
    ) -> None:
        """`most`: rows whose matrix is not too large."""
        self._loaded, self._columns, self._predict, self._most = loaded, columns, predict, most
        self._is_proven: bool | None = None

    @classmethod
    def of(cls, loaded: LoadedModel, sent: Sequence[str]) -> Self | None:
        """`sent`: what of a row is asked; None: the model says the same bits only row by row."""
        model = loaded.model
        predict = None if loaded.is_of_groups else loaded.column_scores()
        if predict is None:
            return None
        transform = model.pipeline.steps[0][1]
        if any(isinstance(feature, FittedCustom) for feature in transform.features_):
            # A function of somebody's may give a value something else beside other values.
            return None
        columns = PlainColumns(model.manifest, model.known_categories, sent)
        return cls(loaded, columns, predict, transform.batch_rows(_MATRIX_BYTES))

    def answers(self, batch: pa.RecordBatch, odd: Sequence[str]) -> ColumnAnswers | None:
        """None: these rows are to be asked one by one. A row that has a value in a column `odd` is not answered."""
        if self._is_proven is False:
            return None
        read = self._columns.read(batch)
        if read is None:
            return None
        accepted = read.accepted
        for name in odd:
            accepted = accepted & batch.column(name).is_null().to_numpy(zero_copy_only=False)
        places = np.flatnonzero(accepted)
        if not len(places):
            return None
        columns = {name: _taken(values, places) for name, values in read.columns.items()}
        try:
            scores = self._scores(columns, len(places))
            if self._is_proven is None:
                self._is_proven = self._proven(batch, places[:_PROVEN], scores[:_PROVEN])
        except Exception:
            return None
        if not self._is_proven:
            return None
        task, learnt = self._loaded.model.task, self._loaded.model.manifest.learnt
        predictions = task.predictions(np.asarray(scores, dtype=np.float64), learnt)
        unsound = task.unsound(predictions)
        familiar = read.familiar[places]
        if unsound.any():
            sound = np.flatnonzero(~unsound)
            columns = {name: _taken(values, sound) for name, values in columns.items()}
            places, familiar, predictions = places[sound], familiar[sound], predictions.rows(sound)
        return ColumnAnswers(places, columns, familiar, predictions)

    def _scores(self, columns: Mapping[str, Any], rows: int) -> list[Any]:
        if rows <= self._most:
            return self._predict(columns)
        found: list[Any] = []
        for begin in range(0, rows, self._most):
            found += self._predict(
                {name: values[begin : begin + self._most] for name, values in columns.items()}
            )
        return found

    def _proven(self, batch: pa.RecordBatch, places: npt.NDArray[np.int64], scores: Sequence[Any]) -> bool:
        loaded, names = self._loaded, self._columns.sent
        try:
            rows = [
                loaded.read({name: as_json(row[name]) for name in names})[0]
                for row in batch.take(pa.array(places)).to_pylist()
            ]
        except InvalidRequestError:
            return False
        return [loaded.model.predict_row(row) for row in rows] == list(scores)


def _taken(values: Any, places: npt.NDArray[np.int64]) -> Any:
    if len(places) == len(values):
        return values
    return values[places] if isinstance(values, np.ndarray) else values.take(pa.array(places))


def _listed(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray):
        return [None if value != value else value for value in values.tolist()]
    found: list[Any] = values.to_pylist()
    return found
