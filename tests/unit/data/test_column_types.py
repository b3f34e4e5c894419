"""Ids and categories stay the text that was written; numbers are what can be written back."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from capstan.data import check_table, extract, request_schema
from capstan.errors import InvalidDataError, InvalidSpecError
from capstan.spec import MLSystem, parse

START = datetime(2024, 3, 1, tzinfo=UTC)
Columns = dict[str, Sequence[object]]


def write_csv(folder: Path, columns: Columns) -> None:
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_json(folder: Path, columns: Columns) -> None:
    """Values are JSON as written."""
    lines = [
        "{" + ", ".join(f'"{name}": {value}' for name, value in zip(columns, row, strict=True)) + "}"
        for row in zip(*columns.values(), strict=True)
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")


def system(folder: Path, features: Sequence[dict[str, Any]], *, kind: str = "csv", **data: Any) -> MLSystem:
    suffix = {"csv": "csv", "jsonLines": "jsonl", "parquet": "parquet"}[kind]
    source = {"name": "rows", kind: {"path": f"rows.{suffix}"}, **data.pop("source", {})}
    source[kind] |= data.pop("settings", {})
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "types"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "label"},
            "data": {
                "sources": [source],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "label", "availableAt": "at"},
                **data,
            },
            "features": features,
            "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
        },
    }
    return parse(document, base_dir=folder)


def table_of(folder: Path, columns: Columns, features: Sequence[dict[str, Any]], **settings: Any) -> pa.Table:
    """The extracted table of a CSV with these columns, an id, a time and a label besides."""
    rows = len(next(iter(columns.values())))
    fixed: Columns = {
        "id": [f"r{index}" for index in range(rows)],
        "at": [(START + timedelta(hours=index)).isoformat() for index in range(rows)],
        "label": ["true", "false"] * (rows // 2) + ["true"] * (rows % 2),
    }
    write_csv(folder, {**fixed, **columns})
    return extract(system(folder, features, **settings), as_of=None, labels_as_of=None)


CATEGORY = [{"name": "value", "categorical": {}}]
NUMBER = [{"name": "value", "numeric": {}}]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(["1.10", "2.0", "1.1"], id="releases"),
        pytest.param(["12_3", "123", "4"], id="underscores"),
        pytest.param(["1e5", "100000", "2"], id="exponents"),
        pytest.param(["007", "7", "12"], id="leading-zeros"),
        pytest.param(["0x10", "16", "3"], id="hexadecimal"),
        pytest.param(["inf", "nan2", "3"], id="infinity"),
        pytest.param(["+5", "5", "3"], id="signs"),
        pytest.param(["-0", "0", "3"], id="minus-zero"),
        pytest.param(["12345678901234567890", "12345678901234567891", "1"], id="twenty-digits"),
        pytest.param(["1234567890123456789", "1234567890123456788", "1"], id="nineteen-digits"),
        pytest.param(["NA", "DE", "None"], id="names-that-look-missing"),
        pytest.param(["7", "7.0", "3"], id="two-ways-to-write-seven"),
        pytest.param(["9007199254740993", "9007199254740992", "0.5"], id="whole-beside-floats"),
        pytest.param(["0.12345678901234567890", "0.12345678901234567891", "1.5"], id="twenty-decimals"),
    ],
)
def test_a_category_stays_the_text_that_was_written(tmp_path: Path, values: list[str]) -> None:
    table = table_of(tmp_path, {"value": values}, CATEGORY)
    assert [str(value) for value in table["value"].to_pylist()] == values


@pytest.mark.parametrize(
    "ids",
    [
        ["3_14", "31_4", "314"],
        ["1234567890123456788", "1234567890123456789", "1"],
        ["12345678901234567890", "12345678901234567891", "1"],
        ["1.1", "1.10", "1.100"],
        ["1e5", "100000", "1e05"],
        ["007", "07", "7"],
        ["7", "7.0", "7.5"],
        ["2024-03-01T05:00:00Z", "2024-03-01T05:00:00+00:00", "2024-03-01 05:00:00Z"],
    ],
    ids=lambda ids: ids[0],
)
@pytest.mark.parametrize("renamed", [False, True], ids=["as-it-is", "renamed"])
def test_ids_neither_change_nor_collide(tmp_path: Path, ids: list[str], renamed: bool) -> None:
    column = "key" if renamed else "id"
    write_csv(
        tmp_path,
        {
            column: ids,
            "at": [(START + timedelta(hours=index)).isoformat() for index in range(3)],
            "label": ["true", "false", "true"],
            "value": ["a", "b", "c"],
        },
    )
    query = (
        {"query": "with r as (select key as number, * from rows) select number as id, * from r"}
        if renamed
        else {}
    )
    table = extract(system(tmp_path, CATEGORY, **query), as_of=None, labels_as_of=None)
    assert sorted(table["id"].to_pylist()) == sorted(ids)


def test_a_price_that_is_written_12_50_is_a_number(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"value": ["12.50", "3.00", "NA", "1e2"]}, NUMBER)
    assert table["value"].to_pylist() == [12.5, 3.0, None, 100.0]


def test_the_query_calculates_with_a_price_and_hands_on_a_release(tmp_path: Path) -> None:
    features = [{"name": "double", "numeric": {}}, {"name": "version", "categorical": {}}]
    query = "with r as (select *, price * 2 as double from rows where price > 1.0) select *, release as version from r"
    columns: Columns = {"price": ["12.50", "3.00"], "release": ["1.10", "1.1"]}
    table = table_of(tmp_path, columns, features, query=query)
    assert table["double"].to_pylist() == [25.0, 6.0]
    assert table["version"].to_pylist() == ["1.10", "1.1"]


def test_a_category_that_is_computed_from_a_price_needs_no_text(tmp_path: Path) -> None:
    query = "select *, floor(price / 10) as value from rows"
    table = table_of(tmp_path, {"price": ["12.50", "3.00"]}, CATEGORY, query=query)
    assert table["value"].to_pylist() == [1.0, 0.0]


def test_a_column_that_is_calculated_with_and_a_category_is_refused_with_the_way_out(tmp_path: Path) -> None:
    query = "select *, price * 2 as double, price as value from rows"
    columns: Columns = {"price": ["12.50", "3.00"]}
    with pytest.raises(
        InvalidDataError, match=r"'price' of rows holds '12\.50'.*types: \[\{column: price, type: Text"
    ):
        table_of(tmp_path, columns, CATEGORY, query=query)
    stated = {"types": [{"column": "price", "type": "Number"}]}
    table = table_of(tmp_path, columns, CATEGORY, query=query, source=stated)
    assert table["value"].to_pylist() == [12.5, 3.0]
    cast = "select *, cast(price as double) * 2 as double, price as value from rows"
    assert table_of(tmp_path, columns, CATEGORY, query=cast)["value"].to_pylist() == ["12.50", "3.00"]


def test_what_the_query_uses_as_text_is_text(tmp_path: Path) -> None:
    query = "select *, upper(release) as value from rows"
    table = table_of(tmp_path, {"release": ["1.10", "1.1"]}, CATEGORY, query=query)
    assert table["value"].to_pylist() == ["1.10", "1.1"]


@pytest.mark.parametrize(
    ("kind", "values", "read"),
    [
        ("Text", ["7", "NA", "8"], ["7", "NA", "8"]),
        ("Number", ["1.10", "NA", "007"], [1.1, None, 7.0]),
        ("Boolean", ["1", "0", "NA"], [True, False, None]),
        ("Time", ["2024-03-01", "", "2024-03-02T00:00:00Z"], None),
    ],
)
def test_the_file_may_say_what_a_column_holds(
    tmp_path: Path, kind: str, values: list[str], read: list[object] | None
) -> None:
    stated = {"types": [{"column": "value", "type": kind}]}
    table = table_of(tmp_path, {"value": values}, CATEGORY, source=stated)
    if read is not None:
        assert table["value"].to_pylist() == read
    (schema,) = request_schema(system(tmp_path, CATEGORY), table)
    assert schema.type == kind


@pytest.mark.parametrize(
    ("kind", "value", "rule"),
    [
        ("Number", "3_14", "a number"),
        ("Boolean", "maybe", "true or false"),
        ("Time", "soon", "a moment such as"),
    ],
)
def test_a_value_of_another_type_than_the_file_says_is_named(
    tmp_path: Path, kind: str, value: str, rule: str
) -> None:
    stated = {"types": [{"column": "value", "type": kind}]}
    with pytest.raises(InvalidDataError, match=rf"sources\.rows\.types: column 'value'.*{rule}.*'{value}'"):
        table_of(tmp_path, {"value": [value, "", "NA"]}, CATEGORY, source=stated)


def test_further_texts_may_mean_missing(tmp_path: Path) -> None:
    settings = {"missing": ["?"]}
    assert table_of(tmp_path, {"value": ["?", "7", "8"]}, NUMBER, settings=settings)["value"].to_pylist() == [
        None,
        7,
        8,
    ]
    table = table_of(tmp_path, {"value": ["?", "a", "NA"]}, CATEGORY, settings=settings)
    assert table["value"].to_pylist() == [None, "a", "NA"]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (['"1.10"', '"2.0"', '"NA"'], ["1.10", "2.0", "NA"]),
        (["1234567890123456789", "1", "null"], [1234567890123456789, 1, None]),
        (["12345678901234567890", "1", "null"], ["12345678901234567890", "1", None]),
        (["7", "7.0", "7.5"], [7.0, 7.0, 7.5]),
        (
            ["9007199254740993", "9007199254740992", "0.5"],
            ["9007199254740993", "9007199254740992", "0.5"],
        ),
        (["true", "false", "null"], [True, False, None]),
        (["true", "1", '"x"'], ["true", "1", "x"]),
        (['""', '"a"', '"b"'], [None, "a", "b"]),
    ],
    ids=str,
)
def test_json_says_what_is_text_and_what_is_a_number(
    tmp_path: Path, values: list[str], read: list[object]
) -> None:
    write_json(
        tmp_path,
        {
            "id": ['"a"', '"b"', '"c"'],
            "at": [json.dumps((START + timedelta(hours=index)).isoformat()) for index in range(3)],
            "label": ["true", "false", "true"],
            "value": values,
        },
    )
    table = extract(system(tmp_path, CATEGORY, kind="jsonLines"), as_of=None, labels_as_of=None)
    assert table["value"].to_pylist() == read


def test_allowed_values_are_compared_by_the_type_of_the_column(tmp_path: Path) -> None:
    columns: Columns = {
        "tier": ["1", "2", "1"],
        "rate": ["0.5", "1.5", "0.5"],
        "vip": ["True", "False", "True"],
        "release": ["1.10", "2.0", "1.10"],
    }
    features = [{"name": name, "categorical": {}} for name in columns]
    allowed = {"tier": [1, 2], "rate": ["0.5", "1.5"], "vip": ["true", "False"], "release": ["1.10", "2.0"]}
    checks = [{"column": name, "allowed": values} for name, values in allowed.items()]
    table = table_of(tmp_path, columns, features, checks=checks)
    checked = system(tmp_path, features, checks=checks)
    assert not check_table(table, checked).violations
    schema = {column.name: column for column in request_schema(checked, table)}
    assert schema["tier"].allowed == ("1", "2")
    assert schema["vip"].allowed == ("false", "true")
    fewer = [{"column": "vip", "allowed": ["TRUE"]}, {"column": "release", "allowed": ["1.1", "2.0"]}]
    broken = check_table(table, system(tmp_path, features, checks=fewer)).violations
    assert [(one.column, one.rows, one.values[0]) for one in broken] == [
        ("vip", 1, "False"),
        ("release", 2, "'1.10'"),
    ]


def test_a_text_that_no_request_may_hold_is_refused_before_training(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"value": ["x" * 8192, "y" * 8193]}, CATEGORY)
    (violation,) = check_table(table, system(tmp_path, CATEGORY)).violations
    assert (violation.column, violation.ids, violation.values) == ("value", ("r1",), (repr("y" * 60),))
    assert "longer than the 8192 characters that a request may hold" in violation.rule


def test_a_column_that_is_stated_twice_is_a_mistake(tmp_path: Path) -> None:
    twice = {"types": [{"column": "value", "type": "Text"}, {"column": "value", "type": "Number"}]}
    with pytest.raises(InvalidSpecError, match="says twice what 'value' holds"):
        system(tmp_path, CATEGORY, source=twice)


def test_a_type_of_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    stated = {"types": [{"column": "valeu", "type": "Text"}]}
    with pytest.raises(InvalidDataError, match=r"rows\.types: there is no column 'valeu'"):
        table_of(tmp_path, {"value": ["a", "b"]}, CATEGORY, source=stated)


def test_a_header_that_only_looks_like_the_column_is_told_by_its_characters(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError) as raised:
        table_of(tmp_path, {"cafe\u0301": ["1", "2"]}, [{"name": "caf\u00e9", "numeric": {}}])
    assert r"looks the same and is made of other characters, 'cafe\u0301': copy it" in str(raised.value)
