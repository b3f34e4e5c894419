"""Tables of Delta Lake and Iceberg: the rows of a table, its versions, only what is needed, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from capstan.data.sources import Reading, delta, iceberg, lake_tables, open_source
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError, MissingExtraError
from capstan.spec.data import Source

START = datetime(2024, 3, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=4, hours=2)


def table_of(days: int = 10) -> pa.Table:
    at = [START + timedelta(days=day) for day in range(days)]
    return pa.table(
        {
            "id": [f"r{day}" for day in range(days)],
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "here": pa.array([moment.replace(tzinfo=None) for moment in at], pa.timestamp("us")),
            "day": pa.array([moment.date() for moment in at], pa.date32()),
            "amount": pa.array(range(days), pa.int32()),
            "price": pa.array([day / 4 for day in range(days)], pa.float64()),
            "paid": pa.array([day % 2 == 0 if day % 3 else None for day in range(days)]),
        }
    )


def as_delta(folder: Path, *tables: pa.Table) -> Mapping[str, Any]:
    for table in tables:
        deltalake.write_deltalake(folder / "rows", table, mode="append")
    return {"delta": {"path": "rows"}}


def as_iceberg(folder: Path, *tables: pa.Table) -> Mapping[str, Any]:
    catalog = SqlCatalog("own", uri=f"sqlite:///{folder}/catalog.db", warehouse=folder.as_uri())
    catalog.create_namespace("shop")
    written = catalog.create_table("shop.rows", schema=tables[0].schema)
    for table in tables:
        written.append(table)
    return {"iceberg": {"path": "shop/rows"}}


FORMATS: dict[str, Callable[..., Mapping[str, Any]]] = {"delta": as_delta, "iceberg": as_iceberg}


def rows_of(
    folder: Path, settings: Mapping[str, Any], columns: tuple[str, ...] = (), as_of: datetime | None = None
) -> list[tuple[Any, ...]]:
    with workspace(threads=1, memory=2**28, zone="UTC") as connection:
        source = Source.model_validate({"name": "rows", **settings})
        reader = open_source(Reading(connection, source, as_of, folder, folder / "secrets", "UTC"))
        names = columns or tuple(reader.columns)
        reader.read(names)
        chosen = ", ".join(map(quote, names))
        found: list[tuple[Any, ...]] = connection.sql(f'select {chosen} from "rows of rows"').fetchall()
        return found


@pytest.mark.parametrize("format", FORMATS)
def test_rows_are_those_that_were_written_with_their_types(format: str, tmp_path: Path) -> None:
    table = table_of()
    settings = FORMATS[format](tmp_path, table.slice(0, 6), table.slice(6))
    assert sorted(rows_of(tmp_path, settings)) == sorted(tuple(row.values()) for row in table.to_pylist())


@pytest.mark.parametrize("time_column", ["at", "here", "day"])
@pytest.mark.parametrize("format", FORMATS)
def test_only_the_columns_and_days_that_are_needed_leave_the_table(
    format: str, time_column: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FORMATS[format](tmp_path, table_of())
    settings[format]["timeColumn"] = time_column
    left: list[pa.RecordBatch] = []
    streamed = lake_tables.BatchedRows._told

    def watched(self: Any, batches: Any) -> Any:
        for batch in streamed(self, batches):
            left.append(batch)
            yield batch

    monkeypatch.setattr(lake_tables.BatchedRows, "_told", watched)
    found = rows_of(tmp_path, settings, ("amount",), AS_OF)
    assert sorted(found) == [(day,) for day in range(5)]
    assert {name for batch in left for name in batch.schema.names} == {"amount", time_column}
    # A day more than was asked for, as a time without an offset may be of any zone.
    assert sum(batch.num_rows for batch in left) == 6


@pytest.mark.parametrize("format", FORMATS)
def test_rows_without_a_moment_are_told(
    format: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = table_of()
    at = pa.array([None, *table["at"].to_pylist()[1:]], pa.timestamp("us", "UTC"))
    settings = FORMATS[format](tmp_path, table.set_column(1, "at", at))
    settings[format]["timeColumn"] = "at"
    assert len(rows_of(tmp_path, settings, ("amount",), AS_OF)) == 4
    assert "data.sources.rows: 1 rows without a readable at are not read" in caplog.text


def test_a_version_of_delta_is_the_table_as_it_was(tmp_path: Path) -> None:
    table = table_of()
    settings = as_delta(tmp_path, table.slice(0, 6), table.slice(6))
    assert len(rows_of(tmp_path, settings)) == 10
    settings["delta"]["version"] = 0
    assert len(rows_of(tmp_path, settings)) == 6
    settings["delta"]["version"] = 7
    with pytest.raises(
        InvalidDataError, match=r"rows has no version 7; correct or drop data.sources.rows.version"
    ):
        rows_of(tmp_path, settings)


def test_rows_that_were_deleted_are_not_read(tmp_path: Path) -> None:
    settings = as_delta(tmp_path, table_of())
    deltalake.DeltaTable(tmp_path / "rows").delete("amount >= 7")
    assert len(rows_of(tmp_path, settings)) == 7
    settings = as_iceberg(tmp_path, table_of())
    catalog = SqlCatalog("own", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=tmp_path.as_uri())
    catalog.load_table("shop.rows").delete("amount >= 7")
    assert len(rows_of(tmp_path, settings)) == 7


def keep_secret(folder: Path, text: str) -> dict[str, Any]:
    (folder / "secrets" / "lake").mkdir(parents=True, exist_ok=True)
    (folder / "secrets" / "lake" / "catalog").write_text(text)
    return {"secretKeyRef": {"name": "lake", "key": "catalog"}}


def test_a_table_of_iceberg_is_found_by_its_catalog(tmp_path: Path) -> None:
    as_iceberg(tmp_path, table_of())
    secret = keep_secret(tmp_path, f"type = sql\nname = own\nuri = sqlite:///{tmp_path}/catalog.db\n")
    settings = {"iceberg": {"table": "shop.rows", "catalogFrom": secret}}
    assert len(rows_of(tmp_path, settings)) == 10
    settings["iceberg"]["table"] = "shop.other"
    with pytest.raises(
        InvalidDataError, match=r"has no table 'shop.other'; correct data.sources.rows.iceberg.table"
    ):
        rows_of(tmp_path, settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "hunter2",
            "the secret lake/catalog is no list of settings with a uri; write the settings of the catalog",
        ),
        ("token = hunter2", "is no list of settings with a uri"),
        (
            "uri = http://127.0.0.1:1\ntoken = hunter2",
            "the catalog does not answer; check that it runs, and uri",
        ),
    ],
    ids=["no settings", "no uri", "nobody there"],
)
def test_a_catalog_that_cannot_be_asked_is_told_without_its_secret(
    text: str, words: str, tmp_path: Path
) -> None:
    settings = {"iceberg": {"table": "shop.rows", "catalogFrom": keep_secret(tmp_path, text)}}
    with pytest.raises(InvalidDataError, match=words) as raised:
        rows_of(tmp_path, settings)
    assert "hunter2" not in str(raised.value)


def test_of_a_folder_of_iceberg_the_newest_metadata_is_read(tmp_path: Path) -> None:
    table = table_of()
    settings = as_iceberg(tmp_path, table.slice(0, 6), table.slice(6))
    files = sorted((tmp_path / "shop" / "rows" / "metadata").glob("*.metadata.json"))
    assert len(rows_of(tmp_path, settings)) == 10
    older = {"iceberg": {"path": str(files[1].relative_to(tmp_path))}}
    assert len(rows_of(tmp_path, older)) == 6
    (files[2].parent / "version-hint.text").write_text(files[1].name)
    assert len(rows_of(tmp_path, settings)) == 6
    (files[2].parent / "version-hint.text").unlink()
    (files[2].parent / f"{files[2].name[:5]}-another.metadata.json").write_bytes(files[2].read_bytes())
    with pytest.raises(InvalidDataError, match="holds 2 newest files of metadata"):
        rows_of(tmp_path, settings)


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_without_a_table_is_refused(format: str, tmp_path: Path) -> None:
    (tmp_path / "rows" / "metadata").mkdir(parents=True)
    with pytest.raises(
        InvalidDataError, match=r"data.sources.rows: .*rows holds no table of .*; correct the path"
    ):
        rows_of(tmp_path, {format: {"path": "rows"}})


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_is_gone_is_told(format: str, tmp_path: Path) -> None:
    settings = FORMATS[format](tmp_path, table_of())
    for file in tmp_path.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(InvalidDataError, match=r"data.sources.rows: .*rows"):
        rows_of(tmp_path, settings)


def test_a_table_with_deletion_vectors_is_refused_with_the_way_out(tmp_path: Path) -> None:
    settings = as_delta(tmp_path, table_of().select(["id", "amount"]))
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"],
    }
    log = tmp_path / "rows" / "_delta_log" / f"{1:020}.json"
    log.write_text(json.dumps({"protocol": protocol}) + "\n")
    with pytest.raises(InvalidDataError, match=r"a way that is not read.*export it to Parquet"):
        rows_of(tmp_path, settings)


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_library_is_told_by_its_extra(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr({"delta": delta, "iceberg": iceberg}[format], "find_spec", lambda _: None)
    with pytest.raises(
        MissingExtraError, match=rf"needs the extra '{format}': pip install 'capstan-mlops\[{format}\]'"
    ):
        rows_of(tmp_path, {format: {"path": "rows"}})
