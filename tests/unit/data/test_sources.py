"""Tables as people write them are read, or refused with file, line, column, value and way out."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.data import extract
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem, parse

DUCKDB_ADVICE = ("strict_mode", "null_padding", "ignore_errors", "SET ", "Possible", "Candidate", "encoding=")


def table_of(system: MLSystem, **options: Any) -> pa.Table:
    return extract(system, as_of=options.pop("as_of", None), labels_as_of=None, **options)


def refusal(system: MLSystem, **options: Any) -> str:
    """The text of the refusal, which never gives DuckDB's advice."""
    with pytest.raises(InvalidDataError) as raised:
        table_of(system, **options)
    text = str(raised.value)
    assert not [advice for advice in DUCKDB_ADVICE if advice in text], text
    return text


def one_source(shop: Any, source: dict[str, Any], *, folder: Path | None = None, **data: Any) -> MLSystem:
    """A system that reads orders alone, with the price as its only feature."""
    document = shop.document(**{"sources": [{"name": "orders", **source}], "query": None, **data})
    del document["spec"]["data"]["query"]
    if data.get("query"):
        document["spec"]["data"]["query"] = data["query"]
    document["spec"]["features"] = [{"name": "price", "numeric": {}}]
    document["spec"].pop("evaluation", None)
    document["spec"]["data"].pop("checks", None)
    return parse(document, base_dir=folder or shop.folder)


def csv_of(shop: Any, **data: Any) -> MLSystem:
    return one_source(shop, {"csv": {"path": "orders.csv"}}, **data)


def lines_of(shop: Any) -> list[str]:
    return (shop.folder / "orders.csv").read_text().splitlines()


def write_lines(shop: Any, lines: list[str], name: str = "orders.csv") -> None:
    (shop.folder / name).write_text("\n".join(lines) + "\n")


def with_columns(shop: Any, header: str, value: Callable[[int], str]) -> None:
    """Add a column to orders.csv."""
    first, *rest = lines_of(shop)
    write_lines(shop, [f"{first},{header}", *(f"{line},{value(row)}" for row, line in enumerate(rest))])


# Headers


def test_headers_that_differ_in_case_are_read_if_neither_is_used(shop: Any) -> None:
    with_columns(shop, "Extra,EXTRA", lambda row: f"{row},x")
    assert table_of(csv_of(shop))["price"].to_pylist()[:3] == [10, 11, 12]


def test_headers_that_differ_in_case_are_refused_by_name_if_one_is_used(shop: Any) -> None:
    with_columns(shop, "Price", lambda row: str(-row))
    text = refusal(csv_of(shop))
    for word in ("data.sources.orders", "orders.csv", "'price' and 'Price'", "rename one"):
        assert word in text


def test_a_header_written_twice_is_refused_only_if_it_is_used(shop: Any) -> None:
    with_columns(shop, "note,note", lambda row: "a,b")
    assert table_of(csv_of(shop)).num_rows == 40
    with_columns(shop, "price", lambda row: "1")
    assert "names 'price' twice" in refusal(csv_of(shop))


def test_the_index_that_pandas_writes_without_a_name_is_passed_over(shop: Any) -> None:
    frame = pd.read_csv(shop.folder / "orders.csv")
    frame.to_csv(shop.folder / "orders.csv")
    assert lines_of(shop)[0].startswith(",id")
    assert table_of(csv_of(shop))["price"].to_pylist()[:3] == [10, 11, 12]


def test_delimiters_inside_a_quoted_header_part_nothing(shop: Any) -> None:
    with_columns(shop, '"a;b;c;d;e;f;g;h;i"', lambda row: '"x;y"')
    assert table_of(csv_of(shop))["price"].to_pylist()[0] == 10


