"""The query of a training by another engine gives the bytes that DuckDB gives, and says what it cannot do."""

from __future__ import annotations

import io
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.data import extract
from capstan.data.etl import polars_engine, spark_engine
from capstan.data.other_engines import run_elsewhere
from capstan.errors import InvalidDataError, MissingExtraError

NOON = datetime(2024, 3, 2, 12, tzinfo=UTC)
QUERIES = {
    "join": "select orders.*, temp from orders left join weather on weather.hour = orders.ordered",
    "sums of whole numbers": "select o.*, w.temp from orders o join (select hour, sum(temp) as temp from weather "
    "group by hour) w on w.hour = o.ordered",
    "window": "select *, sum(price) over (partition by shop order by ordered) as temp from orders",
    "a name in other letters": 'select orders.*, temp as "temp" from orders left join weather on hour = ordered -- end',
}


def as_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("as_of", [None, NOON], ids=["all", "as of"])
@pytest.mark.parametrize("query", QUERIES)
def test_polars_gives_the_bytes_of_duckdb(query: str, as_of: datetime | None, shop: Any) -> None:
    found = [
        extract(shop.system(query=QUERIES[query], engine=engine), as_of=as_of, labels_as_of=as_of)
        for engine in ("DuckDB", "Polars")
    ]
    assert as_bytes(found[1]) == as_bytes(found[0])
    assert found[1].num_rows == (40 if as_of is None else 37)


def test_what_the_engine_refuses_is_told_of_the_query(shop: Any) -> None:
    query = "select *, date_diff('hour', ordered, ordered) as temp from orders"
    extract(shop.system(query=query), as_of=None, labels_as_of=None)
    with pytest.raises(InvalidDataError, match=r"^data.query: unsupported function 'date_diff'"):
        extract(shop.system(query=query, engine="Polars"), as_of=None, labels_as_of=None)


def test_rows_between_the_engines_are_removed(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "between"))
    (tmp_path / "between").mkdir()
    extract(shop.system(engine="Polars"), as_of=None, labels_as_of=None)
    assert list((tmp_path / "between").iterdir()) == []


@pytest.mark.parametrize(("engine", "module"), [("Polars", polars_engine), ("Spark", spark_engine)])
def test_without_the_engine_its_extra_is_named(
    engine: str, module: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"engine: {engine} needs the extra '{engine.lower()}'"):
        extract(shop.system(engine=engine), as_of=None, labels_as_of=None)


def test_whole_numbers_that_no_file_holds_are_refused() -> None:
    with duckdb.connect() as connection:
        connection.execute("create table rows as select 2::hugeint ** 3 as x, 2::hugeint as large")
        with pytest.raises(
            InvalidDataError, match=r"data.sources.rows: column 'large' has whole numbers of more"
        ):
            run_elsewhere(connection, "Polars", "UTC", ["rows"], "select x from rows", ["x"], "made")


def test_moments_are_read_in_the_zone_of_the_file(shop: Any) -> None:
    query = "select orders.*, extract(hour from ordered) as temp from orders"
    found = [
        extract(
            shop.system(query=query, engine=engine, timeZone="America/New_York"),
            as_of=shop.first + timedelta(hours=3),
            labels_as_of=None,
        )["temp"].to_pylist()
        for engine in ("DuckDB", "Polars")
    ]
    assert found[0] == found[1]
    assert found[0][0] == 19
