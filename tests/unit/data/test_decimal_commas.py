"""A number with a comma is read as the file says. Else it is refused: read wrongly it is a thousand times too much."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from capstan.data import check_table, extract
from capstan.data.asked_rows import asked_rows
from capstan.data.decimal_marks import way_to_number
from capstan.errors import InvalidDataError, InvalidSpecError
from capstan.features.values import ColumnType
from capstan.spec import MLSystem, parse

DECIMAL = '{{column: {}, type: Number, written: "1.234,5"}} under types of its source'
GROUPS = '{{column: {}, type: Number, written: "1,234.5"}} under types of its source'


def system(
    folder: Path, cells: list[str], *, delimiter: str = ",", column: str = "cost", **data: Any
) -> MLSystem:
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["id", "at", "label", column])
        writer.writerows([f"r{i}", f"2024-03-01T0{i}:00:00Z", i % 2, cell] for i, cell in enumerate(cells))
    source = {"name": "rows", "csv": {"path": "rows.csv"}, "types": data.pop("types", [])}
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "commas"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [source],
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "label", "availableAt": "at"},
                    **data,
                },
                "features": [{"name": "value", "column": column, "numeric": {}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            },
        },
        base_dir=folder,
    )


def refusal(made: MLSystem) -> str:
    with pytest.raises(InvalidDataError) as raised:
        extract(made, as_of=None, labels_as_of=None)
    return str(raised.value)


def test_a_comma_in_a_file_with_semicolons_is_offered_as_the_decimal_mark(tmp_path: Path) -> None:
    told = refusal(system(tmp_path, ["1,288", "-1,092", "12"], delimiter=";"))
    assert f"{DECIMAL.format('cost')}, which reads '1,288' as 1.288" in told
    assert GROUPS.format("cost") not in told


@pytest.mark.parametrize(
    ("written", "cells", "numbers"),
    [
        (
            "1.234,5",
            ["1,288", "-1,092", "12", "1.234,5", "2.000", "NA"],
            [1.288, -1.092, 12.0, 1234.5, 2000.0, None],
        ),
        ("1,234.5", ["1,288", "-1.5", "12", "1,234,567.25", ""], [1288.0, -1.5, 12.0, 1234567.25, None]),
    ],
)
def test_numbers_are_read_as_the_file_says_in_a_training_and_where_a_table_is_asked(
    written: str, cells: list[str], numbers: list[float | None], tmp_path: Path
) -> None:
    types = [{"column": "cost", "type": "Number", "written": written}]
    made = system(tmp_path, cells, delimiter=";", types=types)
    assert extract(made, as_of=None, labels_as_of=None)["cost"].to_pylist() == numbers
    wanted = {"id": None, "cost": ColumnType.NUMBER}
    asked = asked_rows(tmp_path / "rows.csv", wanted, zone="UTC", sources=made.spec.data.sources)
    assert [row["cost"] for row in asked] == numbers


@pytest.mark.parametrize(
    ("written", "cell"),
    [("1.234,5", "12.5"), ("1.234,5", "1,234.5"), ("1,234.5", "12,5"), ("1,234.5", "e5"), ("1.234,5", ",")],
)
def test_a_number_in_another_form_is_refused_and_never_guessed_at(
    written: str, cell: str, tmp_path: Path
) -> None:
    types = [{"column": "cost", "type": "Number", "written": written}]
    made = system(tmp_path, [cell, "7"], delimiter=";", types=types)
    assert f"is not a number written as {written} (" in refusal(made)
    wanted = {"cost": ColumnType.NUMBER}
    asked = asked_rows(tmp_path / "rows.csv", wanted, zone="UTC", sources=made.spec.data.sources)
    assert next(asked)["cost"] == cell


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"type": "Number", "written": "1 234,5"}, 'write "1.234,5" or "1,234.5"'),
        ({"type": "Text", "written": "1.234,5"}, "write %Y, %m and %d"),
    ],
)
def test_other_forms_of_numbers_are_refused(stated: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match=re.escape(said)):
        system(tmp_path, ["7"], types=[{"column": "cost", **stated}])


@pytest.mark.parametrize(
    "cells", [["0,5", "1,288"], ["1,28", "7"], ["-,5", "7"], ["0,288", "7"], ["1234,567", "7"]]
)
def test_digits_after_a_comma_that_are_no_group_of_three_make_it_the_decimal_mark(
    cells: list[str], tmp_path: Path
) -> None:
    told = refusal(system(tmp_path, cells))
    assert DECIMAL.format("cost") in told
    assert GROUPS.format("cost") not in told


@pytest.mark.parametrize("cells", [["1,234.5", "7"], ["1,234,567", "7"], ["1,234", "0.5"]])
def test_groups_of_three_beside_a_decimal_point_are_thousands(cells: list[str], tmp_path: Path) -> None:
    told = refusal(system(tmp_path, cells))
    assert f"{GROUPS.format('cost')}, which reads '{cells[0]}' as {cells[0].replace(',', '')}" in told
    assert DECIMAL.format("cost") not in told


@pytest.mark.parametrize("delimiter", [",", "\t", "|"])
def test_where_nobody_can_know_both_readings_are_told(delimiter: str, tmp_path: Path) -> None:
    told = refusal(system(tmp_path, ["1,288", "12"], delimiter=delimiter))
    assert "'1,288' may be 1.288 or 1288, which only you know" in told
    assert DECIMAL.format("cost") in told
    assert GROUPS.format("cost") in told


def test_a_decimal_point_makes_the_commas_of_a_file_with_semicolons_unclear(tmp_path: Path) -> None:
    assert "'1,288' may be 1.288 or 1288" in refusal(system(tmp_path, ["1,288", "0.5"], delimiter=";"))


def test_points_that_group_thousands_are_taken_out_before_the_decimal_comma(tmp_path: Path) -> None:
    told = refusal(system(tmp_path, ["1.234,5", "2.000"], delimiter=";"))
    assert f"{DECIMAL.format('cost')}, which reads '1.234,5' as 1234.5" in told


def test_a_point_that_may_group_thousands_is_told_beside_decimal_commas(tmp_path: Path) -> None:
    told = refusal(system(tmp_path, ["0,5", "1.288"], delimiter=";"))
    assert "look whether the point of '1.288' groups thousands" in told


def test_numbers_written_by_two_rules_get_no_statement(tmp_path: Path) -> None:
    told = refusal(system(tmp_path, ["0,5", "1,234.5"]))
    assert "'0,5' and '1,234.5' in column 'cost' follow two rules" in told
    assert "type: Number" not in told


def test_the_statement_names_the_users_column_in_quotes_where_it_needs_them(tmp_path: Path) -> None:
    told = refusal(system(tmp_path, ["0,5", "1"], column="Preis in EUR"))
    assert DECIMAL.format('"Preis in EUR"') in told


def test_a_column_without_commas_gets_the_plain_cast_with_its_name(tmp_path: Path) -> None:
    told = refusal(system(tmp_path, ["?", "1"]))
    assert "try_cast(cost as double), which makes other texts missing" in told
    assert "replace(" not in told


def test_a_column_stated_as_number_is_told_what_its_commas_are(tmp_path: Path) -> None:
    types = [{"column": "cost", "type": "Number"}]
    told = refusal(system(tmp_path, ["0,5", "1"], delimiter=";", types=types))
    assert f"leave them empty, or state {DECIMAL.format('cost')}" in told


def test_a_number_to_predict_is_told_what_its_commas_are(tmp_path: Path) -> None:
    document = system(tmp_path, ["0,5", "1"], delimiter=";").model_dump(
        mode="json", by_alias=True, exclude_unset=True
    )
    document["spec"]["objective"] = {"task": "Regression", "target": "cost", "losses": {"maximumError": 9}}
    document["spec"]["data"]["label"]["column"] = "cost"
    document["spec"]["features"] = [{"name": "place", "column": "label", "categorical": {}}]
    document["spec"]["training"] = {"candidates": [{"name": "mean", "mostFrequent": {}}]}
    told = refusal(parse(document, base_dir=tmp_path))
    assert told.startswith("data.label.column: 'cost' holds '0,5'")
    assert DECIMAL.format("cost") in told


def test_a_text_that_the_query_makes_is_told_so_too(tmp_path: Path) -> None:
    made = system(tmp_path, ["7", "8"], query="select * replace (cost || ',5' as cost) from rows")
    told = str(check_table(extract(made, as_of=None, labels_as_of=None), made).violations)
    assert "try_cast(replace(cost, ',', '.') as double)" in told


def test_texts_that_are_no_numbers_with_commas_have_no_such_cast() -> None:
    assert way_to_number("town", ["Paris, France", "a.b", "1,2,3"]) is None
