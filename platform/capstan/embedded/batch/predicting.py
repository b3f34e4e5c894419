"""A batch of predictions: all rows of the system's sources between two moments, by one version's verified model.

The command can be repeated whenever it was stopped or killed: what is finished and still holds is kept.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from capstan.data.batch_input import as_asked, in_words
from capstan.data.partitions import Partition, PartitionedCases, partitioned_cases
from capstan.domain.batch_calendar import BatchStatus
from capstan.domain.batches import PartitionInputs, Reconciled, why_anew
from capstan.domain.training import RunPhase
from capstan.domain.versions import ModelVersion
from capstan.embedded.backtest.inputs import installed_digest
from capstan.embedded.batch.answering import BatchAnswers, Keys
from capstan.embedded.batch.folder import Aside, BatchFolder, Finished
from capstan.embedded.batch.spark import SparkTask, predict_on_spark, require_spark
from capstan.embedded.batch.watching import WatchedRows
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem
from capstan.spec.batch import BatchInput

_LOOK_SECONDS = 0.2
_TOLD_REASONS = 10
"""Reasons for refusals that the loop is told; the manifest has all."""
DAMAGED = "the file cannot be read or is not whole"


@dataclass(frozen=True)
class BatchRequest:
    """What is predicted, by which version, and where it is written."""

    system: MLSystem
    version: ModelVersion
    model: Path
    """The version's verified model folder."""
    start: datetime | None
    """None: from the first row on."""
    end: datetime | None
    """Not itself; None: all that is there."""
    output: Path
    secrets: Path | None = None
    input: BatchInput | None = None
    """None: the rows of data.query."""
    on_spark: bool = False
    watched: WatchedRows | None = None
    """Shows its rows to the monitor; None: nobody does, as where a person asks for the past."""

    @property
    def batch(self) -> dict[str, str | None]:
        """What a folder holds one of."""
        return {
            "system": self.system.metadata.name,
            "from": None if self.start is None else self.start.isoformat(),
            "to": None if self.end is None else self.end.isoformat(),
            "input": in_words(self.input),
        }


@dataclass
class BatchResult:
    """What was done."""

    partitions: int | None
    """None: it was stopped while the rows were read, so that nobody knows."""
    rows: Reconciled = field(default_factory=Reconciled)
    """Of all partitions that are finished."""
    made: int = 0
    kept: int = 0
    untimed: int = 0
    """Rows that have no time, so that they are in no stretch of it."""
    removed: list[str] = field(default_factory=list)
    """Partitions of an earlier run whose rows are no more there."""
    anew: Counter[str] = field(default_factory=Counter)
    """Why finished partitions were made again, and how many."""
    is_complete: bool = False
    """Whether nothing stopped it."""


class _StoppedError(Exception):
    pass


def predict_batch(
    request: BatchRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    advance: Callable[[int, int], None] = lambda _done, _total: None,
) -> BatchResult:
    """Write what is missing of the batch; `advance` gets rows that are done and all rows.

    Raises InvalidDataError, NotAllowedError where the folder holds something else, AlreadyRunningError, DiskFullError.
    """
    keys = request.system.spec.data.keys
    answers = BatchAnswers(request.model, request.version.name, Keys(keys.id_column, keys.time, keys.group))
    folder = BatchFolder(request.output)
    if request.on_spark:
        require_spark()
    with folder.exclusively():
        folder.require(request.batch)
        given, columns = request.input, answers.columns
        try:
            with (
                _interrupted_by(stop) as on_connect,
                partitioned_cases(
                    request.system if given is None else as_asked(request.system, given, columns),
                    columns=columns,
                    start=request.start,
                    end=request.end,
                    secrets=request.secrets,
                    keeps_odd=given is not None,
                    on_connect=on_connect,
                    key_numbers=answers.key_numbers,
                ) as cases,
            ):
                return _Batch(request, answers, folder, cases).run(stop, advance)
        except duckdb.InterruptException:
            return BatchResult(partitions=None)
        except InvalidDataError:
            # What was interrupted in the query is told as an error of the query.
            if stop():
                return BatchResult(partitions=None)
            raise


@contextmanager
def _interrupted_by(stop: Callable[[], bool]) -> Iterator[Callable[[duckdb.DuckDBPyConnection], None]]:
    """Ends what DuckDB does once `stop` says so: reading and joining may take minutes, and nobody else asks then."""
    ended = threading.Event()
    connections: list[duckdb.DuckDBPyConnection] = []

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            if stop():
                for connection in connections:
                    # It may be closed already, as where the batch has just ended.
                    with suppress(duckdb.ConnectionException):
                        connection.interrupt()

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield connections.append
    finally:
        ended.set()
        watcher.join()


