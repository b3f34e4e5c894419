"""The request schema names the field, the value and the rule."""

from __future__ import annotations

import math
import time

import pytest

from capstan.errors import InvalidRequestError
from capstan.serving.manifest import Column, Manifest
from capstan.serving.requests import parse
from capstan.serving.schema import MAX_ROWS, RequestSchema

MANIFEST = Manifest(
    system="toy",
    task="BinaryClassification",
    target="late",
    columns=(
        Column("distance", numeric=True, nullable=False, minimum=1, maximum=5000),
        Column("temp", numeric=True),
        Column("carrier", numeric=False, nullable=False, allowed=frozenset({"AA", "UA", "NO"})),
        Column("dest", numeric=False),
    ),
    keys={"id": "flight_id", "time": "scheduled_departure", "sticky_by": "tailnum"},
)
SCHEMA = RequestSchema(MANIFEST)
GOOD = {"distance": 100, "temp": -3.5, "carrier": "AA", "dest": "LAX", "flight_id": "2013-1-1-AA-1"}


def test_a_row_as_people_write_it_is_accepted() -> None:
    assert SCHEMA.rows_of(GOOD) == [GOOD]
    assert SCHEMA.rows_of({"rows": [GOOD, GOOD]}) == [GOOD, GOOD]


def test_nullable_columns_may_be_null_or_left_out_and_unknown_categories_are_no_mistake() -> None:
    row = {"distance": 1, "carrier": "NO", "temp": None, "dest": "a place nobody heard of"}
    assert SCHEMA.rows_of(row) == [row]


@pytest.mark.parametrize(
    ("change", "field", "value", "rule"),
    [
        pytest.param({"carier": "AA"}, "carier", "AA", "did you mean 'carrier'", id="misspelt"),
        pytest.param({"zzzz": 1}, "zzzz", 1, "its columns are distance, temp", id="unknown"),
        pytest.param({"distance": "far"}, "distance", "far", "must be a number, not a text", id="text"),
        pytest.param({"distance": True}, "distance", True, "must be a number, not a boolean", id="boolean"),
        pytest.param({"distance": None}, "distance", None, "must not be null", id="null"),
        pytest.param({"distance": 0.5}, "distance", 0.5, "below the minimum 1", id="small"),
        pytest.param({"distance": 10**6}, "distance", 10**6, "above the maximum 5000", id="large"),
        pytest.param({"distance": math.nan}, "distance", "nan", "finite", id="nan"),
        pytest.param({"temp": -math.inf}, "temp", "-inf", "finite", id="infinite"),
        pytest.param({"temp": {"a": 1}}, "temp", "dict", "not an object", id="nested"),
        pytest.param({"carrier": "ZZ"}, "carrier", "ZZ", "allowed: AA, NO, UA", id="category"),
        pytest.param({"dest": ["x"]}, "dest", "list", "not a list", id="list"),
        pytest.param(
            {"dest": "x" * 300}, "dest", "x" * 80 + "… (300 characters)", "256 characters", id="long"
        ),
        pytest.param({"flight_id": [1]}, "flight_id", "list", "a text or a whole number", id="key"),
    ],
)
def test_a_breach_names_field_value_and_rule(change: dict, field: str, value: object, rule: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SCHEMA.rows_of({**GOOD, **change})
    assert (caught.value.field, caught.value.value) == (field, value)
    assert rule in caught.value.rule


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="distance: None is missing"):
        SCHEMA.rows_of({"carrier": "AA"})


def test_the_row_of_a_batch_is_named() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SCHEMA.rows_of({"rows": [GOOD, {**GOOD, "distance": "x"}]})
    assert caught.value.field == "rows[1].distance"


@pytest.mark.parametrize("rows", [[], [GOOD] * (MAX_ROWS + 1), "x", [1], None])
def test_a_batch_is_a_bounded_list_of_objects(rows: object) -> None:
    with pytest.raises(InvalidRequestError, match="rows"):
        SCHEMA.rows_of({"rows": rows})


@pytest.mark.parametrize("body", [[], "text", 3, None])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(InvalidRequestError, match="body"):
        SCHEMA.rows_of(body)


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        pytest.param(b'{"distance": NaN}', "distance", "finite", id="nan"),
        pytest.param(b'{"rows": [{"temp": -Infinity}]}', "rows[0].temp", "finite", id="infinity"),
        pytest.param(b'{"temp": 1e999}', "temp", "finite", id="overflow"),
        pytest.param(b"[" * 100_000, "body", "nested too deeply", id="deep"),
        pytest.param(b'{"a":' * 100_000, "body", "nested too deeply", id="deep-objects"),
        pytest.param(b'{"carrier": "\\ud800NaN"}', "body", "not JSON", id="surrogate"),
        pytest.param(b"", "body", "not JSON", id="empty"),
        pytest.param(b"\xff\xfe", "body", "not JSON", id="bytes"),
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes, field: str, rule: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(body)
    assert caught.value.field == field
    assert rule in caught.value.rule


def test_checking_a_row_takes_microseconds() -> None:
    """The goal is 10 µs for a dozen columns; the bound leaves room for a busy machine."""
    columns = tuple(Column(f"c{i}", numeric=i % 2 == 0, minimum=0 if i % 4 == 0 else None) for i in range(12))
    schema = RequestSchema(Manifest("toy", "BinaryClassification", "late", columns))
    row = {f"c{i}": 1.5 if i % 2 == 0 else "AA" for i in range(12)}
    best = math.inf
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(200):
            schema.check(row)
        best = min(best, (time.perf_counter() - started) / 200)
    assert best < 30e-6
