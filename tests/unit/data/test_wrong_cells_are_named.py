"""A cell that the file's words do not fit is named by file, line and value, and with the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capstan.data import extract
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem, parse

ROWS = [
    {
        "id": f"r{hour}",
        "at": f"2024-03-01T0{hour}:00:00Z",
        "known": "2024-03-02",
        "label": hour % 2,
        "value": 1,
    }
    for hour in range(4)
]
SUFFIXES = {"csv": "csv", "jsonLines": "jsonl"}


def system(folder: Path, kind: str, cells: dict[int, object], column: str, **settings: Any) -> MLSystem:
    """Four rows, in which some cells of the column are others; the first row has line 2 in CSV, 1 in JSON lines."""
    rows = [{**row, column: cells.get(place, row[column])} for place, row in enumerate(ROWS)]
    if kind == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    else:
        lines = [json.dumps({**row, column: str(row[column])}) for row in rows]
    (folder / f"rows.{SUFFIXES[kind]}").write_text("\n".join(lines) + "\n")
    types, query = settings.pop("types", []), settings.pop("query", None)
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "cells"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [{"name": "rows", kind: {"path": f"rows.{SUFFIXES[kind]}"}, "types": types}],
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "label", "availableAt": "known"},
                    **({} if query is None else {"query": query}),
                },
                "features": [{"name": "value", "categorical": {}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            },
        },
        base_dir=folder,
    )


def refusal(made: MLSystem) -> str:
    with pytest.raises(InvalidDataError) as raised:
        extract(made, as_of=None, labels_as_of=None)
    return str(raised.value).replace(f"{made.base_dir}/", "")


def line(kind: str, place: int) -> str:
    return f"rows.{SUFFIXES[kind]}, line {place + (2 if kind == 'csv' else 1)}"


@pytest.mark.parametrize("kind", SUFFIXES)
@pytest.mark.parametrize(("column", "field"), [("at", "data.keys.time"), ("known", "data.label.availableAt")])
def test_a_text_that_is_no_moment_names_its_line_and_strptime(
    kind: str, column: str, field: str, tmp_path: Path
) -> None:
    told = refusal(system(tmp_path, kind, {1: "1.3.2024", 3: "soon"}, column))
    assert told == (
        f"{field}: 2 values of column {column!r} are no moments "
        f"({line(kind, 1)}: '1.3.2024'; {line(kind, 3)}: 'soon'); write RFC 3339 such as "
        "2013-02-01T05:00:00Z, or derive the moment in data.query, such as "
        f"strptime({column}, '%d.%m.%Y') or to_timestamp({column}::bigint) for seconds since 1970"
    )


def test_seconds_since_1970_name_a_line_and_to_timestamp(tmp_path: Path) -> None:
    told = refusal(
        system(tmp_path, "csv", dict(enumerate([1709251200, 1709254800, 1709258400, 1709262000])), "at")
    )
    assert told.startswith(
        "data.keys.time: column 'at' is BIGINT, not a moment (rows.csv, line 2: '1709251200'; "
    )
    assert "to_timestamp(at::bigint) for seconds since 1970" in told


def test_a_text_that_the_query_made_is_shown_by_its_value(tmp_path: Path) -> None:
    query = "select * replace ('x' || rows.at as \"at\") from rows"
    told = refusal(system(tmp_path, "csv", {}, "at", query=query))
    assert "data.keys.time: 4 values of column 'at' are no moments ('x2024-03-01" in told


@pytest.mark.parametrize("kind", SUFFIXES)
@pytest.mark.parametrize(
    ("stated", "good", "bad", "rule", "way_out"),
    [
        ("Number", 1, "3_14", "are not a number", "state Text and cast the column in data.query"),
        ("Number", 1, "inf", "are not a number", "state Text and cast the column in data.query"),
        ("Boolean", 1, "maybe", "are not true or false", "state Text and derive a boolean in data.query"),
        ("Time", "2024-03-01", "1.3.2024", "are not a moment such as", 'written: "%d.%m.%Y"'),
    ],
)
def test_values_that_contradict_the_stated_type_name_their_lines(
    kind: str, stated: str, good: object, bad: str, rule: str, way_out: str, tmp_path: Path
) -> None:
    cells = {0: good, 1: bad, 2: good, 3: bad}
    types = [{"column": "value", "type": stated}]
    told = refusal(system(tmp_path, kind, cells, "value", types=types))
    assert told.startswith(
        f"data.sources.rows.types: column 'value' is stated to be {stated}, but 2 of its values {rule}"
    )
    assert f"({line(kind, 1)}: {bad!r}; {line(kind, 3)}: {bad!r})" in told
    assert way_out in told
