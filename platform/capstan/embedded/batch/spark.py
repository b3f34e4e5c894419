"""A batch on Spark: the rows are read and parted here, and each partition is predicted by a task of Spark.

Tasks work side by side, and while they do, the next partitions are staged for them. A task writes the same file as one
process does: whole or not at all, with the same footer. So what was stopped on one of both goes on with the other.
Folder and staged rows are reached by all tasks, as on a disk that is shared.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from capstan.data.partitions import READ_ROWS, Partition, PartitionedCases
from capstan.domain.batches import PartitionInputs, Reconciled
from capstan.embedded.batch.answering import BatchAnswers, Keys
from capstan.embedded.batch.folder import BatchFolder, Finished, finished_of, told_of
from capstan.embedded.batch.watching import WatchedRows
from capstan.errors import CapstanError, InvalidDataError, MissingExtraError

MASTER = "SPARK_MASTER"
"""Environment variable with the address of a Spark; without it this machine's cores are one."""
STAGING = ".staging"
_MODEL = "model"
_TASKS_PER_CORE = 4
"""Of one job: so many that its last ones hold up few cores, and so few that making jobs costs little."""
_JOBS = 2
"""At once, so that cores which one job has no task for have those of the next."""
_LOOK_SECONDS = 0.2
_SAYS = "name string, told string"


@dataclass(frozen=True)
class SparkTask:
    """All that a task needs besides the name of its partition; it travels to where Spark works."""

    output: Path
    version: str
    keys: Keys
    inputs: Mapping[str, PartitionInputs]
    written: Mapping[str, str]
    watched: WatchedRows | None
    rows: int
    """Of the whole batch."""


def require_spark() -> None:
    """Raises MissingExtraError where pyspark is not installed."""
    if find_spec("pyspark") is None:
        raise MissingExtraError("batch.engine: Spark", "spark")


