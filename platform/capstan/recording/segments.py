"""Parquet files that payloads and labels end in, named so that writing them twice is writing them once.

A segment carries the number of the write-ahead file it was made from: a crash between its rename and the removal of
that file makes the same names with the same content again. Small segments of a day are merged now and then, in tiers;
while both the parts and their merger are there, readers see rows twice and count them once, by key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from capstan.files import write_error
from capstan.recording.outputs import spelled

MERGE_AT = 24
"""Segments of one tier that are merged into one of the next."""
LARGEST_MERGE = 64 * 2**20
"""Bytes on disk above which segments are left as they are, so that a merger never needs much memory."""
_NAME = re.compile(r"t(\d)-(\d{8})(?:-(-?\d+)-(-?\d+))?\.parquet")


def write_segment(path: Path, table: pa.Table) -> None:
    """Write the table whole or not at all; raises DiskFullError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pq.write_table(
            table, temporary, compression="zstd", compression_level=1, use_dictionary=_repeated(table)
        )
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise write_error(path, error) from error


def _repeated(table: pa.Table) -> list[str]:
    """Text columns whose values repeat; a dictionary of ids that differ in every row only costs."""
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    return [name for name in texts if name not in ("request_id", "entity_id", "event_id", "unit")]


def payload_segment(directory: Path, day: date, number: int) -> Path:
    return directory / f"day={day.isoformat()}" / f"t0-{number:08d}.parquet"


def dated_segment(directory: Path, number: int, table: pa.Table) -> Path:
    """The name tells the first and last second of `available_at`, so that readers skip what they can't need."""
    return directory / f"t0-{number:08d}-{_range(table)}.parquet"


def _range(table: pa.Table) -> str:
    ends = pc.min_max(table["available_at"].cast(pa.int64())).as_py()
    return f"{ends['min'] // 1_000_000}-{ends['max'] // 1_000_000}"


def payload_files(directory: Path, start: datetime, end: datetime) -> list[str]:
    """Segments that can hold payloads with event time in [start, end)."""
    first, last = start.astimezone(UTC).date().isoformat(), end.astimezone(UTC).date().isoformat()
    files: list[str] = []
    for folder in _listed(directory):
        if folder.startswith("day=") and first <= folder[4:] <= last:
            files.extend(
                f"{directory}/{folder}/{name}"
                for name in _listed(directory / folder)
                if _NAME.fullmatch(name)
            )
    return files


def payload_days(directory: Path) -> list[str]:
    """Names of the folders of days, the newest first."""
    return [name for name in reversed(_listed(directory)) if name.startswith("day=")]


def segments_of_day(directory: Path, day: str) -> list[str]:
    """Names of the segments in the folder of a day, what came last first."""
    names = [name for name in _listed(directory / day) if _NAME.fullmatch(name)]
    return sorted(names, key=lambda name: name.split("-")[1], reverse=True)


def dated_files(directory: Path, after: datetime, until: datetime) -> list[str]:
    """Segments that can hold what became available in [after, until]."""
    first, last = after.timestamp(), until.timestamp()
    return [
        f"{directory}/{name}"
        for name in _listed(directory)
        if (parts := _NAME.fullmatch(name)) and int(parts[4]) + 1 >= first and int(parts[3]) <= last
    ]


def _listed(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def merge_small(directory: Path) -> None:
    """Merge the segments of one folder wherever a tier is full; raises DiskFullError, leaving all as it was."""
    tier = 0
    while tier < 9:
        full = [name for name in _listed(directory) if name.startswith(f"t{tier}-") and _NAME.fullmatch(name)]
        if len(full) < MERGE_AT or sum((directory / name).stat().st_size for name in full) > LARGEST_MERGE:
            return
        try:
            _merge(directory, full, tier + 1)
        except pa.ArrowException:
            # An undeclared column changed from numbers to text: the parts stay, readers cast.
            return
        tier += 1


def _merge(directory: Path, names: Sequence[str], tier: int) -> None:
    tables = [pq.read_table(directory / name, partitioning=None) for name in names]
    table = pa.concat_tables(_spelt_alike(tables), promote_options="permissive")
    stem = f"t{tier}-{names[-1].split('-')[1].removesuffix('.parquet')}"
    if "available_at" in table.column_names:
        stem = f"{stem}-{_range(table)}"
    write_segment(directory / f"{stem}.parquet", table)
    for name in names:
        (directory / name).unlink()


def _spelt_alike(tables: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """With one spelling of each column: readers would lose the second."""
    every = {name for table in tables for name in table.column_names}
    spelling = {name: column for column, names in spelled(every).items() for name in names}
    for table in tables:
        yield table.rename_columns([spelling[name] for name in table.column_names])


def clear_unfinished(directories: Iterable[Path]) -> None:
    """Remove what a crash left half-written."""
    for directory in directories:
        for path in _unfinished(directory):
            path.unlink(missing_ok=True)


def _unfinished(directory: Path) -> Iterator[Path]:
    yield from directory.glob(".*.tmp")
    yield from directory.glob("day=*/.*.tmp")
