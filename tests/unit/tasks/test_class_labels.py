"""A class is the same text whether a table holds it or feedback sends it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capstan.tasks.labels import LABELS

LABEL = LABELS["Category"]
CONNECTION = duckdb.connect()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        "",
        "NA",
        "nan",
        "null",
        "1.0",
        "007",
        "true",
        "TRUE",
        "a" * 180,
        "a" * 181,
        "two\nlines",
        "tab\t",
        " late ",
    ]
)


def of_table(values: list[Any], kind: pa.DataType) -> list[str | None]:
    CONNECTION.register("cases", pa.table({"label": pa.array(values, kind)}))
    name = str(CONNECTION.sql("select label from cases").types[0].id)
    sql = LABEL.sql("label", name)
    rows = CONNECTION.sql(f"select {sql.value}, {sql.wrong}, {sql.shown} from cases").fetchall()
    assert not any(wrong and value is not None for value, wrong, _ in rows), (
        "what is wrong is a label all the same"
    )
    return [value for value, _, _ in rows]


@settings(max_examples=100, deadline=None)
@given(values=st.lists(TEXTS, min_size=1, max_size=5))
def test_texts(values: list[str]) -> None:
    assert of_table(values, pa.string()) == [
        LABEL.parse(orjson.loads(orjson.dumps(value))) for value in values
    ]


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(-(2**62), 2**62) | st.integers(-5, 5), min_size=1, max_size=5))
def test_whole_numbers(values: list[int]) -> None:
    assert of_table(values, pa.int64()) == [LABEL.parse(value) for value in values]


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-50, 50).map(float)
        | st.sampled_from([0.1, -0.0]),
        min_size=1,
        max_size=5,
    )
)
def test_numbers(values: list[float]) -> None:
    assert of_table(values, pa.float64()) == [
        LABEL.parse(orjson.loads(orjson.dumps(value))) for value in values
    ]


@pytest.mark.parametrize("value", [True, False])
def test_booleans(value: bool) -> None:
    assert of_table([value], pa.bool_()) == [LABEL.parse(value)]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_a_missing_number_of_a_data_frame_is_no_class(kind: pa.DataType) -> None:
    assert of_table([None, float("nan"), 1.0, 0.1], kind) == [None, None, "1", "0.1"]


def test_decimals_are_the_classes_that_their_numbers_are() -> None:
    values = [Decimal("1.10"), Decimal("2.00"), Decimal("-0.50")]
    assert of_table(values, pa.decimal128(10, 2)) == ["1.1", "2", "-0.5"]
