"""What a training would find in the data of a file today, all of it at once.

All rows are read, as in a training: a sample would miss the one cell in the last line that makes a column text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.anonymity import rows_alike
from capstan.data.checks import check_table
from capstan.data.extraction import agreements_told, extract, secrets_folder
from capstan.data.later_cases import early_labels, without_later_cases
from capstan.data.leakage import find_leaks
from capstan.data.memory import table_memory
from capstan.data.parts import Part, part_cases
from capstan.data.sources import Reading, open_source
from capstan.data.sql_errors import in_words
from capstan.data.usage import plain_plans
from capstan.data.workspace import workspace
from capstan.errors import CapstanError
from capstan.features.columns import type_of
from capstan.features.values import ColumnType
from capstan.spec.data import CONTENT_ID, READ_AT
from capstan.spec.system import MLSystem
from capstan.spec.units import format_duration

MOST_COLUMNS = 200
"""Columns of a source whose types are shown; a wide table has no end of them."""
_TEXTS = ("VARCHAR", "ENUM", "UUID", "TIME")
_NESTED = ("STRUCT", "MAP", "UNION", "BLOB", "BIT", "VARIANT", "GEOMETRY")
"""Beginnings of the names of DuckDB's types; of numbers there are a dozen more."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class SourceFound:
    """A source that could be opened."""

    name: str
    columns: int
    types: Mapping[str, str]
    """Column -> Text, Number, Boolean or Time, at most `MOST_COLUMNS`: of a column that is read as it will be used, of
    others as the first rows show it."""


@dataclass(frozen=True)
class Inspection:
    """What was found; nothing is wrong if there are no problems."""

    sources: tuple[SourceFound, ...]
    rows: int = 0
    """Cases that the query gives; 0 as well where it could not be run."""
    columns: Mapping[str, str] | None = None
    """Column of the cases -> Text, Number, Boolean or Time; None where the query could not be run."""
    newest: datetime | None = None
    age: timedelta | None = None
    """Of the newest case."""
    parts: tuple[Part, ...] = ()
    """Training, validation and test; empty where the cases could not be parted."""
    problems: tuple[str, ...] = ()
    """What a training would refuse; each names its field first."""
    warnings: tuple[str, ...] = ()
    agreements: tuple[str, ...] = ()
    """How far annotators agree, a sentence for each source of annotations."""


def inspect_data(system: MLSystem, *, now: datetime, secrets: Path | None = None) -> Inspection:
    """Open the sources, run the query, and ask checks, leak search and split what they say of it."""
    problems: list[str] = []
    with _collected_warnings() as warnings:
        sources = _sources(system, now, secrets or secrets_folder(), problems)
        if problems:
            return Inspection(sources, problems=tuple(problems), warnings=tuple(warnings))
        read: dict[str, Mapping[str, str]] = {}
        cases = _tried(
            lambda: extract(system, as_of=now, labels_as_of=now, secrets=secrets, on_read=read.update),
            problems,
        )
        sources = tuple(_as_read(source, read.get(source.name, {})) for source in sources)
        if cases is None:
            return Inspection(sources, problems=tuple(problems), warnings=tuple(warnings))
        warnings += what_is_lost(system)
        warnings += _left_out(system, now, secrets) if system.spec.data.keys.time is not None else []
        early = early_labels(cases, system)
        warnings += [early] if early is not None else []
        report = check_table(cases, system, as_of=now)
        problems += [f"data.checks: {one}" for one in report.violations if one.severity == "Stop"]
        warnings += report.told
        if report.dropped is not None:
            cases = cases.filter(pa.array(~report.dropped))
        asked = system.spec.data.privacy.anonymity
        if asked is not None:
            problems += [f"data.privacy.anonymity: {one}" for one in rows_alike(cases, asked).problems]
        leaks = _tried(lambda: find_leaks(cases, system, as_of=now), problems) or ()
        problems += [f"features: {leak}" for leak in leaks if leak.is_certain]
        warnings += [f"features: {leak}" for leak in leaks if not leak.is_certain]
        parted = _tried(lambda: part_cases(cases, system, as_of=now), problems)
        if parted is not None:
            warnings += parted.warnings
    return Inspection(
        sources,
        rows=cases.num_rows,
        columns={
            name: str(type_of(cases[name]))
            for name in cases.column_names
            if name not in (CONTENT_ID, READ_AT)
        },
        newest=report.newest,
        age=None if report.newest is None else now - report.newest,
        parts=() if parted is None else (parted.training, parted.validation, parted.test),
        problems=tuple(dict.fromkeys(problems)),
        warnings=tuple(dict.fromkeys([*warnings, *_empty_columns(cases, system)])),
        agreements=agreements_told(cases),
    )


