"""The request schema names the field, the value and the rule."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capstan.errors import InvalidRequestError
from capstan.features.values import MISSING_TEXTS, ColumnType
from capstan.serving.manifest import Column, Manifest
from capstan.serving.requests import parse
from capstan.serving.schema import MAX_ROWS, MOST_PROBLEMS, RequestSchema

MANIFEST = Manifest(
    system="toy",
    task="BinaryClassification",
    target="late",
    columns=(
        Column("distance", ColumnType.NUMBER, numeric=True, nullable=False, minimum=1, maximum=5000),
        Column("temp", ColumnType.NUMBER, numeric=True),
        Column(
            "carrier", ColumnType.TEXT, numeric=False, nullable=False, allowed=frozenset({"AA", "UA", "NO"})
        ),
        Column("dest", ColumnType.TEXT, numeric=False),
    ),
    keys={"id": "flight_id", "time": "scheduled_departure", "sticky_by": "tailnum"},
)
SCHEMA = RequestSchema(MANIFEST)
GOOD = {"distance": 100, "temp": -3.5, "carrier": "AA", "dest": "LAX", "flight_id": "2013-1-1-AA-1"}


def test_a_row_as_people_write_it_is_accepted() -> None:
    assert SCHEMA.rows_of(GOOD) == [GOOD]
    assert SCHEMA.rows_of({"rows": [GOOD, GOOD]}) == [GOOD, GOOD]


def test_a_column_that_only_another_version_reads_is_taken_and_left_out() -> None:
    schema = RequestSchema(replace(MANIFEST, ignored=frozenset({"gate", "dest"})))
    assert schema.rows_of({**GOOD, "gate": ["B7"]}) == [GOOD]
    assert schema.rows_of({"rows": [{**GOOD, "gate": 1}, GOOD]}) == [GOOD, GOOD]
    with pytest.raises(InvalidRequestError, match=r"gatee.*is not a column of this model"):
        schema.rows_of({**GOOD, "gatee": 1})


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
        pytest.param({"distance": math.nan}, "distance", "NaN", "finite", id="nan"),
        pytest.param({"temp": -math.inf}, "temp", "-Infinity", "finite", id="infinite"),
        pytest.param({"temp": {"a": 1}}, "temp", "an object of 1", "not an object", id="nested"),
        pytest.param({"carrier": "ZZ"}, "carrier", "ZZ", "allowed: AA, NO, UA", id="category"),
        pytest.param({"dest": ["x"]}, "dest", "a list of 1", "not a list", id="list"),
        pytest.param(
            {"dest": "x" * 9000}, "dest", "x" * 80 + "… (9000 characters)", "8192 characters", id="long"
        ),
        pytest.param({"flight_id": [1]}, "flight_id", "a list of 1", "a text or a whole number", id="key"),
        pytest.param({"flight_id": ""}, "flight_id", "", "must not be empty; leave it out", id="empty key"),
        pytest.param(
            {"flight_id": 1.8446744073709552e19},
            "flight_id",
            1.8446744073709552e19,
            "is beyond the whole numbers that JSON keeps digit by digit; write the id in quotes",
            id="key beyond 2^64",
        ),
        pytest.param(
            {"flight_id": 1.5}, "flight_id", 1.5, "write the id in quotes", id="key with a fraction"
        ),
    ],
)
def test_a_breach_names_field_value_and_rule(change: dict, field: str, value: object, rule: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SCHEMA.rows_of({**GOOD, **change})
    assert (caught.value.field, caught.value.value) == (field, value)
    assert rule in caught.value.rule


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="distance: is missing"):
        SCHEMA.rows_of({"carrier": "AA"})


def test_an_empty_id_is_named_beside_the_other_breaches() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SCHEMA.rows_of({**GOOD, "flight_id": "", "tier": 3})
    assert [problem["field"] for problem in caught.value.problems] == ["flight_id", "tier"]
    assert SCHEMA.rows_of({**GOOD, "flight_id": None})[0]["flight_id"] is None


STRICT = RequestSchema(
    Manifest(
        system="toy",
        task="BinaryClassification",
        target="late",
        columns=(
            Column("distance", ColumnType.NUMBER, numeric=True, required=True, nullable=False),
            Column("temp", ColumnType.NUMBER, numeric=True, required=True),
            Column("wind", ColumnType.NUMBER, numeric=True),
            Column(
                "share",
                ColumnType.NUMBER,
                numeric=True,
                trained_minimum=0.0,
                trained_maximum=1.0,
                refuse_outside=True,
            ),
        ),
        keys={"id": "flight_id", "time": "hour"},
    )
)


def test_a_column_that_training_never_missed_is_required_and_a_null_says_that_it_is_not_known() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        STRICT.rows_of({})
    assert [(problem["field"], problem["rule"]) for problem in caught.value.problems] == [
        ("distance", "is missing"),
        ("temp", "is missing; send null where it is not known"),
    ]
    STRICT.rows_of({"distance": 1, "temp": None})
    with pytest.raises(InvalidRequestError, match="distance: must not be null"):
        STRICT.rows_of({"distance": None, "temp": 1})


def test_all_breaches_of_all_rows_are_named_at_once() -> None:
    rows = [{"distance": "far", "temp": 1, "wnd": 3}, {"distance": 1, "temp": 1}, {"temp": True, "hour": "x"}]
    with pytest.raises(InvalidRequestError) as caught:
        STRICT.rows_of({"rows": rows})
    assert [problem["field"] for problem in caught.value.problems] == [
        "rows[0].distance",
        "rows[0].wnd",
        "rows[2].temp",
        "rows[2].hour",
        "rows[2].distance",
    ]


def test_what_is_not_expected_beside_rows_hides_no_breach_of_a_row() -> None:
    body = {"rows": [{"distance": "far", "temp": 1}], "mode": "fast", "trace": 1}
    with pytest.raises(InvalidRequestError) as caught:
        STRICT.rows_of(body)
    assert [problem["field"] for problem in caught.value.problems] == ["mode", "trace", "rows[0].distance"]


def test_a_thousand_bad_rows_give_a_bounded_answer() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        STRICT.rows_of({"rows": [{}] * MAX_ROWS})
    assert len(caught.value.problems) == MOST_PROBLEMS


@pytest.mark.parametrize(
    ("time", "rule"),
    [
        ("yesterday", "is no time of the calendar"),
        (1700000000, "must be a time written as RFC 3339"),
        ("10000-01-01T00:00:00Z", "is after 2199"),
    ],
)
def test_the_time_of_an_event_is_a_time(time: object, rule: str) -> None:
    row = {"distance": 1, "temp": 1}
    for good in ("2013-02-01T12:00:00Z", "2013-02-01 12:00", None):
        STRICT.rows_of({**row, "hour": good})
    with pytest.raises(InvalidRequestError, match=rule):
        STRICT.rows_of({**row, "hour": time})


def test_a_number_outside_the_range_of_training_is_refused_where_the_file_says_so() -> None:
    row = {"distance": 1, "temp": 1}
    STRICT.rows_of({**row, "share": 1})
    with pytest.raises(InvalidRequestError, match="share: 99 is above the most of training, 1"):
        STRICT.rows_of({**row, "share": 99})
    with pytest.raises(InvalidRequestError, match="share: -1 is below the least of training, 0"):
        STRICT.rows_of({**row, "share": -1})


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), ("1", "1"), (True, "true"), ("true", "true"), (1.5, "1.5"), ("a", "a")],
)
def test_a_text_that_stood_without_quotes_in_training_may_do_so_in_a_request(
    value: object, text: str
) -> None:
    column = Column("mark", ColumnType.TEXT, numeric=False, unquoted=True)
    schema = RequestSchema(Manifest("toy", "BinaryClassification", "late", (column,)))
    assert schema.rows_of({"mark": value}) == [{"mark": text}]
    for bad in ([1], {"a": 1}, math.nan):
        with pytest.raises(InvalidRequestError, match=r"mark: .* must be a text, not"):
            schema.rows_of({"mark": bad})


def test_a_value_in_a_column_that_training_never_had_filled_is_refused_where_the_file_refuses_outside() -> (
    None
):
    column = Column("wind", ColumnType.NUMBER, numeric=True, refuse_outside=True, filled=False)
    schema = RequestSchema(Manifest("toy", "BinaryClassification", "late", (column,)))
    schema.rows_of({"wind": None})
    with pytest.raises(InvalidRequestError, match="wind: 3 had no value in training; send null"):
        schema.rows_of({"wind": 3})


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"instances": [{"distance": 1}]}, "instances", "the form of TensorFlow Serving"),
        ({"dataframe_split": {"columns": [], "data": []}}, "dataframe_split", "a form of MLflow"),
        ({"dataframe_records": []}, "dataframe_records", "a form of MLflow"),
        ({"inputs": [], "id": "x"}, "inputs", "/v2/models/NAME/infer"),
        ({"data": {"ndarray": [[1]]}}, "data", "Seldon's first protocol"),
    ],
)
def test_the_form_of_another_system_is_told_ours(body: object, field: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        STRICT.rows_of(body)
    (problem,) = caught.value.problems
    assert problem["field"] == field
    assert words in problem["rule"]
    assert '{"distance": ..., "temp": ..., "wind": ..., ...} for one row' in problem["rule"]


def test_a_column_with_the_name_of_a_foreign_form_is_a_column() -> None:
    schema = schema_of(ColumnType.NUMBER, numeric=True)
    with pytest.raises(InvalidRequestError, match="is not a column"):
        schema.rows_of({"value": 1, "velue": 2})
    named = Manifest("toy", "BinaryClassification", "late", (Column("data", ColumnType.TEXT, numeric=False),))
    assert RequestSchema(named).rows_of({"data": "x"}) == [{"data": "x"}]


def test_a_key_that_features_read_keeps_both_rules() -> None:
    column = Column("value", ColumnType.TEXT, numeric=False)
    schema = RequestSchema(Manifest("toy", "BinaryClassification", "late", (column,), keys={"id": "value"}))
    with pytest.raises(InvalidRequestError, match="at most 512 characters"):
        schema.rows_of({"value": "x" * 600})
    with pytest.raises(InvalidRequestError, match="must be a text, not a number"):
        schema.rows_of({"value": 7})


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


def schema_of(kind: ColumnType, *, numeric: bool = False, **rules: Any) -> RequestSchema:
    column = Column("value", kind, numeric=numeric, **rules)
    return RequestSchema(Manifest("toy", "BinaryClassification", "late", (column,), keys={"id": "id"}))


@pytest.mark.parametrize(
    ("kind", "numeric", "sent", "read"),
    [
        (ColumnType.NUMBER, False, [7, 7.0, "7"], "7"),
        (ColumnType.NUMBER, False, ["NA", "", None], None),
        (ColumnType.BOOLEAN, False, [True, "True", "TRUE", 1, 1.0, "1"], "true"),
        (ColumnType.BOOLEAN, True, [False, "False", "false", 0, 0.0], False),
        (ColumnType.TEXT, False, ["", None], None),
        (ColumnType.TEXT, False, ["NA"], "NA"),
        (
            ColumnType.TIME,
            False,
            ["2013-02-01T05:00:00Z", "2013-02-01T00:00:00-05:00"],
            "2013-02-01T05:00:00Z",
        ),
    ],
)
def test_a_row_holds_the_category_or_number_that_training_saw(
    kind: ColumnType, numeric: bool, sent: list[object], read: object
) -> None:
    schema = schema_of(kind, numeric=numeric)
    for value in sent:
        (row,) = schema.rows_of({"value": value})
        assert (row["value"], type(row["value"])) == (read, type(read)), value


@pytest.mark.parametrize(
    ("kind", "numeric", "value", "rule"),
    [
        (
            ColumnType.TEXT,
            False,
            123,
            'must be a text, not a number, as it was in training: write "123" in quotes',
        ),
        (ColumnType.TEXT, False, 1.10, "without them 1.10 and 1.1 are one number, 1.1 here"),
        (ColumnType.TEXT, False, True, 'write "true" in quotes'),
        (ColumnType.NUMBER, False, True, "must be a number, not a boolean"),
        (ColumnType.NUMBER, True, "?", "must be a number, not a text; send null where it is not known"),
        (ColumnType.BOOLEAN, True, 2, "must be true or false, not a number"),
        (ColumnType.BOOLEAN, False, "maybe", "must be true or false, not a text"),
        (ColumnType.TIME, False, "yesterday", "must be a day or a moment, such as 2013-02-01"),
        (ColumnType.TIME, False, "20130201", "must be a day or a moment, such as 2013-02-01"),
        (ColumnType.TIME, False, "0001-01-01T00:00:00+05:00", "must be a day or a moment"),
        (ColumnType.TIME, False, 20130201, "must be a day or a moment, such as 2013-02-01"),
    ],
)
def test_a_value_of_another_type_than_training_saw_is_refused(
    kind: ColumnType, numeric: bool, value: object, rule: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        schema_of(kind, numeric=numeric).rows_of({"value": value})
    assert rule in caught.value.rule
    assert (caught.value.field, caught.value.value) == ("value", value)


@pytest.mark.parametrize(
    ("kind", "allowed", "sent", "refused"),
    [
        (ColumnType.NUMBER, {"1", "2"}, [1, 2.0, "1"], 3),
        (ColumnType.NUMBER, {"0.5"}, [0.5, "0.5"], 0.25),
        (ColumnType.BOOLEAN, {"true"}, [True, "True", 1], False),
        (ColumnType.TEXT, {"00123"}, ["00123"], "123"),
    ],
)
def test_allowed_values_are_compared_by_the_type_of_the_column(
    kind: ColumnType, allowed: set[str], sent: list[object], refused: object
) -> None:
    schema = schema_of(kind, allowed=frozenset(allowed))
    for value in sent:
        schema.rows_of({"value": value})
    with pytest.raises(InvalidRequestError, match="is not allowed"):
        schema.rows_of({"value": refused})


def test_an_id_is_text_however_large_its_number_is() -> None:
    (row,) = schema_of(ColumnType.TEXT).rows_of({"value": "a", "id": 9_007_199_254_740_993})
    assert row["id"] == "9007199254740993"
    assert schema_of(ColumnType.TEXT).rows_of({"value": "a", "id": None})[0]["id"] is None


def test_checking_a_row_takes_microseconds() -> None:
    """The goal is 10 µs for a dozen columns; the bound leaves room for a busy machine."""
    columns = tuple(
        Column(f"c{i}", ColumnType.TEXT, numeric=False)
        if i % 2
        else Column(f"c{i}", ColumnType.NUMBER, numeric=True, minimum=0 if i % 4 == 0 else None)
        for i in range(12)
    )
    schema = RequestSchema(Manifest("toy", "BinaryClassification", "late", columns))
    row = {f"c{i}": 1.5 if i % 2 == 0 else "AA" for i in range(12)}
    best = math.inf
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(200):
            schema.check(row)
        best = min(best, (time.perf_counter() - started) / 200)
    assert best < 30e-6


@pytest.mark.parametrize("said", [None, *sorted(MISSING_TEXTS)], ids=repr)
@pytest.mark.parametrize(
    ("kind", "numeric"),
    [
        (ColumnType.TEXT, False),
        (ColumnType.NUMBER, True),
        (ColumnType.NUMBER, False),
        (ColumnType.BOOLEAN, True),
        (ColumnType.BOOLEAN, False),
        (ColumnType.TIME, False),
    ],
)
def test_what_says_that_there_is_no_value_is_as_the_docs_tell(
    kind: ColumnType, numeric: bool, said: str | None
) -> None:
    schema = RequestSchema(
        Manifest("toy", "BinaryClassification", "late", (Column("c", kind, numeric=numeric),))
    )
    if kind is ColumnType.NUMBER and numeric and said is not None:
        with pytest.raises(InvalidRequestError, match="must be a number, not a text; send null"):
            schema.rows_of({"c": said})
        return
    is_category = kind is ColumnType.TEXT and bool(said)
    assert schema.rows_of({"c": said}) == [{"c": said if is_category else None}]
    docs = (Path(__file__).parents[3] / "platform/docs/serving-api.md").read_text()
    assert f"`{json.dumps(said)}`" in docs