def test_single_quotes_are_quotes_where_every_name_stands_in_them(shop: Any) -> None:
    with_columns(shop, "note", lambda row: "'a,''b'" if row == 0 else 'it is 5"')
    first, *rest = lines_of(shop)
    write_lines(shop, [",".join(f"'{name}'" for name in first.split(",")), *rest])
    assert table_of(csv_of(shop))["price"].to_pylist()[:2] == [10, 11]
    write_lines(shop, [*lines_of(shop)[:5], "'a", *lines_of(shop)[5:]])
    assert "single quote" in refusal(csv_of(shop))


def test_a_line_break_in_a_quoted_header_ends_no_header(shop: Any) -> None:
    with_columns(shop, '"two\nlines, ""quoted"""', lambda row: "1")
    assert table_of(csv_of(shop)).num_rows == 40
    query = 'select * replace (price + "two\nlines, ""quoted""" as price) from orders'
    assert table_of(csv_of(shop, query=query))["price"].to_pylist()[0] == 11


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("inner", ["\n", "\r\n", "\r"], ids=["lf-inside", "crlf-inside", "cr-inside"])
@pytest.mark.parametrize("odd", [False, True], ids=["alike", "one-line-ends-in-lf"])
def test_a_line_break_in_a_header_need_not_be_that_of_the_lines(
    end: str, inner: str, odd: bool, shop: Any
) -> None:
    header, *rows = lines_of(shop)
    text = f'{header},"two{inner}lines"{end}' + "".join(
        f"{row},1{chr(10) if odd and index == 20 else end}" for index, row in enumerate(rows)
    )
    (shop.folder / "orders.csv").write_bytes(text.encode())
    assert table_of(csv_of(shop)).num_rows == 40


# Packed files


@pytest.mark.parametrize("name", ["orders.csv.gz", "orders.csv"])
def test_gzip_is_read_by_its_bytes_whatever_the_file_is_called(name: str, shop: Any) -> None:
    packed = gzip.compress((shop.folder / "orders.csv").read_bytes())
    (shop.folder / name).write_bytes(packed)
    assert table_of(one_source(shop, {"csv": {"path": name}})).num_rows == 40


def test_a_folder_gives_packed_and_plain_files_alike(shop: Any) -> None:
    header, *rest = lines_of(shop)
    (shop.folder / "parts").mkdir()
    (shop.folder / "parts" / "a.csv").write_text("\n".join([header, *rest[:10]]) + "\n")
    (shop.folder / "parts" / "b.csv.gz").write_bytes(gzip.compress("\n".join([header, *rest[10:]]).encode()))
    assert table_of(one_source(shop, {"csv": {"path": "parts"}})).num_rows == 40


