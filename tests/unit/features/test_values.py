"""One value is one category and one number, whatever wrote it."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from capstan.errors import InvalidDataError
from capstan.features.columns import counts, numbers, type_of
from capstan.features.values import ColumnType, category, number, number_of_text

TEXT, NUMBER, BOOLEAN, TIME = ColumnType.TEXT, ColumnType.NUMBER, ColumnType.BOOLEAN, ColumnType.TIME


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        (NUMBER, [7, 7.0, "7", "7.0", np.int32(7), np.float64(7), Decimal(7)], "7"),
        (NUMBER, [2.5, "2.5", np.float32(2.5), Decimal("2.5")], "2.5"),
        (NUMBER, [10**15, 1e15, "1000000000000000"], "1000000000000000"),
        (NUMBER, [2**62, float(2**62), str(2**62)], str(2**62)),
        (NUMBER, [0, -0.0, "0", "0.0"], "0"),
        (NUMBER, [1e300, "1e+300", "1e300"], "1e+300"),
        (BOOLEAN, [True, np.True_, 1, 1.0, "true", "True", "TRUE", " true ", "1"], "true"),
        (BOOLEAN, [False, np.False_, 0, 0.0, "false", "False", "FALSE", "0"], "false"),
        (TEXT, ["00123"], "00123"),
        (TEXT, ["NA"], "NA"),
        (TEXT, ["None"], "None"),
        (TEXT, [" "], " "),
        (
            TIME,
            [
                dt.datetime(2013, 2, 1, 5, tzinfo=dt.UTC),
                dt.datetime(2013, 2, 1, 5),  # noqa: DTZ001
                np.datetime64("2013-02-01T05:00:00", "ns"),
                "2013-02-01T05:00:00Z",
                "2013-02-01 06:00:00+01:00",
            ],
            "2013-02-01T05:00:00Z",
        ),
        (
            TIME,
            [dt.date(2013, 2, 1), "2013-02-01", "2013-02-01T00:00:00", "2013-02-01T00:00:00+00:00"],
            "2013-02-01T00:00:00Z",
        ),
    ],
)
def test_one_value_is_one_category_whatever_wrote_it(
    kind: ColumnType, values: list[object], text: str
) -> None:
    assert {category(value, kind) for value in values} == {text}
    assert category(text, kind) == text, "a category that is written stays the same when it is read"


@pytest.mark.parametrize("kind", [NUMBER, BOOLEAN, TIME])
@pytest.mark.parametrize("value", ["", "NA", "None", "null", "NaN", None, math.nan, math.inf, pd.NA, pd.NaT])
def test_what_means_missing_is_missing_in_columns_that_are_no_text(kind: ColumnType, value: object) -> None:
    assert category(value, kind) is None


@pytest.mark.parametrize("value", ["", None, math.nan, pd.NA, np.datetime64("NaT")])
def test_in_a_column_of_texts_only_the_empty_text_and_no_value_are_missing(value: object) -> None:
    assert category(value, TEXT) is None


@pytest.mark.parametrize(
    "text",
    ["007", "1.10", "12.50", "1e5", "3_14", "0x10", "inf", "+5", ".5", "5.", "-0", "1" * 19 + "9", "²"],
)
def test_a_text_that_would_change_as_a_number_is_none(text: str) -> None:
    assert number_of_text(text) is None
    assert category(text, NUMBER) == text


@pytest.mark.parametrize(
    "text", ["0", "-7", "7.0", "0.1", "1e-05", "0.00001", "1e+16", "1e16", "9223372036854775807"]
)
def test_a_text_that_a_program_writes_for_a_number_is_that_number(text: str) -> None:
    assert number_of_text(text) == (float(text) if set(text) & set(".e") else int(text))


def test_a_boolean_is_a_number_whatever_wrote_it() -> None:
    assert [number(value, "vip", BOOLEAN) for value in (True, "True", "1", 1)] == [1.0] * 4
    assert [number(value, "vip", BOOLEAN) for value in (False, "FALSE", "0", 0.0)] == [0.0] * 4
    assert math.isnan(number("NA", "vip", BOOLEAN))
    with pytest.raises(InvalidDataError, match=r"'vip': 'maybe' is not a number"):
        number("maybe", "vip", BOOLEAN)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([True, None]), BOOLEAN),
        (np.array([True, False]), BOOLEAN),
        (pd.Series([True, None], dtype="boolean"), BOOLEAN),
        (np.array([True, None], dtype=object), BOOLEAN),
        (pa.array([1, None]), NUMBER),
        (pa.array([None, None]), NUMBER),
        (pa.array([Decimal("1.10")]), NUMBER),
        (pa.array(["1"]).dictionary_encode(), TEXT),
        (np.array(["a", None], dtype=object), TEXT),
        (np.array([1, "a"], dtype=object), TEXT),
        (pa.array([dt.date(2013, 2, 1)]), TIME),
        (np.array(["2013-02-01"], dtype="datetime64[ns]"), TIME),
    ],
    # An array's repr may hold its address, which differs between the workers of a test run.
    ids=lambda case: case if isinstance(case, str) else type(case).__name__,
)
def test_the_type_of_a_column_is_found(values: object, kind: ColumnType) -> None:
    assert type_of(values) is kind


def test_columns_and_single_values_give_the_same_categories() -> None:
    held = {
        "arrow": pa.array([True, False, None, True]),
        "numpy": np.array([True, False, None, True], dtype=object),
    }
    held["pandas"] = pd.Series([True, False, None, True], dtype="boolean")
    for values in held.values():
        assert counts(values, BOOLEAN) == {"true": 2, "false": 1, None: 1}
        np.testing.assert_array_equal(numbers(values, "vip", BOOLEAN), [1, 0, np.nan, 1])
    assert counts(np.array([True, "True", 1, "1"], dtype=object), BOOLEAN) == {"true": 4}
