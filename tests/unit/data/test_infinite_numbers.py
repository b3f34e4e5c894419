"""An infinite number is refused in every kind of source, in what the query makes, and in requests."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.data import check_table, extract
from capstan.data.inspection import inspect_data
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem, parse

START = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
ROWS = [
    {
        "id": f"r{index}",
        "at": (START + timedelta(hours=index)).isoformat(),
        "label": index % 2,
        "value": value,
    }
    for index, value in enumerate([1.5, math.inf, 2.5, -math.inf, None, 0.5])
]


def as_parquet(folder: Path) -> dict[str, Any]:
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet")
    return {"parquet": {"path": "rows.parquet"}}


def as_floats_of_32_bits(folder: Path) -> dict[str, Any]:
    table = pa.Table.from_pylist(ROWS)
    place = table.schema.get_field_index("value")
    pq.write_table(
        table.set_column(place, "value", table["value"].cast(pa.float32())), folder / "rows.parquet"
    )
    return {"parquet": {"path": "rows.parquet"}}


def as_json_lines(folder: Path) -> dict[str, Any]:
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return {"jsonLines": {"path": "rows.jsonl"}}


def as_csv(folder: Path) -> dict[str, Any]:
    lines = [",".join("" if value is None else str(value) for value in row.values()) for row in ROWS]
    (folder / "rows.csv").write_text("\n".join([",".join(ROWS[0]), *lines]) + "\n")
    return {"csv": {"path": "rows.csv"}}


def as_database(folder: Path) -> dict[str, Any]:
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("create table rows (id text, at text, label integer, value real)")
        connection.executemany("insert into rows values (?, ?, ?, ?)", [tuple(row.values()) for row in ROWS])
    connection.close()
    (folder / "secrets" / "shop").mkdir(parents=True)
    (folder / "secrets" / "shop" / "url").write_text("sqlite:///shop.db\n")
    return {"database": {"table": "rows", "urlFrom": {"secretKeyRef": {"name": "shop", "key": "url"}}}}


def system(folder: Path, source: dict[str, Any], *, query: str | None = None) -> MLSystem:
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "infinite"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [{"name": "rows", **source}],
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "label", "availableAt": "at"},
                    **({} if query is None else {"query": query}),
                },
                "features": [{"name": "value", "numeric": {}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            },
        },
        base_dir=folder,
    )


@pytest.mark.parametrize("write", [as_parquet, as_floats_of_32_bits, as_database])
def test_an_infinite_number_of_a_typed_source_is_told_with_its_rows(
    write: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    made = system(tmp_path, write(tmp_path))
    table = extract(made, as_of=None, labels_as_of=None, secrets=tmp_path / "secrets")
    with pytest.raises(InvalidDataError, match=r"value: 2 rows: is infinite, .* \(r1 has inf, r3 has -inf\)"):
        check_table(table, made).require()
    found = inspect_data(made, now=NOW, secrets=tmp_path / "secrets")
    assert [problem for problem in found.problems if "value: 2 rows: is infinite" in problem]


@pytest.mark.parametrize(
    ("write", "places"),
    [
        (as_csv, ("rows.csv, line 3: 'inf'", "rows.csv, line 5: '-inf'")),
        (as_json_lines, ("rows.jsonl, line 2: 'Infinity'", "rows.jsonl, line 4: '-Infinity'")),
    ],
)
def test_an_infinite_number_of_a_text_file_is_told_with_its_lines(
    write: Callable[[Path], dict[str, Any]], places: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(InvalidDataError, match="2 of its 5 values are no numbers") as raised:
        extract(system(tmp_path, write(tmp_path)), as_of=None, labels_as_of=None)
    assert all(place in str(raised.value) for place in places)


def test_an_infinite_number_that_the_query_makes_is_told_with_the_way_out(tmp_path: Path) -> None:
    source = as_parquet(tmp_path)
    made = system(tmp_path, source, query="select * exclude (value), 1 / (value - 1.5) as value from rows")
    table = extract(made, as_of=None, labels_as_of=None)
    with pytest.raises(InvalidDataError, match=r"value: 1 rows: is infinite.*divide by nullif.*r0 has inf"):
        check_table(table, made).require()
    query = "select * exclude (value), 1 / nullif(value - 1.5, 0) as value from rows"
    mended = system(tmp_path, source, query=query)
    assert not check_table(extract(mended, as_of=None, labels_as_of=None), mended).violations


def test_nan_is_a_missing_value_and_no_infinite_number(tmp_path: Path) -> None:
    rows = [{**row, "value": math.nan if row["id"] == "r2" else 1.0} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    made = system(tmp_path, {"parquet": {"path": "rows.parquet"}})
    assert not check_table(extract(made, as_of=None, labels_as_of=None), made).violations
