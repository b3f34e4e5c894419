"""The cases of a stretch of time in partitions: of a day each, or of so many rows where rows have no time.

DuckDB holds the cases and spills to disk, and rows are given out in parts, so that memory does not grow with their
number. A digest of each partition's rows says whether it is the one that was read before.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import duckdb
import pyarrow as pa

from capstan.data.extraction import SelectedCases, needed_columns, selected_cases
from capstan.data.images import ImageFiles
from capstan.data.memory import table_memory
from capstan.data.text_types import literal, quote
from capstan.spec.system import MLSystem

MEMORY_BYTES = 2**29
"""Most that DuckDB takes before it spills."""
PARTITION_ROWS = 500_000
"""Most rows of a partition: what a kill loses at most."""
READ_ROWS = 32_768
"""Rows that are given out together."""
IMAGE_ROWS = 128
"""The same of rows with the content of image files."""


@dataclass(frozen=True)
class Partition:
    """Rows that are predicted and written together."""

    name: str
    """`2013-02-01-0000`: the day, in the file's zone, and the number of the partition in it; without a day `0000`."""
    rows: int
    digest: str
    """Of its rows, in the types and columns that were read; the order of rows is that of their keys."""
    first: int
    """Place of its first row among all rows in order, from 1; the others follow it."""


class PartitionedCases:
    """The partitions, by day, and their rows by time, group and id."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        partitions: Iterable[Partition],
        read: Sequence[str],
        written: Mapping[str, str],
        untimed: int,
        images: ImageFiles,
    ) -> None:
        """`read`: the columns that are given out, each once."""
        self._connection = connection
        self.partitions = tuple(partitions)
        self._read = read
        self.written = written
        """Columns of numbers in which something else stands, and the column that holds what was written there."""
        self.untimed = untimed
        """Rows that have no time, and are in no partition."""
        self._images = images

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.partitions)

    def batches(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        """Its rows in order, so many at once; raises InvalidDataError."""
        columns = ", ".join(map(quote, self._read))
        last = partition.first + partition.rows - 1
        found = self._connection.sql(
            f"select {columns} from placed where {_PLACE} between {partition.first} and {last} order by {_PLACE}"
        )
        for batch in found.to_arrow_reader(READ_ROWS):
            if not self._images.folders:
                yield batch
                continue
            table = pa.Table.from_batches([batch])
            for at in range(0, table.num_rows, IMAGE_ROWS):
                yield from self._images.in_table(table.slice(at, IMAGE_ROWS), MEMORY_BYTES).to_batches()


_DAY, _PLACE, _FIRST, _PART = (quote(f"\x1f{name}") for name in ("day", "place", "first", "part"))
"""No query gives columns of these names."""


@contextmanager
def partitioned_cases(
    system: MLSystem,
    *,
    columns: Sequence[str],
    start: datetime | None,
    end: datetime | None,
    rows: int = PARTITION_ROWS,
    threads: int = 1,
    secrets: Path | None = None,
    keeps_odd: bool = False,
    on_connect: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None,
    key_numbers: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[PartitionedCases]:
    """The cases with `start <= time < end` as they were known at `end`; None: from the first on, or all that is there.

    Keys and `columns` are read, and no label. Rows of a group are never parted. `keeps_odd`,
    `on_connect` and `key_numbers` are as in `selected_cases`. Raises InvalidDataError.
    """
    keys = system.spec.data.keys
    # An id that is made from a row is made from all that it holds.
    content = needed_columns(system) if keys.id is None else ()
    named = [name for name in (keys.id, keys.time, keys.group) if name is not None]
    with selected_cases(
        system,
        as_of=end,
        labels_as_of=None,
        start=start,
        end=end,
        threads=threads,
        memory=min(MEMORY_BYTES, table_memory(system.spec.training.resources)),
        secrets=secrets,
        columns=tuple(dict.fromkeys([*named, *content, *columns])),
        targets=(),
        keeps_odd=keeps_odd,
        on_connect=on_connect,
        key_numbers=key_numbers,
    ) as selected:
        read = list(dict.fromkeys([keys.id_column, *named, *columns, *selected.written.values()]))
        untimed = _untimed(selected, keys.time)
        _place(selected, system, read)
        parts = _partitions(selected.connection, system, read, rows)
        yield PartitionedCases(
            selected.connection, parts, read, selected.written, untimed, ImageFiles.of(system)
        )


def _untimed(selected: SelectedCases, time: str | None) -> int:
    """Rows without a time; where no bound of time is asked for they are an error already."""
    if time is None:
        return 0
    (count,) = selected.connection.execute(
        f"select count(*) from _joined where nullif(cast({quote(time)} as varchar), '') is null"
    ).fetchone() or (0,)
    return int(count)


def _place(selected: SelectedCases, system: MLSystem, read: Sequence[str]) -> None:
    """Make the table `placed`, which has all rows in order with their place and day."""
    keys, connection = system.spec.data.keys, selected.connection
    zone = literal(system.spec.data.time_zone)
    time = quote(keys.time_column)
    day = f"cast(cast(timezone({zone}, {time}) as date) as varchar)" if keys.time is not None else "''"
    named = dict.fromkeys([keys.time_column, keys.group or keys.id_column, keys.id_column])
    # Some clocks went back over midnight: in order of time alone such a day would be no stretch of places.
    order = ", ".join([*([day] if keys.time is not None else []), *map(quote, named)])
    # What is read from here on is in the new table, and twice as much would have to spill.
    connection.execute("drop table _joined")
    # Sorted rows are numbered as they come; a window over the order would hold all of them once more.
    connection.execute(
        f"create temp table placed as select *, row_number() over () as {_PLACE} from "
        f"(select {', '.join(map(quote, read))}, {day} as {_DAY} from {selected.table} order by {order})"
    )
    connection.execute(f"drop table {selected.table}")


def _partitions(
    connection: duckdb.DuckDBPyConnection, system: MLSystem, read: Sequence[str], rows: int
) -> Iterator[Partition]:
    found = connection.sql("from placed")
    kinds = dict(zip(found.columns, map(str, found.types), strict=True))
    layout = repr([(name, kinds[name]) for name in read])
    first = f"select {_DAY}, min({_PLACE}) as {_FIRST} from placed group by all"
    part = f"({_PLACE} - {_FIRST}) // {rows}"
    table = "placed"
    if (group := system.spec.data.keys.group) is not None:
        # All rows of a group are where its first one is.
        start, name = quote("\x1fgroup's first"), quote(group)
        firsts = f"select {name}, min({_PLACE}) as {start} from placed group by all"
        table = f"placed join ({firsts}) using ({name})"
        part = f"({start} - {_FIRST}) // {rows}"
    # Ids differ, so no two rows are alike, and exclusive or loses none of them. A hash of several values ends in
    # exclusive or itself, so that without a second one two rows could change their last values unseen.
    content = f"bit_xor(hash(hash({', '.join(map(quote, read))})))"
    parts = connection.execute(
        f"select {_DAY}, {part} as {_PART}, count(*), min({_PLACE}) as {_PLACE}, {content} "
        f"from {table} join ({first}) using ({_DAY}) group by {_DAY}, {_PART} order by 4"
    ).fetchall()
    for day, number, count, place, content in parts:
        digest = hashlib.sha256(f"{layout}\n{count}\n{content}".encode()).hexdigest()[:32]
        yield Partition(f"{day}-{number:04d}" if day else f"{number:04d}", count, digest, place)