def predict_on_spark(
    task: SparkTask,
    cases: PartitionedCases,
    model: Path,
    missing: Sequence[Partition],
    *,
    stop: Callable[[], bool],
    keep: Callable[[str, Finished], None],
) -> bool:
    """Make the missing partitions; `keep` gets each that is finished. Whether nothing stopped it.

    Raises InvalidDataError for a model that raises, CapstanError for a Spark that does not work.
    """
    require_spark()
    from pyspark.sql import SparkSession

    staging = task.output / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        shutil.copytree(model, staging / _MODEL)
        # Its workers are processes of this Python.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        with _in_our_words():
            session = (
                SparkSession.builder.appName(f"capstan {task.version}")
                .master(os.environ.get(MASTER, "local[*]"))
                .config("spark.ui.enabled", "false")
                .config("spark.ui.showConsoleProgress", "false")
                .config("spark.log.level", "ERROR")
                .getOrCreate()
            )
            try:
                return _Jobs(task, session, keep).run(cases, missing, stop)
            finally:
                session.stop()
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _Jobs:
    """Jobs of so many tasks each, one task for a partition. No more is staged than the jobs at work need."""

    def __init__(self, task: SparkTask, session: Any, keep: Callable[[str, Finished], None]) -> None:
        self._task, self._session, self._keep = task, session, keep
        self._left: dict[Future[list[Any]], list[str]] = {}

    def run(self, cases: PartitionedCases, missing: Sequence[Partition], stop: Callable[[], bool]) -> bool:
        """Whether nothing stopped it."""
        context, staging = self._session.sparkContext, self._task.output / STAGING
        size = _TASKS_PER_CORE * max(1, context.defaultParallelism)
        with ThreadPoolExecutor(_JOBS) as pool:
            try:
                for begin in range(0, len(missing), size):
                    names = []
                    for partition in missing[begin : begin + size]:
                        if stop():
                            return self._stopped()
                        _stage(cases, partition, staging)
                        names.append(partition.name)
                    self._left[pool.submit(self._job, names)] = names
                    if not self._wait(stop, at_most=_JOBS):
                        return self._stopped()
                return self._wait(stop, at_most=0) or self._stopped()
            except duckdb.InterruptException:
                return self._stopped()
            except BaseException:
                self._cancel()
                raise

    def _job(self, names: Sequence[str]) -> list[Any]:
        inputs = {name: self._task.inputs[name] for name in names}
        work = functools.partial(predict, replace(self._task, inputs=inputs), names)
        # A range has one number in each task, where rows that are spread anew may be two in one and none in another.
        numbers = self._session.range(0, len(names), 1, len(names))
        told: list[Any] = numbers.mapInArrow(work, _SAYS).collect()
        return told

    def _wait(self, stop: Callable[[], bool], *, at_most: int) -> bool:
        """Until so many jobs are left; whether nothing stopped it."""
        while len(self._left) > at_most:
            done, _ = wait(self._left, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for job in done:
                del self._left[job]
                for row in job.result():
                    self._keep(row["name"], _finished(row["told"], self._task.watched))
            if stop():
                return False
        return True

    def _stopped(self) -> bool:
        """What is finished all the same is kept."""
        self._cancel()
        folder = BatchFolder(self._task.output)
        for name in [name for names in self._left.values() for name in names]:
            found = folder.finished(name)
            if found is not None and found.inputs == self._task.inputs[name]:
                self._keep(name, found)
        return False

    def _cancel(self) -> None:
        for job in self._left:
            job.cancel()
        # A job that was just being made is not cancelled at once.
        while wait(self._left, timeout=_LOOK_SECONDS).not_done:
            self._session.sparkContext.cancelAllJobs()


def predict(
    task: SparkTask, names: Sequence[str], numbers: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """What a task of Spark does: predict the partitions of these numbers, and say of each what it has in its footer."""
    for batch in numbers:
        for number in batch.column("id").to_pylist():
            name = names[number]
            try:
                told = _made(task, name)
            except CapstanError as error:
                # An error of the model is no fault of Spark's, which would try it four times.
                told = {"error": str(error)}
            text = orjson.dumps(told).decode()
            yield pa.RecordBatch.from_pydict({"name": [name], "told": [text]})


def _made(task: SparkTask, name: str) -> dict[str, Any]:
    staging, folder = task.output / STAGING, BatchFolder(task.output)
    answers = _answers(staging / _MODEL, task.version, task.keys)
    made, watched = Finished(task.inputs[name], Reconciled()), task.watched
    # What earlier jobs have lost travels with the task.
    lost_before = watched.lost if watched is not None else 0
    if watched is not None:
        watched.begin(name, made.inputs, task.rows)
    file = staging / f"{name}.parquet"
    if not file.exists() and (found := folder.finished(name)) is not None and found.inputs == made.inputs:
        # Spark tries a task again whose end it has not heard of.
        return {**told_of(found), "lost": 0, "why": ""}
    with pq.ParquetFile(file) as staged:
        rows = staged.iter_batches(READ_ROWS, use_threads=False)
        folder.write(
            name,
            answers.schema,
            lambda aside: answers.answered(rows, made.rows, aside, written=task.written, watch=watched),
            made,
        )
    file.unlink()
    unseen = {"lost": watched.lost - lost_before, "why": watched.why_lost} if watched is not None else {}
    return {**told_of(made), **unseen}


@functools.lru_cache(maxsize=1)
def _answers(model: Path, version: str, keys: Keys) -> BatchAnswers:
    """Loaded once by each process of Spark."""
    return BatchAnswers(model, version, keys)


def _stage(cases: PartitionedCases, partition: Partition, staging: Path) -> None:
    writer: pq.ParquetWriter | None = None
    for batch in cases.batches(partition):
        if writer is None:
            writer = pq.ParquetWriter(staging / f"{partition.name}.parquet", batch.schema, compression="lz4")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()


def _finished(text: str, watched: WatchedRows | None) -> Finished:
    told = orjson.loads(text)
    if "error" in told:
        raise InvalidDataError(told["error"])
    if watched is not None:
        watched.lost += told["lost"]
        watched.why_lost = watched.why_lost or told["why"]
    return finished_of(told)


@contextmanager
def _in_our_words() -> Iterator[None]:
    """What Spark says may be pages of Java: its first line is told."""
    try:
        yield
    except CapstanError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {lines[0] if lines else 'it says nothing more'}"
        raise CapstanError(
            f"batch.engine: Spark: {reason}; {MASTER} is its address, and without it this machine is one, by Java 17"
        ) from error
