"""Erases what is stored of some people: their answers, the labels of these, and what they did afterwards.

It works on the files of one system while no collector writes them. A file is replaced whole or not at all. Answers are
erased last, since they tell which labels and events belong to them: after a kill the same call finds the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from capstan.errors import UnavailableError
from capstan.recording.outputs import INPUT_PREFIX
from capstan.recording.segments import write_segment

_BATCH_ROWS = 65_536
_SEGMENTS = "t*.parquet"


@dataclass(frozen=True)
class Asked:
    """Whose rows are meant: those where a column holds one of some values."""

    values: frozenset[str]
    """As text, and all pseudonyms that stand for them."""
    is_id: bool
    """Whether the column is `keys.id` of the file."""
    is_unit: bool
    """Whether it is `keys.stickyBy`."""
    column: str

    @property
    def stored(self) -> tuple[str, ...]:
        """Columns of stored answers that may hold the values."""
        keys = [name for name, is_it in (("entity_id", self.is_id), ("unit", self.is_unit)) if is_it]
        return (*keys, INPUT_PREFIX + self.column)


@dataclass
class Cases:
    """What labels and events name that belongs to the erased answers alone."""

    ids: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)


class Erased(NamedTuple):
    """Rows that were erased, or would be."""

    answers: int
    labels: int
    events: int


def cases_of(folder: Path, asked: Asked) -> Cases:
    """What the matching answers were about; without what other answers are about too. Raises UnavailableError."""
    mine, others = Cases(), Cases()
    for table, matches in _read(folder, asked):
        found = table.filter(matches)
        mine.ids |= _texts(found["entity_id"])
        mine.requests |= _texts(found["request_id"])
    if mine.requests:
        for table, matches in _read(folder, asked):
            rest = table.filter(pc.invert(matches))
            others.ids |= _texts(rest["entity_id"]) & mine.ids
            others.requests |= _texts(rest["request_id"]) & mine.requests
    ids = mine.ids - others.ids
    return Cases(ids | asked.values if asked.is_id else ids, mine.requests - others.requests)


def erase(folder: Path, asked: Asked, cases: Cases, *, is_trial: bool = False) -> Erased:
    """Erase labels, events and answers from the folder of a system; raises UnavailableError, DiskFullError.

    `cases` are those of `cases_of`. A trial counts only.
    """
    units = asked.values if asked.is_unit else frozenset[str]()
    of_case = {"entity_id": cases.ids, "request_id": cases.requests}
    labels = _erase(sorted((folder / "labels").glob(_SEGMENTS)), of_case, is_trial=is_trial)
    events = _erase(
        sorted((folder / "events").glob(_SEGMENTS)), {**of_case, "unit": units}, is_trial=is_trial
    )
    # A list of both rankers is kept under its request, without the rows' columns.
    wanted = {**dict.fromkeys(asked.stored, asked.values), "request_id": cases.requests}
    answers = _erase(_payloads(folder), wanted, is_trial=is_trial)
    return Erased(answers, labels, events)


def _payloads(folder: Path) -> list[Path]:
    return sorted((folder / "payloads").glob(f"day=*/{_SEGMENTS}"))


def _read(folder: Path, asked: Asked) -> Iterator[tuple[pa.Table, pa.Array]]:
    """What is stored of answers, and which of its rows match."""
    for path in _payloads(folder):
        for batch in _batches(path, {"entity_id", "request_id", *asked.stored}):
            yield batch, _matches(batch, dict.fromkeys(asked.stored, asked.values))


def _erase(paths: Sequence[Path], wanted: Mapping[str, AbstractSet[str]], *, is_trial: bool) -> int:
    erased = 0
    for path in paths:
        found = sum(pc.sum(_matches(batch, wanted)).as_py() or 0 for batch in _batches(path, set(wanted)))
        erased += found
        if not found or is_trial:
            continue
        try:
            table = pq.read_table(path, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error
        kept = table.filter(pc.invert(_matches(table, wanted)))
        if kept.num_rows:
            write_segment(path, kept)
        else:
            path.unlink()
    return erased


def _matches(table: pa.Table, wanted: Mapping[str, AbstractSet[str]]) -> pa.Array:
    matches = pa.array([False] * table.num_rows)
    for name, values in wanted.items():
        if name in table.column_names and values:
            texts = table[name].cast(pa.string())
            found = pc.is_in(texts, value_set=pa.array(sorted(values), pa.string()))
            matches = pc.or_(matches, found)
    return matches


def _batches(path: Path, columns: set[str]) -> Iterator[pa.Table]:
    """Those of the columns that the file has, a part of its rows at a time; raises UnavailableError."""
    try:
        with pq.ParquetFile(path) as file:
            there = [name for name in file.schema_arrow.names if name in columns]
            for batch in file.iter_batches(_BATCH_ROWS, columns=there):
                yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _texts(column: pa.ChunkedArray) -> set[str]:
    return {text for text in pc.unique(column).to_pylist() if text is not None}


def _unreadable(path: Path, error: Exception) -> UnavailableError:
    why = getattr(error, "strerror", None) or type(error).__name__
    return UnavailableError(
        "stored rows",
        f"{path} cannot be read ({why}), so nobody knows whose rows it holds; restore it, or remove it",
    )
