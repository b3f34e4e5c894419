"""Extraction reads what was known at a moment, from any kind of source, and says what is wrong with the rest."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.data import extract, trainable
from capstan.errors import DiskFullError, InvalidDataError
from capstan.spec import MLSystem, parse

FIRST = datetime(2024, 3, 1, tzinfo=UTC)
NOON = FIRST + timedelta(hours=24)


def as_bytes(table: pa.Table) -> bytes:
    # Parquet has no bytes for missing values; in memory they are whatever was there before.
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_rows_come_by_time_and_id_with_typed_keys_and_label(orders: MLSystem) -> None:
    table = extract(orders, as_of=None, labels_as_of=None)
    assert table.column_names == ["id", "ordered", "shop", "price", "temp", "late", "label_available_at"]
    assert table["id"].to_pylist() == [f"o{index:03d}" for index in range(40)]
    assert table["ordered"].type == pa.timestamp("us", "UTC")
    assert table["price"].type == pa.int64()
    assert table["temp"].type == pa.float64()
    assert table["late"].to_pylist()[:4] == [True, False, False, True]
    assert table["late"][9].as_py() is None


def test_labels_that_came_later_are_not_seen(orders: MLSystem) -> None:
    table = extract(orders, as_of=None, labels_as_of=NOON)
    known = [value is not None for value in table["late"].to_pylist()]
    assert known == [index <= 12 and index % 10 != 9 for index in range(40)]
    assert [value is not None for value in table["label_available_at"].to_pylist()] == known


def test_the_newest_labelled_rows_are_not_trained_on_before_all_labels_are_in(orders: MLSystem) -> None:
    as_of = FIRST + timedelta(hours=30)
    table = extract(orders, as_of=as_of, labels_as_of=as_of)
    assert sum(value is not None for value in table["late"].to_pylist()) == 18
    assert trainable(table, as_of, orders)["id"].to_pylist() == [f"o{index:03d}" for index in range(7)]


def test_start_and_end_narrow_the_cases(orders: MLSystem) -> None:
    start, end = FIRST + timedelta(hours=5), FIRST + timedelta(hours=8)
    table = extract(orders, as_of=None, labels_as_of=None, start=start, end=end)
    assert table["id"].to_pylist() == ["o005", "o006", "o007"]


def corrupted(row: dict[str, object], moment: str) -> dict[str, object]:
    """The same key and time, all else nonsense of another type."""
    return {name: value if name in ("id", moment) else '"x;y"' for name, value in row.items()}


def test_corrupting_the_future_changes_no_byte(orders: MLSystem, shop: Any) -> None:
    before = as_bytes(extract(orders, as_of=NOON, labels_as_of=NOON))
    rows = []
    for index in range(40):
        row = shop.order(index)
        if index > 24:
            row = corrupted(row, "ordered")
        elif index > 12 and row["late"] is not None:
            row["late"] = "true" if row["late"] == "false" else "false"
            row["arrived"] = (FIRST + timedelta(days=300, hours=index)).isoformat()
        rows.append(row)
    shop.write("orders.csv", rows)
    shop.write(
        "weather.csv",
        [shop.weather(i) if i <= 24 else corrupted(shop.weather(i), "hour") for i in range(40)],
    )
    assert as_bytes(extract(orders, as_of=NOON, labels_as_of=NOON)) == before
    shop.write("orders.csv", [{**shop.order(0), "price": 11}, *rows[1:]])
    assert as_bytes(extract(orders, as_of=NOON, labels_as_of=NOON)) != before


def test_corrupting_the_future_of_real_flights_changes_no_byte(flights: MLSystem, tmp_path: Path) -> None:
    as_of = datetime(2013, 2, 1, 5, tzinfo=UTC)
    before = as_bytes(extract(flights, as_of=as_of, labels_as_of=as_of))
    data = tmp_path / "data"
    data.mkdir()
    (data / "planes.csv").write_bytes((flights.base_dir / "data" / "planes.csv").read_bytes())
    for name, moment in (("flights", "scheduled_departure"), ("weather", "time_hour")):
        table = pl.read_parquet(flights.base_dir / "data" / f"{name}.parquet")
        kept = ("flight_id", moment, "origin")
        columns = [
            pl.when(pl.col(moment) > as_of)
            .then(pl.col(column).reverse())
            .otherwise(pl.col(column))
            .alias(column)
            for column in table.columns
            if column not in kept
        ]
        table = table.with_columns(columns)
        if name == "flights":
            unknown = pl.col("actual_arrival") > as_of
            table = table.with_columns(
                pl.when(unknown).then(~pl.col("late")).otherwise(pl.col("late")).alias("late")
            )
        table.write_parquet(data / f"{name}.parquet")
    moved = parse(flights.model_dump(mode="json", by_alias=True, exclude_unset=True), base_dir=tmp_path)
    assert as_bytes(extract(moved, as_of=as_of, labels_as_of=as_of)) == before
    later = as_of + timedelta(days=1)
    assert as_bytes(extract(moved, as_of=later, labels_as_of=later)) != as_bytes(
        extract(flights, as_of=later, labels_as_of=later)
    )


def _as_parquet(shop: Any) -> dict[str, Any]:
    (shop.folder / "parts").mkdir()
    for part in (0, 1):
        rows = [shop.order(index) for index in range(40) if index % 2 == part]
        pq.write_table(pa.Table.from_pylist(rows), shop.folder / "parts" / f"{part}.parquet")
    return {"name": "orders", "parquet": {"path": "parts", "timeColumn": "ordered"}}


def _as_json(shop: Any) -> dict[str, Any]:
    (shop.folder / "orders.jsonl").write_text(
        "".join(json.dumps(shop.order(index)) + "\n" for index in range(40))
    )
    return {"name": "orders", "jsonLines": {"path": "orders.jsonl", "timeColumn": "ordered"}}


def _as_database(shop: Any) -> dict[str, Any]:
    connection = sqlite3.connect(shop.folder / "shop.db")
    connection.execute(
        "create table orders (id text, ordered text, shop text, price integer, late text, arrived text)"
    )
    rows = [tuple(shop.order(index).values()) for index in range(40)]
    connection.executemany("insert into orders values (?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    (shop.folder / "secrets" / "shop-db").mkdir(parents=True)
    (shop.folder / "secrets" / "shop-db" / "url").write_text("sqlite:///shop.db\n")
    reference = {"secretKeyRef": {"name": "shop-db", "key": "url"}}
    return {"name": "orders", "database": {"table": "orders", "urlFrom": reference, "timeColumn": "ordered"}}


@pytest.mark.parametrize("write", [_as_parquet, _as_json, _as_database])
def test_every_kind_of_source_gives_the_same_cases(
    write: Callable[[Any], dict[str, Any]], orders: MLSystem, shop: Any
) -> None:
    wanted = extract(orders, as_of=NOON, labels_as_of=NOON)
    source = write(shop)
    query = "select orders.*, temp from orders left join weather on weather.hour = cast(orders.ordered as timestamptz)"
    changed = shop.document(query=query)
    changed["spec"]["data"]["sources"][0] = source
    found = extract(
        parse(changed, base_dir=shop.folder), as_of=NOON, labels_as_of=NOON, secrets=shop.folder / "secrets"
    )
    assert found.to_pylist() == wanted.to_pylist()


def test_texts_of_digits_stay_text_where_a_zero_leads_or_json_quotes_them(shop: Any) -> None:
    (shop.folder / "orders.jsonl").write_text(
        "".join(json.dumps({**shop.order(index), "price": str(index)}) + "\n" for index in range(5))
    )
    changed = shop.document()
    changed["spec"]["data"]["sources"][0] = {"name": "orders", "jsonLines": {"path": "orders.jsonl"}}
    assert (
        extract(parse(changed, base_dir=shop.folder), as_of=None, labels_as_of=None)["price"].type
        == pa.string()
    )
    shop.write("orders.csv", [{**shop.order(index), "price": f"0{index}"} for index in range(5)])
    changed = shop.document(query="select *, 1 as temp from orders")
    next(each for each in changed["spec"]["features"] if each["name"] == "price").pop("numeric")
    next(each for each in changed["spec"]["features"] if each["name"] == "price")["categorical"] = {}
    table = extract(parse(changed, base_dir=shop.folder), as_of=None, labels_as_of=None)
    assert table["price"].to_pylist() == ["00", "01", "02", "03", "04"]


@pytest.mark.parametrize(
    ("values", "first", "way"),
    [
        pytest.param(
            ['"9,684.5"', '"1,200.0"', '"7,000.1"', '"3,100.9"'],
            "'9,684.5'",
            'written: "1,234.5"} under types of its source',
            id="commas",
        ),
        pytest.param(["94%", "12%", "7%", "100%"], "'94%'", "data.query", id="percent"),
        pytest.param(["01", "02", "03", "04"], "'01'", "data.query", id="leading-zeros"),
    ],
)
def test_a_column_of_numbers_without_one_number_names_its_first_cells_and_the_ways_out(
    values: list[str], first: str, way: str, shop: Any
) -> None:
    shop.write("orders.csv", [{**shop.order(index), "price": value} for index, value in enumerate(values)])
    with pytest.raises(InvalidDataError, match="feature 'price'") as raised:
        extract(shop.system(), as_of=None, labels_as_of=None)
    for words in (
        "column 'price' of orders is text, because none of its 4 values is a number",
        f"orders.csv, line 2: {first}",
        "`missing` of the csv source",
        "`types` of the source",
        way,
    ):
        assert words in str(raised.value)


def test_a_column_with_bounds_and_no_number_names_its_first_cells(shop: Any) -> None:
    shop.write("orders.csv", [{**shop.order(index), "filled": "94%"} for index in range(4)])
    query = "select *, 1 as temp from orders"
    system = shop.system(query=query, checks=[{"column": "filled", "max": 100}])
    with pytest.raises(
        InvalidDataError, match=r"^data\.checks: check of 'filled': .*orders\.csv, line 2: '94%'"
    ):
        extract(system, as_of=None, labels_as_of=None)


def test_days_of_the_query_are_those_of_the_files_time_zone(shop: Any) -> None:
    query = "select *, day(ordered) as temp from orders"
    for zone, day in (("UTC", 1), ("America/New_York", 29)):
        system = shop.system(query=query, timeZone=zone)
        assert extract(system, as_of=None, labels_as_of=None)["temp"][0].as_py() == day


MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "missing file": (
        {"sources": [{"name": "orders", "csv": {"path": "nowhere.csv"}}], "query": "select * from orders"},
        ["data.sources.orders", "nowhere.csv", "does not exist", "relative"],
    ),
    "missing time column": (
        {
            "sources": [{"name": "orders", "csv": {"path": "orders.csv", "timeColumn": "when"}}],
            "query": "from orders",
        },
        ["data.sources.orders.timeColumn", "'when'", "id, ordered, shop"],
    ),
    "time column without times": (
        {
            "sources": [{"name": "orders", "csv": {"path": "orders.csv", "timeColumn": "shop"}}],
            "query": "select *, 1 as temp from orders",
        },
        ["data.sources.orders.timeColumn", "'shop'", "RFC 3339"],
    ),
    "broken SQL": ({"query": "selec * from orders"}, ["data.query", "syntax error", "orders, weather"]),
    "unknown table": (
        {"query": "select * from order_items"},
        ["data.query", "order_items", "orders, weather"],
    ),
    "two statements": ({"query": "select 1; drop table orders"}, ["data.query", "one select statement"]),
    "not a select": ({"query": "create table x as select 1"}, ["data.query", "one select statement"]),
    "missing feature column": (
        {"query": "select orders.*, temp as tmp from orders left join weather on hour = ordered"},
        ["'temp'", "feature 'temp'", "did you mean 'tmp'"],
    ),
    "duplicate ids": (
        {
            "query": "select orders.* replace ('o1' as id), temp from orders left join weather on hour = ordered"
        },
        ["data.keys.id", "unique", "'o1' (40 times)"],
    ),
    "missing ids": (
        {
            "query": "select orders.* replace (null as id), temp from orders left join weather on hour = ordered"
        },
        ["data.keys.id", "40 rows have no 'id'"],
    ),
    "label is no boolean": (
        {
            "query": "select orders.* replace (price as late), temp from orders left join weather on hour = ordered"
        },
        ["data.label.column", "'10'", "true/false, 1/0 or yes/no"],
    ),
    "time is a number": (
        {
            "query": "select orders.* replace (price as ordered), temp from orders left join weather on hour = ordered"
        },
        ["data.keys.time", "BIGINT, not a moment; derive the moment in data.query"],
    ),
    "no rows": (
        {"query": "select orders.*, temp from orders left join weather on hour = ordered where price > 1000"},
        ["data.query", "no row"],
    ),
}


@pytest.mark.parametrize(("change", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_bad_data_is_refused_by_name(change: dict[str, Any], words: list[str], shop: Any) -> None:
    system = shop.system(**change)
    with pytest.raises(InvalidDataError) as raised:
        extract(system, as_of=None, labels_as_of=None)
    for word in words:
        assert word in str(raised.value)


def test_other_databases_are_refused_without_showing_the_address(shop: Any) -> None:
    changed = shop.document()
    changed["spec"]["data"]["sources"][0] = _as_database(shop)
    (shop.folder / "secrets" / "shop-db" / "url").write_text("oracle://me:hunter2@db/shop")
    with pytest.raises(
        InvalidDataError, match=r"data\.sources\.orders: databases of the kind 'oracle'"
    ) as raised:
        extract(
            parse(changed, base_dir=shop.folder),
            as_of=None,
            labels_as_of=None,
            secrets=shop.folder / "secrets",
        )
    assert "hunter2" not in str(raised.value)


def test_missing_secret_names_the_file_to_write(shop: Any) -> None:
    changed = shop.document()
    changed["spec"]["data"]["sources"][0] = _as_database(shop)
    with pytest.raises(InvalidDataError, match="write the database's URL to"):
        extract(
            parse(changed, base_dir=shop.folder),
            as_of=None,
            labels_as_of=None,
            secrets=shop.folder / "elsewhere",
        )


def test_a_table_that_is_not_utf8_is_named(orders: MLSystem, shop: Any) -> None:
    path = shop.folder / "orders.csv"
    path.write_bytes(path.read_bytes().replace(b"shop", b"gesch\xe4ft", 1))
    with pytest.raises(InvalidDataError, match=r"data\.sources\.orders: .*orders\.csv is not UTF-8"):
        extract(orders, as_of=None, labels_as_of=None)


def test_a_disk_that_is_full_while_cases_are_spilled_is_told_in_words(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spills(*_: object) -> None:
        raise duckdb.IOException('IO Error: Could not write file "duckdb_temp": No space left on device')

    shop.write("orders.csv", [shop.order(index) for index in range(4)])
    monkeypatch.setattr("capstan.data.extraction._select_cases", spills)
    with pytest.raises(DiskFullError, match="data: no room left for temporary files: Could not write file"):
        extract(shop.system(), as_of=None, labels_as_of=None)
