"""A version's answers for the rows of a partition: each is read, checked and predicted as its service would."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from capstan.domain.batches import Reconciled
from capstan.embedded.backtest.loaded_model import LoadedModel
from capstan.embedded.batch.column_answers import ColumnAnswers, ColumnwiseAnswers
from capstan.embedded.batch.plain_columns import as_json
from capstan.errors import InvalidDataError, InvalidRequestError, UnfitValueError, shown
from capstan.serving.familiarity import Familiarity
from capstan.serving.schema import Row
from capstan.tasks.task import Outputs
from capstan.tasks.tensors import Tensor

REQUESTS = 1000
"""Requests that are answered together where each row is read by itself."""
OUTSIDE = "outside"
VERSION = "version"
_TYPES = {"FP64": pa.float64(), "INT64": pa.int64(), "BOOL": pa.bool_()}
_PLACE = re.compile(r"^rows\[\d+\]\.")
_WAY_OUT = "what is written stays; mend the code of the model, or predict by another version with --version"

Request = Sequence[dict[str, Any]]
"""Rows that are asked together."""
Aside = Callable[[dict[str, Any]], None]
"""Takes a refused row with its id and its problems."""
Answered = tuple[tuple[Row, Row], Outputs]
"""A row with what the model read of it, and its answer."""
_NONE: Mapping[str, str] = {}


class Watch(Protocol):
    """Is shown some of the rows that are answered."""

    def wanted(self, requests: int) -> Sequence[int]:
        """Places of those that it is shown of the next so many requests, in order."""
        ...

    def show(self, requests: Iterable[Sequence[Answered]]) -> None:
        """The rows of each of them."""
        ...


@dataclass(frozen=True)
class Keys:
    """Columns that travel from a row to its prediction."""

    identity: str
    time: str | None
    group: str | None

    @property
    def fields(self) -> list[pa.Field]:
        named = [pa.field(self.identity, pa.string())]
        named += [pa.field(self.time, pa.timestamp("us", "UTC"))] if self.time is not None else []
        return named + ([pa.field(self.group, pa.string())] if self.group is not None else [])


class BatchAnswers:
    """Answers rows of one table; `schema` is that of what is written."""

    def __init__(self, folder: Path, version: str, keys: Keys) -> None:
        """`folder` holds the version's verified model; raises InvalidDataError, also for names that clash."""
        self._loaded = LoadedModel(folder, way_out=_WAY_OUT)
        model = self._loaded.model
        self._task, self._learnt = model.task, model.manifest.learnt
        self._version, self.keys = version, keys
        self._aside: Aside = lambda _: None
        self._familiarity = Familiarity(model.manifest, model.known_categories, lambda _: None)
        self._sent = tuple(
            dict.fromkeys(
                [*(column.name for column in model.manifest.columns), *model.manifest.keys.values()]
            )
        )
        self._columns = ColumnwiseAnswers.of(self._loaded, self._sent)
        self._watch: Watch | None = None
        answers = [
            pa.field(name, _TYPES.get(tensor.datatype, pa.string()))
            for tensor in self._task.described(self._learnt)
            for name in _names(tensor)
        ]
        own = [pa.field(VERSION, pa.string()), *answers, pa.field(OUTSIDE, pa.string())]
        self.schema = pa.schema([*keys.fields, *own])
        taken = {field.name for field in own}
        for field, name in (("id", keys.identity), ("time", keys.time), ("group", keys.group)):
            if name in taken:
                raise InvalidDataError(
                    f"data.keys.{field}: {name!r} is the name of a part of each prediction "
                    f"({', '.join(one.name for one in own)}); give the column another name in data.query, such as "
                    f"`select {name} as row_{name}`, and train again"
                )

    @property
    def columns(self) -> tuple[str, ...]:
        """What the model reads of a row, and the keys that a request carries."""
        return self._sent

    @property
    def key_numbers(self) -> Mapping[str, int]:
        """Of each column that it knows by pseudonyms the number of their key."""
        treated = self._loaded.model.manifest.treated
        return {one.name: one.number for one in treated if one.number is not None}

    def answered(
        self,
        batches: Iterable[pa.RecordBatch],
        tally: Reconciled,
        aside: Aside = lambda _: None,
        *,
        written: Mapping[str, str] = _NONE,
        watch: Watch | None = None,
    ) -> Iterator[pa.Table]:
        """The predictions of the rows, in their order; refused ones are counted in `tally` and given `aside`.

        `written` names columns with what stood in a column of numbers and is none. Raises InvalidDataError for a model
        that raises.
        """
        self._aside, self._watch = aside, watch
        if self._columns is None:
            for requests in _in_parts(_requests(batches, self._group, written)):
                yield from self._row_by_row(requests, tally)
            return
        for batch in batches:
            yield from self._batch(self._columns, batch, tally, written)

    def _row_by_row(self, requests: Sequence[Request], tally: Reconciled) -> Iterator[pa.Table]:
        tally.read += sum(map(len, requests))
        taken, outputs = self._answers(requests, tally)
        tally.written += len(taken)
        if not taken:
            return
        if self._watch is not None:
            asked = self._grouped(zip(taken, outputs, strict=True))
            self._watch.show([asked[place] for place in self._watch.wanted(len(asked))])
        yield self._table(taken, outputs)

    def _batch(
        self, columns: ColumnwiseAnswers, batch: pa.RecordBatch, tally: Reconciled, written: Mapping[str, str]
    ) -> Iterator[pa.Table]:
        """Rows that nothing is to be said about are answered as columns, the others one by one."""
        found = columns.answers(batch, tuple(written.values()))
        if found is None:
            for requests in _in_parts(_requests([batch], None, written)):
                yield from self._row_by_row(requests, tally)
            return
        tally.read += batch.num_rows
        rest = np.setdiff1d(np.arange(batch.num_rows), found.places, assume_unique=True)
        taken: list[tuple[Row, Row]] = []
        outputs: list[Outputs] = []
        places = found.places
        if len(rest):
            requests = list(_requests([batch.take(pa.array(rest))], None, written))
            taken, outputs = self._answers(requests, tally)
            at = {
                request[0][self.keys.identity]: place for request, place in zip(requests, rest, strict=True)
            }
            answered = [at[row[self.keys.identity]] for row, _ in taken]
            places = np.concatenate([places, np.array(answered, dtype=np.int64)])
        tally.written += len(places)
        order = np.argsort(places)
        if self._watch is not None:
            self._show(self._watch, batch, found, order, list(zip(taken, outputs, strict=True)))
        tables = [self._table_of(batch, found)] if len(found.places) else []
        tables += [self._table(taken, outputs)] if taken else []
        if len(tables) == 1:
            yield tables[0]
        elif tables:
            yield pa.concat_tables(tables).take(pa.array(order))

    def _show(
        self,
        watch: Watch,
        batch: pa.RecordBatch,
        found: ColumnAnswers,
        order: npt.NDArray[np.int64],
        others: Sequence[Answered],
    ) -> None:
        """Those rows that are wanted, in their order; `others` follow those that are answered as columns."""
        wanted = order[list(watch.wanted(len(order)))]
        by_columns = wanted[wanted < len(found.places)]
        rows = batch.take(pa.array(found.places[by_columns])).to_pylist()
        read = [self._read([row])[0] for row in rows]
        said = self._task.outputs(found.predictions.rows(by_columns))
        shown = dict(
            zip(by_columns.tolist(), zip(zip(rows, read, strict=True), said, strict=True), strict=True)
        )
        count = len(found.places)
        watch.show([[shown[at] if at < count else others[at - count]] for at in wanted.tolist()])

    def _grouped(self, rows: Iterable[Answered]) -> list[list[Answered]]:
        group = self._group
        if group is None:
            return [[one] for one in rows]
        return [list(same) for _, same in itertools.groupby(rows, lambda one: one[0][0][group])]

    @property
    def _group(self) -> str | None:
        return self.keys.group if self._loaded.is_of_groups else None

    def _answers(
        self, requests: Sequence[Request], tally: Reconciled
    ) -> tuple[list[tuple[Row, Row]], list[Outputs]]:
        """The rows that are answered, each with what the model read of it, and the answers."""
        given: list[Request] = []
        read: list[Sequence[Row]] = []
        for request in requests:
            try:
                read.append(self._read(request))
            except InvalidRequestError as error:
                self._refuse(request, error, tally)
                continue
            given.append(request)
        taken: list[tuple[Row, Row]] = []
        outputs: list[Outputs] = []
        for request, rows, answers in zip(given, read, self._of(read), strict=True):
            if isinstance(answers, InvalidRequestError):
                self._refuse(request, answers, tally)
                continue
            for row, values, answer in zip(request, rows, answers, strict=True):
                if answer is None:
                    wrong = InvalidRequestError("prediction", None, f"is not {self._task.sound}")
                    self._refuse([row], wrong, tally)
                else:
                    taken.append((row, values))
                    outputs.append(answer)
        return taken, outputs

    def _read(self, request: Request) -> Sequence[Row]:
        rows = [{name: as_json(row[name]) for name in self._sent if name in row} for row in request]
        return self._loaded.read(rows[0] if self._group is None else {"rows": rows})

    def _of(
        self, requests: Sequence[Sequence[Row]]
    ) -> Sequence[Sequence[Outputs | None] | InvalidRequestError]:
        """Of each request its answers, or why the model cannot take it."""
        try:
            if self._group is not None:
                return self._loaded.answer(requests)
            return [[one] for one in self._loaded.answer_apart([rows[0] for rows in requests])]
        except UnfitValueError as error:
            if len(requests) == 1:
                return [InvalidRequestError(error.column, error.value, error.rule)]
            # One of them has the value; the halves find it, so that it costs the others nothing.
            middle = len(requests) // 2
            return [*self._of(requests[:middle]), *self._of(requests[middle:])]

    def _refuse(self, request: Request, error: InvalidRequestError, tally: Reconciled) -> None:
        field = _PLACE.sub("", error.field)
        for row in request:
            identity = row[self.keys.identity]
            tally.refuse(shown(identity), f"{field}: {error.rule}", error.problems)
            self._aside({"id": identity, "problems": error.problems, "row": row})

    def _table_of(self, batch: pa.RecordBatch, found: ColumnAnswers) -> pa.Table:
        count, places = len(found.places), pa.array(found.places)
        kept = batch.select([field.name for field in self.keys.fields]).take(places)
        columns: dict[str, Any] = {
            field.name: kept.column(field.name).cast(field.type) for field in self.keys.fields
        }
        columns[VERSION] = pa.repeat(self._version, count)
        outputs = self._task.outputs(found.predictions)
        for tensor in self._task.tensors(outputs, self._learnt):
            names = _names(tensor)
            for at, name in enumerate(names):
                columns[name] = pa.array(tensor.data[at :: len(names)], self.schema.field(name).type)
        columns[OUTSIDE] = self._marks(found)
        return pa.table([columns[field.name] for field in self.schema], self.schema)

    def _marks(self, found: ColumnAnswers) -> pa.Array:
        strange = np.flatnonzero(~found.familiar)
        told: list[str | None] = [None] * len(found.places)
        if len(strange):
            marks = self._familiarity.marks(found.rows(strange)) or {}
            for at, place in enumerate(strange.tolist()):
                told[place] = orjson.dumps(marks[at]).decode() if at in marks else None
        return pa.array(told, pa.string())

    def _table(self, taken: Sequence[tuple[Row, Row]], outputs: Sequence[Outputs]) -> pa.Table:
        columns: dict[str, Sequence[Any]] = {
            field.name: [row[field.name] for row, _ in taken] for field in self.keys.fields
        }
        columns[VERSION] = [self._version] * len(taken)
        for tensor in self._task.tensors(outputs, self._learnt):
            names = _names(tensor)
            for at, name in enumerate(names):
                columns[name] = tensor.data[at :: len(names)]
        marks = self._familiarity.marks([values for _, values in taken]) or {}
        columns[OUTSIDE] = [
            orjson.dumps(marks[at]).decode() if at in marks else None for at in range(len(taken))
        ]
        return pa.table([pa.array(columns[field.name], field.type) for field in self.schema], self.schema)


def _names(tensor: Tensor) -> list[str]:
    """A column for each number of a row: `probabilities.setosa` where the tensor names its classes."""
    if len(tensor.shape) < 2:
        return [tensor.name]
    named = orjson.loads((tensor.parameters or {}).get("classes", "[]")) or range(tensor.shape[1])
    return [f"{tensor.name}.{name}" for name in named]


def _requests(
    batches: Iterable[pa.RecordBatch], group: str | None, written: Mapping[str, str]
) -> Iterator[Request]:
    rows = (_as_written(row, written) for batch in batches for row in batch.to_pylist())
    if group is None:
        yield from ([row] for row in rows)
    else:
        yield from (list(same) for _, same in itertools.groupby(rows, lambda row: row[group]))


def _as_written(row: dict[str, Any], written: Mapping[str, str]) -> dict[str, Any]:
    for name, raw in written.items():
        odd = row.pop(raw)
        if odd is not None:
            row[name] = odd
    return row


def _in_parts(requests: Iterator[Request]) -> Iterator[list[Request]]:
    while part := list(itertools.islice(requests, REQUESTS)):
        yield part
