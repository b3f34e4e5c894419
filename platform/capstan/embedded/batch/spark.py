"""A batch on Spark: the rows are read and parted here, and each partition is predicted by a task of Spark.

A task writes the same file as one process does: whole or not at all, with the same footer. So what was stopped on one
of both goes on with the other. Folder and staged rows are reached by all tasks, as on a disk that is shared.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from capstan.data.partitions import Partition, PartitionedCases
from capstan.domain.batches import PartitionInputs, Reconciled
from capstan.embedded.batch.answering import BatchAnswers, Keys
from capstan.embedded.batch.folder import BatchFolder, Finished, finished_of, told_of
from capstan.embedded.batch.watching import WatchedRows
from capstan.errors import CapstanError, InvalidDataError, MissingExtraError

MASTER = "SPARK_MASTER"
"""Environment variable with the address of a Spark; without it this machine's cores are one."""
STAGING = ".staging"
_MODEL = "model"
_READ_ROWS = 4096
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
        for partition in missing:
            if stop():
                return False
            _stage(cases, partition, staging)
        # Its workers are processes of this Python.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        with _in_our_words():
            session = (
                SparkSession.builder.appName(f"capstan {task.version}")
                .master(os.environ.get(MASTER, "local[*]"))
                .config("spark.ui.enabled", "false")
                .config("spark.log.level", "ERROR")
                # A task has one partition, and its next name is not read before that is made.
                .config("spark.sql.execution.arrow.maxRecordsPerBatch", "1")
                .getOrCreate()
            )
            try:
                names = session.createDataFrame([(one.name,) for one in missing], "name string")
                told = names.repartition(len(missing)).mapInArrow(functools.partial(predict, task), _SAYS)
                for row in told.toLocalIterator():
                    keep(row["name"], _finished(row["told"], task.watched))
                    if stop():
                        session.sparkContext.cancelAllJobs()
                        return False
            finally:
                session.stop()
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return True


def predict(task: SparkTask, names: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What a task of Spark does: predict the partitions of these names, and say of each what it has in its footer."""
    for batch in names:
        for name in batch.column("name").to_pylist():
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
    # A task may have several partitions, and what each has lost is added up.
    lost_before = watched.lost if watched is not None else 0
    more: dict[str, Any] = {"written": task.written}
    if watched is not None:
        watched.begin(name, made.inputs, task.rows)
        more["watch"] = watched.take
    with pq.ParquetFile(staging / f"{name}.parquet") as staged:
        rows = staged.iter_batches(_READ_ROWS, use_threads=False)
        folder.write(
            name, answers.schema, lambda aside: answers.answered(rows, made.rows, aside, **more), made
        )
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