def what_is_lost(system: MLSystem) -> tuple[str, ...]:
    """What is not known or not done because the file names no times, or no ids, a sentence each."""
    keys, label = system.spec.data.keys, system.spec.data.label
    lost = []
    if keys.time is None:
        lost.append(
            "data.keys.time: no column says when a row became known. So rows are divided at random "
            f"(data.split.{system.spec.drawn_split[0]}) and scores are those of rows that are like the known ones, not "
            "of days to come; nobody can tell whether a feature was written after the label; each training reads all "
            "rows as they are at its moment; nothing can be replayed. Name a column of times where there is one"
        )
    elif label.available_at is None:
        lost.append(
            "data.label.availableAt: no column says when a label became known. So a label counts as known once its row "
            f"is {format_duration(label.maximum_delay)} old (data.label.maximumDelay)"
        )
    if keys.id is None:
        lost.append(
            "data.keys.id: no column names a row. So ids are made from what rows hold, and labels come by the "
            "request_id of an answer"
        )
    return tuple(lost)


def _left_out(system: MLSystem, now: datetime, secrets: Path | None) -> list[str]:
    """What is said of cases that are there, but not as of `now`."""
    wrong: list[str] = []
    every = _tried(
        lambda: extract(system, as_of=None, labels_as_of=None, secrets=secrets, features=False), wrong
    )
    if every is None:
        return [f"of the rows of all times: {problem}" for problem in wrong]
    _, told = without_later_cases(every, system, now)
    return [] if told is None else [told]


def _empty_columns(cases: pa.Table, system: MLSystem) -> Iterator[str]:
    for feature in system.spec.features:
        values = cases[feature.column]
        if values.null_count == len(values):
            yield f"features: {feature.name!r}: no case has a value in column {feature.column!r}"
        elif (
            values.type == pa.string()
            and feature.reading == "categorical"
            and feature.settings.comes_back
            and pc.count_distinct(values).as_py() == len(values)
        ):
            yield f"features: {feature.name!r}: every case has another value in column {feature.column!r}, as an id has"


def _sources(system: MLSystem, now: datetime, secrets: Path, problems: list[str]) -> tuple[SourceFound, ...]:
    zone = system.spec.data.time_zone
    memory = table_memory(system.spec.training.resources)
    found = []
    with workspace(threads=1, memory=memory, zone=zone) as connection, plain_plans(connection):
        for source in system.spec.data.sources:
            reading = Reading(connection, source, now, system.base_dir, secrets, zone)
            opened = _tried(lambda reading=reading: _opened(reading), problems, reading.field)  # type: ignore[misc]
            found += [opened] if opened is not None else []
    return tuple(found)


def _opened(reading: Reading) -> SourceFound:
    reader = open_source(reading)
    names = list(reader.columns)
    types = {name: column_type(found) for name, found in reader.first_types(names[:MOST_COLUMNS]).items()}
    stated = {one.column: one.type for one in reading.source.types if one.column in types}
    return SourceFound(reading.source.name, len(names), types | stated)


def _as_read(source: SourceFound, types: Mapping[str, str]) -> SourceFound:
    return replace(
        source,
        types={
            name: column_type(types[name]) if name in types else kind for name, kind in source.types.items()
        },
    )


def column_type(found: str) -> str:
    """The file's word for DuckDB's type; a list or an object, which no column of the cases may be, keeps DuckDB's."""
    if found.endswith("]") or found.startswith(_NESTED):
        return found
    name = found.partition("(")[0]
    if name == "BOOLEAN":
        return ColumnType.BOOLEAN
    if name == "DATE" or name.startswith("TIMESTAMP"):
        return ColumnType.TIME
    return ColumnType.TEXT if name.startswith(_TEXTS) else ColumnType.NUMBER


def _tried(work: Callable[[], _Result], problems: list[str], field: str = "data") -> _Result | None:
    """The result, or None and one more problem."""
    try:
        return work()
    except CapstanError as error:
        problems.append(str(error))
    except duckdb.Error as error:
        problems.append(f"{field}: cannot be read: {in_words(error)}")
    except OSError as error:
        problems.append(f"{field}: cannot be read: {error}")
    return None


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """What the reading of data warns of, kept from the terminal."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("capstan.data")
    propagates = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
