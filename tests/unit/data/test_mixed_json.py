"""A JSON column of numbers, texts and booleans is told with its lines, and its rows as written predict."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capstan.data import extract, request_schema
from capstan.data.inspection import inspect_data
from capstan.serving.manifest import Manifest, _column
from capstan.serving.schema import RequestSchema
from capstan.spec import MLSystem, parse

START = datetime(2024, 3, 1, tzinfo=UTC)
MIXED = [1, "1", True, 1.0, "true", 1.5, "a", 1e22, 0.00001, -0.0, False, 10**17, None]
TEXTS = ["1", "1", "true", "1", "true", "1.5", "a", "1e+22", "1e-05", "0", "false", str(10**17), None]


def system(folder: Path, values: list[Any], **source: Any) -> MLSystem:
    lines = [
        {
            "id": f"r{n:03d}",
            "at": (START + timedelta(hours=n)).isoformat(),
            "mark": value,
            "label": n % 3 == 0,
        }
        for n, value in enumerate(values)
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "mixed"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [{"name": "rows", "jsonLines": {"path": "rows.jsonl"}, **source}],
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "label", "availableAt": "at"},
                },
                "features": [{"name": "mark", "categorical": {}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            },
        },
        base_dir=folder,
    )


def schema_of(made: MLSystem) -> RequestSchema:
    (column,) = request_schema(made, extract(made, as_of=None, labels_as_of=None))
    document = json.loads(json.dumps(asdict(column)))
    return RequestSchema(Manifest("mixed", "BinaryClassification", "label", (_column(document),)))


def mixed_warnings(made: MLSystem) -> list[str]:
    found = inspect_data(made, now=START + timedelta(days=60)).warnings
    return [warning.replace(f"{made.base_dir}/", "") for warning in found if "mixes" in warning]


@pytest.mark.parametrize("stated", [False, True])
def test_rows_as_written_are_the_categories_of_training(stated: bool, tmp_path: Path) -> None:
    types = {"types": [{"column": "mark", "type": "Text"}]} if stated else {}
    made = system(tmp_path, MIXED, **types)
    assert extract(made, as_of=None, labels_as_of=None)["mark"].to_pylist() == TEXTS
    schema = schema_of(made)
    for value, text in zip(MIXED, TEXTS, strict=True):
        assert schema.rows_of(json.loads(json.dumps({"mark": value}))) == [{"mark": text}]


def test_a_mixed_column_is_told_with_line_and_example_of_each_form(tmp_path: Path) -> None:
    (told,) = mixed_warnings(system(tmp_path, [1, 2, "1", None, True] * 10))
    assert told.startswith(
        "data.sources.rows: column 'mark' mixes numbers, texts and booleans (rows.jsonl, line 1: 1; "
        'rows.jsonl, line 3: "1"; rows.jsonl, line 5: true), so that it is text'
    )
    assert "types: [{column: mark, type: Text}]" in told


def test_a_column_that_the_file_states_is_not_told(tmp_path: Path) -> None:
    made = system(tmp_path, [1, "1", True] * 10, types=[{"column": "mark", "type": "Text"}])
    assert mixed_warnings(made) == []


@pytest.mark.parametrize("values", [["1", "a"] * 10, [1, 2.5] * 10, [True, False] * 10, [None, "1"] * 10])
def test_a_column_of_one_form_is_not_told(values: list[Any], tmp_path: Path) -> None:
    assert mixed_warnings(system(tmp_path, values)) == []


def test_a_column_that_was_always_quoted_still_refuses_a_number(tmp_path: Path) -> None:
    schema = schema_of(system(tmp_path, ["00123", "123"] * 10))
    with pytest.raises(Exception, match="must be a text, not a number"):
        schema.rows_of({"mark": 123})
