"""Runs a job step by step; what is finished is kept, so that a run that was stopped goes on where it was."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from capstan.data.etl.engines import Engine, Function, duckdb_engine, told
from capstan.data.etl.polars_engine import polars_engine
from capstan.data.etl.report import Dropped, EtlReport, EtlStep
from capstan.data.etl.spark_engine import connected_engine, spark_engine
from capstan.data.etl.targets import write_database, write_parquet
from capstan.data.sources import Reading, open_source
from capstan.data.sources.files import sql_file
from capstan.data.sources.secret_text import secret_text
from capstan.data.text_types import FoundType, quote, value_as
from capstan.data.usage import plain_plans
from capstan.data.workspace import workspace
from capstan.errors import AlreadyRunningError, InvalidDataError
from capstan.spec.data import Source
from capstan.spec.etl import Etl, Load, Transform
from capstan.spec.own_code import OwnCode
from capstan.spec.secrets import ValueFrom

_LOG = logging.getLogger(__name__)


def run_etl(
    job: Etl,
    *,
    folder: Path,
    secrets: Path,
    function_of: Callable[[OwnCode], Function],
    memory: int,
    threads: int = 1,
    on_step: Callable[[EtlStep], None] = lambda _: None,
) -> EtlReport:
    """Move the rows; `folder` keeps the finished steps until the job is done, `on_step` is told each.

    Raises InvalidDataError that names the step, AlreadyRunningError where another process runs the job.
    """
    with _alone(folder, job):
        steps = list(_steps(job, folder, secrets, function_of, memory, threads, on_step))
        shutil.rmtree(folder / "steps", ignore_errors=True)
    return EtlReport(job.metadata.name, job.spec.engine, tuple(steps))


@contextmanager
def _alone(folder: Path, job: Etl) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunningError(
                f"{job.metadata.name}: another process runs this job; wait until it is done"
            ) from None
        yield


def _steps(
    job: Etl,
    folder: Path,
    secrets: Path,
    function_of: Callable[[OwnCode], Function],
    memory: int,
    threads: int,
    on_step: Callable[[EtlStep], None],
) -> Iterator[EtlStep]:
    kept = _Kept(folder / "steps", _digest(job))
    for source in job.spec.extract:

        def read(target: Path, source: Source = source) -> tuple[int, list[int]]:
            return _extract(job, source, secrets, target, memory), []

        step = kept.made("extract", source.name, read)
        on_step(step)
        yield step
    transforms = job.spec.transform
    if any(kept.step("transform", one.name, one) is None for one in transforms):
        with _engine(job, secrets, memory, threads) as running:
            yield from _transformed(transforms, kept, running, function_of, on_step)
    else:
        for one in transforms:
            step = kept.made("transform", one.name, None, one)
            on_step(step)
            yield step
    for load in job.spec.load:
        step = _loaded(job, load, kept, secrets, memory)
        on_step(step)
        yield step


def _engine(job: Etl, secrets: Path, memory: int, threads: int) -> AbstractContextManager[Engine]:
    zone, spark = job.spec.time_zone, job.spec.spark
    if spark is not None:
        address = spark.remote or _secret(f"spark.{spark.key}", spark.chosen, secrets, "its address")
        return connected_engine(zone, address, f"spark.{spark.key}")
    match job.spec.engine:
        case "DuckDB":
            return duckdb_engine(zone, memory, threads)
        case "Polars":
            return polars_engine(zone)
        case "Spark":
            return spark_engine(zone)


def _transformed(
    transforms: tuple[Transform, ...],
    kept: _Kept,
    engine: Engine,
    function_of: Callable[[OwnCode], Function],
    on_step: Callable[[EtlStep], None],
) -> Iterator[EtlStep]:
    for one in transforms:
        function = function_of(one.python) if one.python is not None else None

        def make(
            target: Path, one: Transform = one, function: Function | None = function
        ) -> tuple[int, list[int]]:
            return engine.transform(one, function, kept.tables, target)

        step = kept.made("transform", one.name, make, one)
        on_step(step)
        yield step


def _extract(job: Etl, source: Source, secrets: Path, target: Path, memory: int) -> int:
    with workspace(threads=1, memory=memory, zone=job.spec.time_zone) as connection:
        reading = Reading(connection, source, None, job.base_dir, secrets, job.spec.time_zone)
        try:
            with told(f"extract.{source.name}"):
                with plain_plans(connection):
                    reader = open_source(reading)
                    names = list(reader.columns)
                    reader.require_distinct(names)
                    unsettled = reader.read(names)
                _settle(reading, unsettled)
                chosen = ", ".join(map(quote, names)) or "*"
                connection.execute(
                    f"copy (select {chosen} from {reading.rows}) to {sql_file(str(target))} (format parquet)"
                )
                found = connection.execute(f"select count(*) from {reading.rows}").fetchone()
        except InvalidDataError as error:
            # The person wrote extract.
            raise InvalidDataError(str(error).replace("data.sources.", "extract.")) from error
    return int(found[0]) if found else 0


def _settle(reading: Reading, unsettled: Sequence[FoundType]) -> None:
    """Give columns of numbers their type; one whose texts would change, such as 1.10 or 007, stays text and is told."""
    for found in unsettled:
        if found.changes_as_category:
            _LOG.warning(
                "extract.%s: column %r stays text, as %r would change as a number; say what it is: "
                "types: [{column: %s, type: Number}], or Text",
                *(reading.source.name, found.column, found.changes, found.column),
            )
            continue
        reading.connection.execute(
            f"alter table {reading.rows} alter {quote(found.column)} type {found.kind} "
            f"using {value_as(found.column, found.kind, found.written)}"
        )


def _loaded(job: Etl, load: Load, kept: _Kept, secrets: Path, memory: int) -> EtlStep:
    table, field = kept.tables[load.name], f"load.{load.name}"
    expected = kept.rows(load.name)
    if load.parquet is not None:
        target = job.base_dir / load.parquet.path
        written = write_parquet(table, target, field, memory=memory, zone=job.spec.time_zone)
        into = load.parquet.path
    else:
        assert load.database is not None
        url = _target_url(load, secrets)
        written = write_database(table, load.database.table, url, job.base_dir, field)
        into = f"table {load.database.table}"
    if written != expected:
        raise InvalidDataError(
            f"{field}: {into} holds {written} rows, and {expected} were to be written; does somebody else write it?"
        )
    return EtlStep("load", load.name, written, into=into)


def _target_url(load: Load, secrets: Path) -> str:
    assert load.database is not None
    return _secret(f"load.{load.name}", load.database.url_from, secrets, "the database's URL")


def _secret(field: str, value: ValueFrom, secrets: Path, what: str) -> str:
    reading: Any = _Field(field, secrets)
    return secret_text(reading, value, what)


class _Field:
    """As much of a `Reading` as names a secret."""

    def __init__(self, field: str, secrets: Path) -> None:
        self.field, self.secrets = field, secrets


class _Kept:
    """Tables of the finished steps. What another form of the job has left is removed."""

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder
        self.tables: dict[str, Path] = {}
        self._rows: dict[str, int] = {}
        mark = folder / "job"
        if not mark.is_file() or mark.read_text() != digest:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            mark.write_text(digest)

    def rows(self, name: str) -> int:
        """Of a table that is finished."""
        return self._rows[name]

    def step(self, part: Any, name: str, transform: Transform | None = None) -> EtlStep | None:
        """What an earlier run has finished."""
        try:
            found: Mapping[str, Any] = json.loads((self._folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return _step(part, name, found["made"], found["dropped"], transform, resumed=True)

    def made(
        self,
        part: Any,
        name: str,
        make: Callable[[Path], tuple[int, list[int]]] | None,
        transform: Transform | None = None,
    ) -> EtlStep:
        """The step, which is made unless an earlier run has finished it."""
        target = self._folder / f"{name}.parquet"
        step = self.step(part, name, transform)
        if step is None:
            assert make is not None
            made, dropped = make(target)
            note = self._folder / f".{name}.json"
            note.write_text(json.dumps({"made": made, "dropped": dropped}))
            # Only what has a note is finished.
            os.replace(note, self._folder / f"{name}.json")
            step = _step(part, name, made, dropped, transform, resumed=False)
        self.tables[name] = target
        self._rows[name] = step.kept
        return step


def _step(
    part: Any, name: str, made: int, dropped: list[int], transform: Transform | None, *, resumed: bool
) -> EtlStep:
    reasons = transform.drop if transform is not None else ()
    told_drops = tuple(Dropped(one.because, rows) for one, rows in zip(reasons, dropped, strict=True))
    return EtlStep(part, name, made, told_drops, resumed=resumed)


def _digest(job: Etl) -> str:
    """Of the job and of the modules that it names."""
    digest = hashlib.sha256(job.model_dump_json().encode())
    for transform in job.spec.transform:
        if transform.python is not None:
            module = job.base_dir.joinpath(*transform.python.module.split(".")).with_suffix(".py")
            digest.update(module.read_bytes() if module.is_file() else b"")
    return digest.hexdigest()
