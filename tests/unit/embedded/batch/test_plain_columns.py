"""Claims about rows that are read as columns: accepted, read and marked as the checks of a request do it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from capstan.embedded.batch.plain_columns import PlainColumns, as_json
from capstan.errors import InvalidRequestError
from capstan.features.values import ColumnType
from capstan.serving.familiarity import Familiarity
from capstan.serving.manifest import Column, Manifest
from capstan.serving.schema import RequestSchema

NUMBERS = pa.array(
    [None, float("nan"), float("inf"), -1.0, 0.0, 1.0, 2.5, 3.0, 7.0, 8.5, -1e308], pa.float64()
)
WHOLE = pa.array([None, -1, 0, 1, 2, 3, 7, 8, 2**60, -(2**62), 5], pa.int64())
TEXTS = pa.array([None, "a", "b", "c", "A", "never", "x" * 5000, "1", "a", "b", "a"], pa.string())
FLAGS = pa.array([None, True, False, True, False, True, False, True, False, True, False], pa.bool_())
MOMENTS = pa.array(
    [None, *(datetime(2013, 2, day, 5, tzinfo=UTC) for day in range(1, 11))], pa.timestamp("us", "UTC")
)
NUMBER = Column("x", ColumnType.NUMBER, numeric=True)
CATEGORY = Column("x", ColumnType.TEXT, numeric=False)
KNOWN = {"x": frozenset({"a", "b", "1", "2.5", "true", "2013-02-03T05:00:00Z", None})}


def by_rows(manifest: Manifest, known: Any, values: pa.Array) -> tuple[list[bool], list[bool], list[Any]]:
    schema, marks = RequestSchema(manifest), Familiarity(manifest, known, lambda _: None)
    accepted, familiar, read = [], [], []
    for value in values.to_pylist():
        row = {"x": as_json(value)}
        try:
            schema.check(row)
        except InvalidRequestError:
            accepted.append(False)
            continue
        accepted.append(True)
        familiar.append(marks.marks([row]) is None)
        read.append(row["x"])
    return accepted, familiar, read


@pytest.mark.parametrize("values", [NUMBERS, WHOLE], ids=["floats", "whole numbers"])
@pytest.mark.parametrize(
    ("column", "known"),
    [
        pytest.param(NUMBER, {}, id="free"),
        pytest.param(replace(NUMBER, minimum=0, maximum=7), {}, id="bounds"),
        pytest.param(replace(NUMBER, nullable=False), {}, id="not nullable"),
        pytest.param(replace(NUMBER, required=True, trained_minimum=1, trained_maximum=3), {}, id="required"),
        pytest.param(replace(NUMBER, trained_minimum=1, trained_maximum=3), {}, id="trained range"),
        pytest.param(
            replace(NUMBER, trained_minimum=1, trained_maximum=3, minimum=2, refuse_outside=True),
            {},
            id="refuses",
        ),
        pytest.param(replace(NUMBER, allowed=frozenset({1, 2.5})), {}, id="allowed"),
        pytest.param(replace(NUMBER, filled=False), {}, id="never filled"),
        pytest.param(replace(NUMBER, filled=False, required=True), {}, id="never filled, required"),
        pytest.param(replace(NUMBER, filled=False, refuse_outside=True), {}, id="never filled, refuses"),
        pytest.param(replace(NUMBER, trained_minimum=1, trained_maximum=3), KNOWN, id="a category too"),
    ],
)
def test_numbers(column: Column, known: Any, values: pa.Array) -> None:
    same(column, known, values)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        pytest.param(CATEGORY, TEXTS, id="texts"),
        pytest.param(replace(CATEGORY, type=ColumnType.NUMBER), NUMBERS, id="numbers"),
        pytest.param(replace(CATEGORY, type=ColumnType.NUMBER), WHOLE, id="whole numbers"),
        pytest.param(replace(CATEGORY, type=ColumnType.BOOLEAN), FLAGS, id="flags"),
        pytest.param(replace(CATEGORY, type=ColumnType.TIME), MOMENTS, id="moments"),
        pytest.param(
            Column("x", ColumnType.BOOLEAN, numeric=True, trained_minimum=1, trained_maximum=1),
            FLAGS,
            id="0 and 1",
        ),
        pytest.param(replace(CATEGORY, unquoted=True), WHOLE, id="numbers that are texts"),
    ],
)
@pytest.mark.parametrize("known", [{}, KNOWN], ids=["all categories are alike", "some are known"])
@pytest.mark.parametrize(
    "more",
    [{}, {"nullable": False}, {"required": True}, {"filled": False}, {"filled": False, "required": True}],
    ids=str,
)
def test_categories(column: Column, known: Any, values: pa.Array, more: dict[str, Any]) -> None:
    same(replace(column, **more), known, values)


def same(column: Column, known: Any, values: pa.Array) -> None:
    manifest = Manifest("toy", "Regression", "late", (column,))
    accepted, familiar, read = by_rows(manifest, known, values)
    found = PlainColumns(manifest, known, ("x",)).read(pa.record_batch({"x": values}))
    assert found is not None
    if values is WHOLE and column.numeric and not known:
        # Whole numbers that no float holds are left to those who look at rows.
        accepted_here = [
            one and abs(value or 0) < 2**53 for one, value in zip(accepted, values.to_pylist(), strict=True)
        ]
    else:
        accepted_here = accepted
    assert found.accepted.tolist() == accepted_here
    chosen = np.flatnonzero(found.accepted)
    of_accepted = dict(zip(np.flatnonzero(accepted).tolist(), zip(familiar, read, strict=True), strict=True))
    listed = found.columns["x"].tolist()
    for at in chosen.tolist():
        is_familiar, value = of_accepted[at]
        assert found.familiar[at] == is_familiar
        assert (None if listed[at] != listed[at] else listed[at]) == value


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("id", pa.array(["1", "", None, "x" * 300], pa.string())),
        ("id", pa.array([1, 2, None], pa.int64())),
        ("id", pa.array([1.5, None], pa.float64())),
        ("time", pa.array([None, datetime(2013, 2, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))),
        ("time", pa.array(["2013-02-01", "no moment"], pa.string())),
    ],
)
def test_keys(kind: str, values: pa.Array) -> None:
    manifest = Manifest("toy", "Regression", "late", (), keys={kind: "x"})
    found = PlainColumns(manifest, {}, ("x",)).read(pa.record_batch({"x": values}))
    assert found is not None
    assert found.accepted.tolist() == by_rows(manifest, {}, values)[0]
    assert not found.columns


def test_a_column_that_is_not_there_is_left_to_those_who_look_at_rows() -> None:
    manifest = Manifest("toy", "Regression", "late", (NUMBER,))
    assert PlainColumns(manifest, {}, ("x",)).read(pa.record_batch({"y": NUMBERS})) is None
    assert PlainColumns(manifest, {}, ("x",)).read(pa.record_batch({"x": TEXTS})) is None


def test_whole_numbers_beyond_64_bits_with_a_sign_are_left_to_those_who_look_at_rows() -> None:
    manifest = Manifest("toy", "Regression", "late", (NUMBER,))
    found = PlainColumns(manifest, KNOWN, ("x",))
    assert found.read(pa.record_batch({"x": pa.array([2**64 - 1, 1], pa.uint64())})) is None


def test_moments_beyond_the_calendar_are_left_to_those_who_look_at_rows() -> None:
    manifest = Manifest("toy", "Regression", "late", (replace(CATEGORY, type=ColumnType.TIME),))
    far = pa.array([2**62], pa.int64()).cast(pa.timestamp("us", "UTC"))
    assert PlainColumns(manifest, KNOWN, ("x",)).read(pa.record_batch({"x": far})) is None
