"""Every kind of source keeps its suite, and the suite notices readers that do not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from capstan.data.sources import SOURCES
from capstan.data.sources.csv import CsvReader
from capstan.data.sources.parquet import ParquetReader
from capstan.data.text_types import FoundType
from capstan.spec.data import Source
from capstan.testing import NotConformingError, check_source

NAMED = {"timeColumn": "at"}


def as_csv(folder: Path, table: pa.Table) -> Mapping[str, Any]:
    pa.csv.write_csv(table, folder / "rows.csv")
    return {"name": "rows", "csv": {"path": "rows.csv", **NAMED}}


def as_parquet(folder: Path, table: pa.Table) -> Mapping[str, Any]:
    pa.parquet.write_table(table, folder / "rows.parquet")
    return {"name": "rows", "parquet": {"path": "rows.parquet", **NAMED}}


def as_json_lines(folder: Path, table: pa.Table) -> Mapping[str, Any]:
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))
    return {"name": "rows", "jsonLines": {"path": "rows.jsonl", **NAMED}}


def as_database(folder: Path, table: pa.Table) -> Mapping[str, Any]:
    with closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        connection.execute("create table rows (id text, at text, amount real, paid boolean, note text)")
        rows = [tuple(row.values()) for row in table.to_pylist()]
        connection.executemany("insert into rows values (?, ?, ?, ?, ?)", rows)
    (folder / "secrets" / "shop").mkdir(parents=True)
    (folder / "secrets" / "shop" / "url").write_text("sqlite:///shop.db\n")
    secret = {"secretKeyRef": {"name": "shop", "key": "url"}}
    return {"name": "rows", "database": {"table": "rows", "urlFrom": secret, **NAMED}}


def as_delta(folder: Path, table: pa.Table) -> Mapping[str, Any]:
    deltalake.write_deltalake(folder / "rows", table)
    return {"name": "rows", "delta": {"path": "rows", **NAMED}}


def as_iceberg(folder: Path, table: pa.Table) -> Mapping[str, Any]:
    catalog = SqlCatalog("own", uri="sqlite://", warehouse=folder.as_uri())
    catalog.create_namespace("shop")
    catalog.create_table("shop.rows", schema=table.schema).append(table)
    return {"name": "rows", "iceberg": {"path": "shop/rows", **NAMED}}


WRITERS = {
    "csv": as_csv,
    "parquet": as_parquet,
    "jsonLines": as_json_lines,
    "delta": as_delta,
    "iceberg": as_iceberg,
    "database": as_database,
}


def test_every_alternative_of_a_source_is_a_kind_with_a_writer() -> None:
    assert list(Source.alternatives().values()) == list(SOURCES)
    assert list(Source.alternatives()) == list(WRITERS)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_source_keeps_its_suite(kind: str) -> None:
    check_source(WRITERS[kind])


class AllColumns(CsvReader):
    def read(self, columns: Sequence[str]) -> list[FoundType]:
        return super().read(list(self.columns))


class Future(ParquetReader):
    """Reads rows from after the moment."""

    def __init__(self, reading: Any, settings: Any) -> None:
        from dataclasses import replace

        super().__init__(replace(reading, as_of=None), settings)


class Shuffled(ParquetReader):
    def read(self, columns: Sequence[str]) -> list[FoundType]:
        found = super().read(columns)
        rows = self._reading.rows
        self._reading.connection.execute(
            f"create or replace temp table {rows} as select * from {rows} order by random()"
        )
        return found


class Halved(ParquetReader):
    def read(self, columns: Sequence[str]) -> list[FoundType]:
        found = super().read(columns)
        self._reading.connection.execute(f"delete from {self._reading.rows} where amount > 3")
        return found


class Countless(ParquetReader):
    def numbered(self, column: str, *, undated: bool = False) -> str | None:
        return f"select in_file, row_number - 1 as row_number, value from ({super().numbered(column)})"


class Careless(ParquetReader):
    """Guesses a file where there is none."""

    def __init__(self, reading: Any, settings: Any) -> None:
        if not (reading.base_dir / settings.path).exists():
            raise FileNotFoundError(settings.path)
        super().__init__(reading, settings)


class Nameless(ParquetReader):
    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        return self.columns


@pytest.mark.parametrize(
    ("write", "reader", "rule"),
    [
        (as_csv, AllColumns, "no column that was not asked for"),
        (as_parquet, Future, "40 rows, not the 25 from before that moment"),
        (as_parquet, Shuffled, "the same rows in the same order"),
        (as_parquet, Halved, "read brings every row with its values"),
        (as_parquet, Countless, "numbered says where each value stands"),
        (as_parquet, Careless, "data that is not there is refused by the source's name: FileNotFoundError"),
        (as_parquet, Nameless, "first_types tells of the columns that were asked for"),
    ],
    ids=["columns", "future", "order", "rows", "numbers", "missing", "types"],
)
def test_the_suite_notices_a_broken_source(write: Any, reader: Any, rule: str) -> None:
    with pytest.raises(NotConformingError, match=rule):
        check_source(write, reader)
