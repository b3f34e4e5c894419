"""A version's model as its service asks it, and as many rows of the history at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from capstan.embedded.backtest.recorded_columns import Numbers, RecordedColumns
from capstan.errors import CapstanError, InvalidDataError, InvalidRequestError
from capstan.features.values import ColumnType
from capstan.serving.model import Model, Scores, load
from capstan.serving.plain_rows import PlainRows
from capstan.serving.schema import RequestSchema, Row
from capstan.tasks import Predictions
from capstan.tasks.metric import Groups
from capstan.tasks.task import Outputs
from capstan.training.factories import importable

BLOCK = 4096
"""Rows of the history that are asked together."""
_PROVEN = 20
"""Rows by which the columns' way is proven equal to that of the service."""
_WAY_OUT = (
    "a backtest cannot tell what a gateway makes of that; mend the code of the model, or use `capstan replay`"
)


class LoadedModel:
    """A version's model with what its service checks rows by."""

    def __init__(
        self, folder: Path, columns: RecordedColumns | None = None, *, way_out: str = _WAY_OUT
    ) -> None:
        """`folder` holds a verified model; raises InvalidDataError.

        `columns` are rows that it may be asked about many at once; None: each request is asked by itself. `way_out`
        tells what a person can do about a model that raises.
        """
        self._folder, self._factories = folder, folder / "factories"
        self._way_out = way_out
        with self._importing():
            self.model: Model = load(folder)
        manifest = self.model.manifest
        self._plain = PlainRows(manifest, self.model.known_categories)
        self._schema = RequestSchema(manifest)
        self.is_of_groups = "group" in self.model.task.facts.keys
        """Whether the rows of a group are one request."""
        self.id_column = manifest.keys.get("id")
        self._row_outputs = self.model.task.row_outputs(manifest.learnt)
        self._keys = frozenset(manifest.keys.values())
        self._columns = columns
        self._names = tuple(column.name for column in manifest.columns)
        # Of other columns the model may read something else than what was recorded.
        is_read_as_is = all(
            column.type is ColumnType.TEXT or (column.numeric and column.type is not ColumnType.BOOLEAN)
            for column in manifest.columns
        )
        self._by_columns = self.model.by_columns() if columns is not None and is_read_as_is else None
        self._blocks: dict[int, list[Any] | None] = {}
        self._as_is: dict[int, bool] = {}

    def reads_as_recorded(self, number: int, body: bytes) -> bool:
        """Whether it reads the recorded request of this number as it is; False of one that it refuses.

        Looked at once, however many policies ask the model.
        """
        if number not in self._as_is:
            try:
                self._as_is[number] = self._reads_as_is(body)
            except InvalidRequestError:
                self._as_is[number] = False
        return self._as_is[number]

    def _reads_as_is(self, body: bytes) -> bool:
        """Whether the model reads what the request says, letter by letter; raises InvalidRequestError."""
        parsed = orjson.loads(body)
        given = dict(parsed)
        if self._plain.of(parsed) is None:
            self._schema.rows_of(parsed)
        return parsed == given or all(
            value == given[name] or (name in self._keys and value == str(given[name]))
            for name, value in parsed.items()
        )

    def scores(self, numbers: Numbers) -> list[Any] | None:
        """Of recorded rows, with the bits of the service; None: they are to be asked by themselves.

        Raises InvalidDataError for a model that raises.
        """
        with self._asking():
            return self._recorded(numbers)

    def outputs(self, scores: Sequence[Any]) -> list[Outputs | None] | None:
        """Payload columns of each; None: the task has no short way to them."""
        return None if self._row_outputs is None else [self._row_outputs(score) for score in scores]

    def rows_of(self, body: bytes) -> Sequence[Row]:
        """The rows of a request as the model reads them; raises InvalidRequestError."""
        return self.read(orjson.loads(body))

    def read(self, parsed: object) -> Sequence[Row]:
        """The same of a body that is parsed already; its rows may be changed."""
        rows = self._plain.of(parsed)
        if rows is None:
            rows = self._schema.rows_of(parsed)
        if self.is_of_groups:
            self._schema.check_group(rows)
        return rows

    def answer(self, requests: Sequence[Sequence[Row]]) -> list[list[Outputs | None]]:
        """Payload columns of each row of each request; None for an answer that no user may get.

        Raises InvalidDataError for a model that raises.
        """
        with self._asking():
            if self._row_outputs is not None and all(len(rows) == 1 for rows in requests):
                return [[self._row_outputs(score)] for score in self._scores([rows[0] for rows in requests])]
            return [self._of_request(rows) for rows in requests]

    def answer_apart(self, rows: Sequence[Row]) -> list[Outputs | None]:
        """The same of many rows that are no group's, each as if it were asked by itself; rows' scores are made at once.

        Raises InvalidDataError for a model that raises, UnfitValueError for a value that it cannot take.
        """
        if not rows:
            return []
        with self._asking():
            scores = self._scores(rows)
            if self._row_outputs is not None:
                return [self._row_outputs(score) for score in scores]
            return self._judged(np.asarray(scores, dtype=np.float64))

    def column_scores(self) -> Callable[[Any], list[Any]] | None:
        """Scores of the columns of a table, with the bits of the service; None: only row by row has them.

        What it gives raises whatever the model raises.
        """
        predict = self.model.by_columns()
        if predict is None:
            return None

        def scores(table: Any) -> list[Any]:
            with self._importing():
                return predict(table)

        return scores

    def recorded_predictions(self, numbers: Numbers) -> Predictions | None:
        """What it says of recorded rows that nobody asks live; None: they are to be asked as rows."""
        with self._asking():
            scores = self._recorded(numbers)
            if not scores:
                return None
            return self.model.task.predictions(
                np.asarray(scores, dtype=np.float64), self.model.manifest.learnt
            )

    def predictions(self, rows: Sequence[Row], groups: Groups | None = None) -> Predictions:
        """What it says of rows that nobody asks live; `groups`: which of them come in one request."""
        with self._asking():
            scores = self.model.predict_batch(rows) if rows else np.empty(0)
            return self.model.task.predictions(scores, self.model.manifest.learnt, groups)

    def _recorded(self, numbers: Numbers) -> list[Any] | None:
        if self._by_columns is None:
            return None
        blocks: dict[int, list[Any]] = {}
        for at in np.unique(numbers // BLOCK).tolist():
            block = self._block(at)
            if block is None:
                return None
            blocks[at] = block
        # In the order of the numbers, which need not ascend: labelled rows come in that of their moments and ids.
        return [blocks[number // BLOCK][number % BLOCK] for number in numbers.tolist()]

    def _block(self, at: int) -> list[Any] | None:
        if at not in self._blocks:
            assert self._by_columns is not None
            assert self._columns is not None
            table = self._columns.read(self._names, at * BLOCK, (at + 1) * BLOCK)
            try:
                found: list[Any] | None = self._by_columns(table)
            except InvalidDataError:
                # One of these rows is none that the model can read; the schema tells which, row by row.
                found = None
            if found is not None and not self._blocks:
                rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
                if [self.model.predict_row(row) for row in rows[:_PROVEN]] != found[:_PROVEN]:
                    found = None
            self._blocks[at] = found
        return self._blocks[at]

    def _scores(self, rows: Sequence[Row]) -> Iterable[Any]:
        """As of requests of a row each: by the path that the service takes, or as a batch where it has none."""
        if self.model.fallback:
            return self.model.predict_batch(rows)
        return [self.model.predict_row(row) for row in rows]

    def _of_request(self, rows: Sequence[Row]) -> list[Outputs | None]:
        return self._judged(self.model.predict_rows(rows))

    def _judged(self, scores: Scores) -> list[Outputs | None]:
        task = self.model.task
        predictions = task.predictions(scores, self.model.manifest.learnt)
        outputs: list[Outputs | None] = list(task.outputs(predictions))
        for index in np.flatnonzero(task.unsound(predictions)).tolist():
            outputs[index] = None
        return outputs

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._importing():
            try:
                yield
            except CapstanError:
                raise
            except Exception as error:
                raise InvalidDataError(
                    f"{self._folder}: the model raised {type(error).__name__}: {error}; {self._way_out}"
                ) from error

    def _importing(self) -> Any:
        return importable(self._factories) if self._factories.is_dir() else nullcontext()