def test_packed_json_lines_are_read(shop: Any) -> None:
    text = "".join(json.dumps(shop.order(row)) + "\n" for row in range(40))
    (shop.folder / "orders.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    source = {"jsonLines": {"path": "orders.jsonl.gz", "timeColumn": "ordered"}}
    assert table_of(one_source(shop, source), as_of=shop.first + timedelta(hours=9)).num_rows == 10


def test_a_packed_file_that_was_cut_off_is_refused(shop: Any) -> None:
    packed = gzip.compress((shop.folder / "orders.csv").read_bytes())
    (shop.folder / "orders.csv").write_bytes(packed[: len(packed) // 2])
    assert "data.sources.orders" in refusal(csv_of(shop))


def test_other_packers_are_named(shop: Any) -> None:
    (shop.folder / "orders.csv").write_bytes(b"PK\x03\x04 and more")
    assert "is a zip file; unpack it" in refusal(csv_of(shop))


# Lines that are wrong


def changed(shop: Any, row: int, line: str) -> MLSystem:
    """orders.csv with another line `row`, from 1 for the header."""
    lines = lines_of(shop)
    lines[row - 1] = line
    write_lines(shop, lines)
    return csv_of(shop)


def test_a_line_with_too_many_values_is_named(shop: Any) -> None:
    text = refusal(changed(shop, 7, "o005,2024-03-01T05:00:00+00:00,south,15,false,,more"))
    for word in (
        "data.sources.orders",
        "orders.csv, line 7",
        "more values than the 6 columns",
        "o005",
        "double quotes",
    ):
        assert word in text


def test_a_line_with_too_few_values_is_named(shop: Any) -> None:
    text = refusal(changed(shop, 7, "o005,2024-03-01T05:00:00+00:00"))
    for word in ("orders.csv, line 7", "has 2 values", "6 columns", "correct the line"):
        assert word in text


def test_a_file_that_was_cut_off_in_a_line_is_told_so(shop: Any) -> None:
    content = (shop.folder / "orders.csv").read_text()
    (shop.folder / "orders.csv").write_text(content[: content.index("o020") + 12])
    text = refusal(csv_of(shop))
    for word in ("orders.csv, line 22", "cut off", "write it again"):
        assert word in text


def test_an_unclosed_quote_is_named_with_its_line_and_column(shop: Any) -> None:
    text = refusal(changed(shop, 7, 'o005,2024-03-01T05:00:00+00:00,"south,15,false,'))
    for word in ("orders.csv, line 7", "column 'shop'", "double quote is not closed"):
        assert word in text


def test_text_that_is_not_utf8_is_named_with_its_line_and_column(shop: Any) -> None:
    path = shop.folder / "orders.csv"
    path.write_bytes(path.read_bytes().replace(b"o005", b"\xe4005", 1))
    text = refusal(csv_of(shop))
    for word in ("orders.csv, line 7", "column 'id'", "is not UTF-8 text", "save the file as UTF-8"):
        assert word in text


def test_utf16_is_read_as_utf8_is(shop: Any) -> None:
    path = shop.folder / "orders.csv"
    plain = table_of(csv_of(shop))
    path.write_bytes(path.read_text().encode("utf-16"))
    assert table_of(csv_of(shop)).equals(plain)


def test_lines_that_end_in_two_ways_are_read(shop: Any) -> None:
    lines = lines_of(shop)
    text = "".join(line + ("\r\n" if row % 3 else "\n") for row, line in enumerate(lines))
    (shop.folder / "orders.csv").write_text(text, newline="")
    table = table_of(csv_of(shop))
    assert table.num_rows == 40
    assert table["late"].to_pylist()[:2] == [True, False]


def test_a_cell_of_ten_megabytes_is_read(shop: Any) -> None:
    with_columns(shop, "note", lambda row: "x" * 10_000_000 if row == 3 else "y")
    system = csv_of(shop, query="select * replace (length(note) as price) from orders")
    assert table_of(system)["price"].to_pylist()[2:5] == [1, 10_000_000, 1]


# Cells that keep a column from being numbers


@pytest.mark.parametrize("value", ["?", '"1,234.5"', "twelve"])
def test_one_cell_that_is_no_number_is_named_with_file_line_column_and_value(value: str, shop: Any) -> None:
    text = refusal(changed(shop, 7, f"o005,2024-03-01T05:00:00+00:00,south,{value},false,"))
    shown = value.strip('"')
    for word in (
        "feature 'price'",
        "column 'price' of orders",
        "1 of its 40 values",
        f"orders.csv, line 7: {shown!r}",
    ):
        assert word in text


def test_the_line_is_that_of_the_file_after_quoted_line_breaks(shop: Any) -> None:
    with_columns(shop, "note", lambda row: '"two\nlines"')
    lines = (shop.folder / "orders.csv").read_text().replace(",12,", ",?,", 1)
    (shop.folder / "orders.csv").write_text(lines)
    assert "orders.csv, line 6: '?'" in refusal(csv_of(shop))


def test_a_query_that_computes_with_text_is_told_which_cell_makes_it_text(shop: Any) -> None:
    changed(shop, 7, "o005,2024-03-01T05:00:00+00:00,south,?,false,")
    text = refusal(csv_of(shop, query="select * replace (price * 2 as price) from orders"))
    for word in ("data.query", "price * 2", "column 'price' of orders is text", "orders.csv, line 7: '?'"):
        assert word in text


def test_a_comparison_of_text_with_a_number_is_told_which_cell_makes_it_text(shop: Any) -> None:
    changed(shop, 7, "o005,2024-03-01T05:00:00+00:00,south,?,false,")
    text = refusal(csv_of(shop, query="select * from orders where price > 3"))
    assert "orders.csv, line 7: '?'" in text


def test_a_cast_that_fails_is_told_with_the_cell(shop: Any) -> None:
    changed(shop, 7, "o005,2024-03-01T05:00:00+00:00,south,?,false,")
    text = refusal(csv_of(shop, query="select * replace (cast(price as double) as price) from orders"))
    for word in ("data.query", "'?'", "orders.csv, line 7"):
        assert word in text


def test_a_cell_of_json_lines_is_named_with_its_line(shop: Any) -> None:
    rows = [{**shop.order(row), "price": "?" if row == 5 else row} for row in range(40)]
    (shop.folder / "orders.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    text = refusal(one_source(shop, {"jsonLines": {"path": "orders.jsonl"}}))
    assert "orders.jsonl, line 11: '?'" in text


def test_a_cell_of_parquet_is_named_with_its_row(shop: Any) -> None:
    rows = [{**shop.order(row), "price": "?" if row == 5 else str(row)} for row in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), shop.folder / "orders.parquet")
    text = refusal(one_source(shop, {"parquet": {"path": "orders.parquet"}}))
    assert "orders.parquet, row 6: '?'" in text


# JSON lines


@pytest.mark.parametrize(
    ("line", "problem"),
    [('{"id": ', "is not JSON"), ("[1, 2]", "is no JSON object"), ("5", "is no JSON object")],
)
def test_a_line_that_is_no_object_is_named(line: str, problem: str, shop: Any) -> None:
    rows = [json.dumps(shop.order(row)) for row in range(40)]
    rows[6] = line
    (shop.folder / "orders.jsonl").write_text("\n".join(rows) + "\n")
    text = refusal(one_source(shop, {"jsonLines": {"path": "orders.jsonl"}}))
    for word in ("data.sources.orders", "orders.jsonl, line 7", problem, line.strip()):
        assert word in text


def test_keys_of_json_that_differ_in_case_are_refused_only_if_used(shop: Any) -> None:
    def write(key: str) -> MLSystem:
        rows = [{**shop.order(row), key: "x"} for row in range(40)]
        rows = [{"note": "y", **row} for row in rows]
        (shop.folder / "orders.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return one_source(shop, {"jsonLines": {"path": "orders.jsonl"}})

    assert table_of(write("Note")).num_rows == 40
    assert "'Price' and 'price'" in refusal(write("Price"))


# Parquet by its types


def frame_of(shop: Any) -> pd.DataFrame:
    frame = pd.DataFrame([shop.order(row) for row in range(40)])
    for column in ("ordered", "arrived"):
        frame[column] = pd.to_datetime(frame[column], format="ISO8601").astype("datetime64[ns, UTC]")
    return frame


def test_parquet_as_pandas_writes_it_is_read_by_type(shop: Any) -> None:
    wanted = table_of(csv_of(shop))
    frame = frame_of(shop)
    frame["shop"] = frame["shop"].astype("category")
    assert str(frame["ordered"].dtype) == "datetime64[ns, UTC]"
    frame.to_parquet(shop.folder / "orders.parquet")
    source = {"parquet": {"path": "orders.parquet", "timeColumn": "ordered"}}
    assert table_of(one_source(shop, source)).to_pylist() == wanted.to_pylist()
    early = table_of(one_source(shop, source), as_of=shop.first + timedelta(hours=4))
    assert early["id"].to_pylist() == ["o000", "o001", "o002", "o003", "o004"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_of_every_unit_and_zone_are_moments(unit: str, zone: str | None, shop: Any) -> None:
    table = pa.Table.from_pandas(frame_of(shop), preserve_index=False)
    for name in ("ordered", "arrived"):
        at = table.column(name).cast(pa.timestamp("ns", "UTC"))
        at = at.cast(pa.timestamp(unit, zone)) if zone else at.cast(pa.timestamp(unit))
        table = table.set_column(table.column_names.index(name), name, at)
    pq.write_table(table, shop.folder / "orders.parquet", version="2.6")
    source = {"parquet": {"path": "orders.parquet", "timeColumn": "ordered"}}
    found = table_of(one_source(shop, source), as_of=shop.first + timedelta(hours=4))
    assert found["ordered"].type == pa.timestamp("us", "UTC")
    assert found["ordered"].to_pylist() == [shop.first + timedelta(hours=row) for row in range(5)]


def test_dates_decimals_and_dictionaries_of_parquet_are_plain_values(shop: Any) -> None:
    rows = [{**shop.order(row), "price": Decimal(f"{row}.25")} for row in range(40)]
    table = pa.Table.from_pylist(rows)
    days = pa.array([date(2024, 3, 1) + timedelta(days=row) for row in range(40)])
    table = table.set_column(1, "ordered", days).set_column(2, "shop", table["shop"].dictionary_encode())
    pq.write_table(table, shop.folder / "orders.parquet")
    found = table_of(one_source(shop, {"parquet": {"path": "orders.parquet"}}))
    assert found["price"].to_pylist()[:2] == [0.25, 1.25]
    assert found["ordered"].to_pylist()[1] == datetime(2024, 3, 2, tzinfo=UTC)


def test_a_list_in_parquet_is_refused_by_name_only_if_it_is_used(shop: Any) -> None:
    rows = [{**shop.order(row), "tags": [row]} for row in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), shop.folder / "orders.parquet")
    source = {"parquet": {"path": "orders.parquet"}}
    assert table_of(one_source(shop, source)).num_rows == 40
    text = refusal(one_source(shop, source, query="select * replace (tags as price) from orders"))
    for word in ("column 'price'", "LIST", "one plain value"):
        assert word in text


def test_a_parquet_file_that_was_cut_off_is_refused(shop: Any) -> None:
    frame_of(shop).to_parquet(shop.folder / "orders.parquet")
    content = (shop.folder / "orders.parquet").read_bytes()
    (shop.folder / "orders.parquet").write_bytes(content[: len(content) // 2])
    text = refusal(one_source(shop, {"parquet": {"path": "orders.parquet"}}))
    for word in ("orders.parquet is not a whole Parquet file", "cut off", "write it again"):
        assert word in text


# Times without offset


def local_rows(shop: Any) -> list[dict[str, Any]]:
    """Orders whose times are those of New York, written without offset."""
    rows = []
    for row in range(40):
        order = shop.order(row)
        for name in ("ordered", "arrived"):
            at = order[name]
            order[name] = None if at is None else at[:19].replace("T", " ")
        rows.append(order)
    return rows


def _csv(shop: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    shop.write("orders.csv", rows)
    return {"csv": {"path": "orders.csv", "timeColumn": "ordered"}}


def _json(shop: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    (shop.folder / "orders.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"jsonLines": {"path": "orders.jsonl", "timeColumn": "ordered"}}


def _parquet(shop: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    moments = pl.col("ordered", "arrived").str.to_datetime("%Y-%m-%d %H:%M:%S")
    pl.DataFrame(rows).with_columns(moments).write_parquet(shop.folder / "orders.parquet")
    return {"parquet": {"path": "orders.parquet", "timeColumn": "ordered"}}


def _database(shop: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    connection = sqlite3.connect(shop.folder / "shop.db")
    connection.execute(
        "create table orders (id text, ordered text, shop text, price integer, late text, arrived text)"
    )
    connection.executemany(
        "insert into orders values (?, ?, ?, ?, ?, ?)", [tuple(row.values()) for row in rows]
    )
    connection.commit()
    connection.close()
    secret = shop.folder / "secrets" / "shop-db"
    secret.mkdir(parents=True)
    (secret / "url").write_text("sqlite:///shop.db\n")
    reference = {"secretKeyRef": {"name": "shop-db", "key": "url"}}
    return {"database": {"table": "orders", "urlFrom": reference, "timeColumn": "ordered"}}


def _parquet_texts(shop: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    pl.DataFrame(rows).write_parquet(shop.folder / "orders.parquet")
    return {"parquet": {"path": "orders.parquet", "timeColumn": "ordered"}}


@pytest.mark.parametrize("as_of", [None, datetime(2027, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("value", ["03.11.2026", 1700000000], ids=["days-first", "epoch"])
@pytest.mark.parametrize(
    ("write", "place"),
    [
        (_csv, "orders.csv, line 2: "),
        (_json, "orders.jsonl, line 1: "),
        (_parquet_texts, "orders.parquet, row 1: "),
        (_database, "table orders: "),
    ],
)
def test_a_time_column_without_a_moment_shows_its_first_cells_and_the_ways_out(
    write: Callable[[Any, list[dict[str, Any]]], dict[str, Any]],
    place: str,
    value: object,
    as_of: datetime | None,
    shop: Any,
) -> None:
    rows = [{**shop.order(index), "ordered": value} for index in range(4)]
    system = one_source(shop, write(shop, rows))
    text = refusal(system, secrets=shop.folder / "secrets", as_of=as_of)
    assert text.startswith("data.sources.orders.timeColumn: ")
    assert f"{place}'{value}'" in text
    for way in ("RFC 3339", "leave timeColumn out", "strptime(ordered, '%d.%m.%Y')", "to_timestamp("):
        assert way in text


def test_rows_without_a_readable_moment_are_told_with_the_first_cells(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [shop.order(index) for index in range(6)]
    rows[3]["ordered"], rows[4]["ordered"] = "03.11.2026", None
    system = one_source(shop, _csv(shop, rows))
    assert table_of(system, as_of=datetime(2027, 1, 1, tzinfo=UTC)).num_rows == 4
    assert "2 rows without a readable ordered are not read" in caplog.text
    assert "orders.csv, line 5: '03.11.2026')" in caplog.text


@pytest.mark.parametrize("write", [_csv, _json, _parquet, _database])
def test_times_without_offset_are_of_the_files_zone_in_every_kind_of_source(
    write: Callable[[Any, list[dict[str, Any]]], dict[str, Any]], shop: Any
) -> None:
    source = write(shop, local_rows(shop))
    system = one_source(shop, source, timeZone="America/New_York")
    secrets = shop.folder / "secrets"
    first = datetime(2024, 3, 1, 5, tzinfo=UTC)
    found = table_of(system, secrets=secrets)
    assert found["ordered"].to_pylist()[0] == first
    assert found["label_available_at"].to_pylist()[0] == first + timedelta(hours=12)
    early = extract(system, as_of=first + timedelta(hours=3), labels_as_of=None, secrets=secrets)
    assert early["id"].to_pylist() == ["o000", "o001", "o002", "o003"]
    known = extract(system, as_of=None, labels_as_of=first + timedelta(hours=12), secrets=secrets)
    assert known["late"].to_pylist()[:2] == [True, None]


@pytest.mark.parametrize("write", [_csv, _json, _parquet, _database])
def test_local_times_that_clocks_made_unclear_are_told_and_read_as_the_later_moment(
    write: Callable[[Any, list[dict[str, Any]]], dict[str, Any]], shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = local_rows(shop)
    rows[0]["ordered"], rows[1]["ordered"] = "2024-11-03 01:30:00", "2024-03-10 02:30:00"
    system = one_source(shop, write(shop, rows), timeZone="America/New_York")
    found = table_of(system, secrets=shop.folder / "secrets")
    moments = dict(zip(found["id"].to_pylist(), found["ordered"].to_pylist(), strict=True))
    assert moments["o000"] == datetime(2024, 11, 3, 6, 30, tzinfo=UTC)
    assert moments["o001"] == datetime(2024, 3, 10, 7, 30, tzinfo=UTC)
    assert "'ordered': 1 time without offset happened twice in America/New_York" in caplog.text
    assert "2024-11-03 01:30:00" in caplog.text
    assert "'ordered': 1 time without offset never happened in America/New_York" in caplog.text
    assert "2024-03-10 02:30:00" in caplog.text


def test_times_with_offset_and_times_in_utc_are_not_told(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    rows = local_rows(shop)
    rows[0]["ordered"] = "2024-11-03 01:30:00"
    table_of(one_source(shop, _csv(shop, rows)))
    rows[0]["ordered"] = "2024-11-03T01:30:00-04:00"
    found = table_of(one_source(shop, _csv(shop, rows), timeZone="America/New_York"))
    assert datetime(2024, 11, 3, 5, 30, tzinfo=UTC) in found["ordered"].to_pylist()
    assert "without offset" not in caplog.text


def test_a_time_that_the_query_makes_without_offset_is_of_the_files_zone(shop: Any) -> None:
    query = "select * replace (timestamp '2024-07-01 00:00:00' + interval 1 minute * price as ordered) from orders"
    found = table_of(csv_of(shop, query=query, timeZone="America/New_York"))
    assert found["ordered"].to_pylist()[0] == datetime(2024, 7, 1, 4, 10, tzinfo=UTC)


# Names of folders


@pytest.mark.parametrize("name", ["a%20b", "what?", "x#y", "st*r", "[z]", "it's", 'quo"te'])
def test_files_are_read_whatever_their_folder_is_called(name: str, shop: Any) -> None:
    folder = shop.folder / name
    folder.mkdir()
    rows = [shop.order(row) for row in range(40)]
    (folder / "orders.csv").write_bytes((shop.folder / "orders.csv").read_bytes())
    (folder / "parts").mkdir()
    (folder / "parts" / "a.csv.gz").write_bytes(gzip.compress((shop.folder / "orders.csv").read_bytes()))
    (folder / "orders.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "orders.parquet")
    wanted = table_of(csv_of(shop)).to_pylist()
    for source in (
        {"csv": {"path": "orders.csv"}},
        {"csv": {"path": "order?.c*"}},
        {"csv": {"path": "parts"}},
        {"jsonLines": {"path": "orders.jsonl"}},
        {"parquet": {"path": "*.parquet"}},
    ):
        assert table_of(one_source(shop, source, folder=folder)).to_pylist() == wanted
    for path in (f"{name}/orders.csv", f"{name}/parts"):
        assert table_of(one_source(shop, {"csv": {"path": path}})).to_pylist() == wanted


@pytest.mark.parametrize("name", ["a%20b", "what?mode=rw", "x#y"])
def test_a_database_is_opened_whatever_its_folder_is_called(name: str, shop: Any) -> None:
    source = _database(shop, [shop.order(row) for row in range(40)])
    folder = shop.folder / name
    folder.mkdir()
    (shop.folder / "shop.db").rename(folder / "shop.db")
    system = one_source(shop, source, folder=folder)
    assert table_of(system, secrets=shop.folder / "secrets").num_rows == 40


def test_a_database_column_that_is_not_used_is_not_read(shop: Any) -> None:
    source = _database(shop, [shop.order(row) for row in range(40)])
    with sqlite3.connect(shop.folder / "shop.db") as connection:
        connection.execute("alter table orders add column photo blob")
        connection.execute("update orders set photo = x'00ff'")
    connection.close()
    secrets = shop.folder / "secrets"
    found = extract(
        one_source(shop, source, query="select id, ordered, price, late, arrived from orders"),
        as_of=None,
        labels_as_of=None,
        secrets=secrets,
    )
    assert found.num_rows == 40
