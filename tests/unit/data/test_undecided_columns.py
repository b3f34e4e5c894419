"""Texts that look like numbers, in columns that only the query uses: nothing collides or is missed in silence."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.data import extract
from capstan.data.inspection import inspect_data
from capstan.spec import MLSystem, parse

START = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
JOIN = "select rows.*, shops.size from rows left join shops on rows.shop = shops.shop"


def write(folder: Path, columns: dict[str, Sequence[str]], shops: dict[str, Sequence[object]]) -> None:
    """rows.csv, with an id, a time and a label besides, and shops.csv."""
    count = len(next(iter(columns.values())))
    rows = {
        "id": [f"r{index}" for index in range(count)],
        "at": [(START + timedelta(hours=index)).isoformat() for index in range(count)],
        "label": ["true", "false"] * (count // 2) + ["true"] * (count % 2),
        **columns,
    }
    for name, table in (("rows", rows), ("shops", shops)):
        lines = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def system(folder: Path, query: str, feature: str, *, numeric: bool = True, **sources: Any) -> MLSystem:
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "undecided"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [
                        {"name": name, **({"csv": {"path": f"{name}.csv"}} | sources.get(name, {}))}
                        for name in ("rows", "shops")
                    ],
                    "query": query,
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "label", "availableAt": "at"},
                },
                "features": [{"name": feature, ("numeric" if numeric else "categorical"): {}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            },
        },
        base_dir=folder,
    )


def read(made: MLSystem, caplog: pytest.LogCaptureFixture) -> tuple[list[dict[str, Any]], list[str]]:
    """The cases, and what was warned of."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "capstan.data"):
        table = extract(made, as_of=None, labels_as_of=None)
    return table.to_pylist(), [record.getMessage() for record in caplog.records]


def test_a_join_on_codes_tells_1_10_from_1_1_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"shop": ["1.10", "1.1", "2.0"]}, {"shop": ["1.10", "1.1", "2.0"], "size": [10, 20, 30]})
    rows, warned = read(system(tmp_path, JOIN, "size"), caplog)
    assert [row["size"] for row in rows] == [10, 20, 30]
    assert [text.split(" holds")[0] for text in warned] == [
        "data.query: column 'shop' of rows",
        "data.query: column 'shop' of shops",
    ]
    assert f"{tmp_path / 'rows.csv'}, line 2: '1.10'" in warned[0]
    assert "types: [{column: shop, type: Text}]}, or Number" in warned[0]


@pytest.mark.parametrize("code", ["007", "7.4", "1e1"])
def test_a_text_that_is_compared_with_a_number_is_told_with_its_cells(
    code: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = {"rows": {"types": [{"column": "shop", "type": "Text"}]}}
    write(tmp_path, {"shop": ["8", "9", code]}, {"shop": [7, 8, 9], "size": [10, 20, 30]})
    made = system(tmp_path, JOIN, "size", **kept)
    _, warned = read(made, caplog)
    (warning,) = warned
    assert f"(rows.csv, line 4: {code!r})" in warning.replace(f"{tmp_path}/", "")
    assert "compares it with a number" in warning
    assert "alike in each source that has it, or cast it in the query" in warning
    assert warning in inspect_data(made, now=NOW).warnings


def test_a_text_of_parquet_that_is_compared_with_a_number_is_told_by_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"shop": ["7", "8"]}, {"shop": ["x"], "size": [0]})
    pq.write_table(pa.table({"shop": ["007", "8"], "size": [10, 20]}), tmp_path / "shops.parquet")
    shops = {"csv": None, "parquet": {"path": "shops.parquet"}}
    _, warned = read(system(tmp_path, JOIN, "size", shops=shops), caplog)
    (warning,) = warned
    assert "column 'shop' of shops" in warning
    assert "shops.parquet, row 1: '007'" in warning


@pytest.mark.parametrize(
    ("kind", "sizes"), [("Text", [None, 10, 20]), ("Number", [10, 10, 20])], ids=["text", "number"]
)
def test_types_on_both_sides_say_whether_007_is_7_and_nothing_is_warned(
    kind: str, sizes: list[int | None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stated = {"types": [{"column": "shop", "type": kind}]}
    write(tmp_path, {"shop": ["007", "7", "8"]}, {"shop": [7, 8], "size": [10, 20]})
    rows, warned = read(system(tmp_path, JOIN, "size", rows=stated, shops=stated), caplog)
    assert [row["size"] for row in rows] == sizes
    assert not warned


def test_007_and_7_in_a_join_are_told_and_a_cast_in_the_query_ends_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"shop": ["007", "7", "8"]}, {"shop": [7, 8], "size": [10, 20]})
    _, warned = read(system(tmp_path, JOIN, "size"), caplog)
    assert ["column 'shop' of rows" in text and "'007'" in text for text in warned] == [True]
    renamed = (
        "with r as (select *, shop as code from rows) select r.*, size from r join shops on code = shops.shop"
    )
    assert read(system(tmp_path, renamed, "size"), caplog)[1] == warned
    natural = "select * from rows natural left join shops"
    assert read(system(tmp_path, natural, "size"), caplog)[1] == warned
    cast = "select rows.*, size from rows left join shops on rows.shop = cast(shops.shop as varchar)"
    rows, warned = read(system(tmp_path, cast, "size"), caplog)
    assert [row["size"] for row in rows] == [None, 10, 20]
    assert not warned


def test_texts_without_any_code_are_compared_with_numbers_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = {"rows": {"types": [{"column": "shop", "type": "Text"}]}}
    write(tmp_path, {"shop": ["7", "8", "8"]}, {"shop": [7, 8], "size": [10, 20]})
    rows, warned = read(system(tmp_path, JOIN, "size", **kept), caplog)
    assert [row["size"] for row in rows] == [10, 20, 20]
    assert not warned


def test_what_the_query_puts_together_from_a_release_keeps_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"release": ["1.10", "1.1"]}, {"shop": ["x"], "size": [0]})
    query = "select * exclude (id), 'v' || release as id, 'v' || release as version from rows"
    rows, warned = read(system(tmp_path, query, "version", numeric=False), caplog)
    assert [row["version"] for row in rows] == ["v1.10", "v1.1"]
    assert ["as the text that was written, where 1.10 and 1.1 are two" in text for text in warned] == [True]


def test_a_price_that_only_sorts_is_sorted_as_a_number_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"price": ["9.50", "10.50", "2.00"]}, {"shop": ["x"], "size": [0]})
    query = "with r as (select *, price as paid from rows) select *, row_number() over (order by paid) as place from r"
    rows, warned = read(system(tmp_path, query, "place"), caplog)
    assert [row["place"] for row in rows] == [2, 3, 1]
    assert ["sorts by it as a number" in text and "line 2: '9.50'" in text for text in warned] == [True]


@pytest.mark.parametrize(
    "query",
    [
        "select *, price as value from rows",
        "select *, price as value from rows where price > 2.5 order by price",
        "select *, price * 2 as value from rows",
        "select *, cast(price as double) as value from rows",
    ],
)
def test_a_price_that_a_feature_reads_as_a_number_needs_no_warning(
    query: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"price": ["9.50", "10.50", "20.00"]}, {"shop": ["x"], "size": [0]})
    rows, warned = read(system(tmp_path, query, "value"), caplog)
    assert len(rows) == 3
    assert not warned