class _Batch:
    """One run over a folder that is held."""

    def __init__(
        self, request: BatchRequest, answers: BatchAnswers, folder: BatchFolder, cases: PartitionedCases
    ) -> None:
        self._request, self._answers, self._folder, self._cases = request, answers, folder, cases
        self._finished: dict[str, Finished] = {}
        self._result = BatchResult(len(cases.partitions), untimed=cases.untimed)

    def run(self, stop: Callable[[], bool], advance: Callable[[int, int], None]) -> BatchResult:
        result, partitions = self._result, self._cases.partitions
        result.removed = self._folder.others([one.name for one in partitions])
        missing = [one for one in partitions if not self._holds(one)]
        result.kept = len(self._finished)
        if missing or result.removed:
            # From the first change on the folder is no whole batch.
            self._tell(is_complete=False)
            self._folder.remove(result.removed)
        if missing and self._request.on_spark:
            if not self._on_spark(missing, stop, advance):
                return result
            missing = []
        for partition in missing:
            if stop():
                return result
            made = Finished(self._inputs(partition), Reconciled())
            try:
                self._folder.write(
                    partition.name,
                    self._answers.schema,
                    functools.partial(self._tables, partition, made, stop, advance),
                    made,
                )
            except (_StoppedError, duckdb.InterruptException):
                return result
            result.made += 1
            self._keep(partition, made)
        result.is_complete = True
        self._tell(is_complete=True)
        return result

    def _on_spark(
        self, missing: Sequence[Partition], stop: Callable[[], bool], advance: Callable[[int, int], None]
    ) -> bool:
        by_name, request = {one.name: one for one in missing}, self._request
        task = SparkTask(
            request.output.resolve(),
            request.version.name,
            self._answers.keys,
            {name: self._inputs(one) for name, one in by_name.items()},
            self._cases.written,
            request.watched,
            self._cases.rows,
        )

        def keep(name: str, made: Finished) -> None:
            self._result.made += 1
            self._keep(by_name[name], made)
            advance(self._result.rows.read, self._cases.rows)

        return predict_on_spark(task, self._cases, request.model, missing, stop=stop, keep=keep)

    def _tables(
        self,
        partition: Partition,
        made: Finished,
        stop: Callable[[], bool],
        advance: Callable[[int, int], None],
        aside: Aside,
    ) -> Iterator[pa.Table]:
        rows, written = self._cases.batches(partition), self._cases.written
        watched = self._request.watched
        if watched is not None:
            watched.begin(partition.name, made.inputs, self._cases.rows)
        answered = self._answers.answered(rows, made.rows, aside, written=written, watch=watched)
        for table in answered:
            yield table
            advance(self._result.rows.read + made.rows.read, self._cases.rows)
            if stop():
                raise _StoppedError

    def _inputs(self, partition: Partition) -> PartitionInputs:
        version = self._request.version
        return PartitionInputs(version.name, version.digest, installed_digest(), partition.digest)

    def _holds(self, partition: Partition) -> bool:
        """Whether it is finished and still what it would be; then it is kept."""
        if not self._folder.is_there(partition.name):
            return False
        found = self._folder.finished(partition.name)
        why = DAMAGED if found is None else why_anew(found.inputs, self._inputs(partition))
        if found is None or why:
            self._result.anew[why] += 1
            return False
        self._keep(partition, found)
        return True

    def _keep(self, partition: Partition, finished: Finished) -> None:
        self._finished[partition.name] = finished
        self._result.rows.add(finished.rows)

    def _tell(self, *, is_complete: bool) -> None:
        """Write the manifest; partitions that are not there yet are not in it."""
        rows, version = self._result.rows, self._request.version
        parts = [
            {
                "file": f"{one.name}.parquet",
                "version": self._finished[one.name].inputs.version,
                **counts(self._finished[one.name].rows),
                "digest": one.digest,
            }
            for one in self._cases.partitions
            if one.name in self._finished
        ]
        self._folder.write_manifest(
            {
                **self._request.batch,
                "version": version.name,
                "digest": version.digest,
                "made_by": installed_digest(),
                "complete": is_complete,
                **counts(rows),
                "without_time": self._result.untimed,
                "examples": rows.examples,
                "partitions": parts,
            }
        )


def counts(rows: Reconciled) -> dict[str, Any]:
    """What became of rows, as JSON: those read are those written and those refused."""
    return {
        "read": rows.read,
        "written": rows.written,
        "refused": rows.refused_rows,
        "reasons": dict(rows.refused.most_common()),
    }


def status_of(request: BatchRequest, result: BatchResult) -> BatchStatus:
    """What the loop is told of a batch that is finished."""
    rows, watched = result.rows, request.watched
    return BatchStatus(
        RunPhase.SUCCEEDED,
        read=rows.read,
        written=rows.written,
        refused=rows.refused_rows,
        reasons=tuple(reason for reason, _ in rows.refused.most_common(_TOLD_REASONS)),
        output=str(request.output),
        unwatched=watched.lost if watched is not None else 0,
        why_unwatched=watched.why_lost if watched is not None else "",
    )
