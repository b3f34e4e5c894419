"""A row is plain only where a closer look finds nothing to refuse or to mark, and is read as that would read it."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capstan.errors import InvalidRequestError
from capstan.features.values import ColumnType
from capstan.serving.familiarity import Familiarity
from capstan.serving.manifest import Column, Manifest
from capstan.serving.plain_rows import PlainRows
from capstan.serving.schema import MAX_ROWS, RequestSchema

MANIFEST = Manifest(
    system="toy",
    task="BinaryClassification",
    target="late",
    columns=(
        Column("distance", ColumnType.NUMBER, numeric=True, required=True, nullable=False, minimum=1),
        Column("temp", ColumnType.NUMBER, numeric=True, trained_minimum=-30.0, trained_maximum=40.0),
        Column("seats", ColumnType.NUMBER, numeric=True, allowed=frozenset({2, 4})),
        Column("rain", ColumnType.BOOLEAN, numeric=True, trained_minimum=0.0, trained_maximum=1.0),
        Column("carrier", ColumnType.TEXT, numeric=False, required=True, allowed=frozenset({"AA", "UA"})),
        Column("dest", ColumnType.TEXT, numeric=False),
        Column("plane", ColumnType.TEXT, numeric=False, nullable=False),
        Column("gate", ColumnType.NUMBER, numeric=False),
        Column("day", ColumnType.TIME, numeric=False, required=True),
        Column("stops", ColumnType.NUMBER, numeric=True),
        Column("wind", ColumnType.NUMBER, numeric=True, filled=False),
        Column("fog", ColumnType.BOOLEAN, numeric=True, filled=False),
        Column("crew", ColumnType.TEXT, numeric=False, filled=False),
        Column("wagon", ColumnType.TEXT, numeric=False, unquoted=True),
    ),
    keys={"id": "flight_id", "time": "hour", "sticky_by": "plane"},
)
KNOWN = {
    "wagon": {"7", "true"},
    "crew": set(),
    "dest": {"LAX", "SFO", None},
    "gate": {"7", "8"},
    "stops": {"0", "1"},
    "carrier": {"AA", "ZZ"},
}
PLAIN = {
    "distance": 100,
    "temp": 3.5,
    "seats": 4,
    "rain": True,
    "carrier": "AA",
    "dest": "LAX",
    "plane": "N1",
    "gate": "7",
    "day": "2013-02-01T00:00:00Z",
    "stops": 1,
    "wind": None,
    "fog": None,
    "crew": None,
    "wagon": "7",
    "flight_id": "f-1",
    "hour": "2013-02-01T05:00:00Z",
}
ROWS = PlainRows(MANIFEST, KNOWN)
SCHEMA = RequestSchema(MANIFEST)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 4, 7, 7.0, 2**63, -1, 0.5, 1e308, math.nan, math.inf, -math.inf, True]),
    st.sampled_from(
        [
            "",
            "AA",
            "ZZ",
            "LAX",
            "7",
            "7.0",
            "N1",
            "NA",
            "x" * 513,
            "x" * 8193,
            "2013-02-01T00:00:00Z",
            "true",
            "1899-01-01",
        ]
    ),
    st.sampled_from([["AA"], {"a": 1}]),
    st.floats(),
    st.text(max_size=3),
)
CHANGES = st.dictionaries(st.sampled_from([*PLAIN, "distanse", "rows"]), VALUES, max_size=3)
LEFT_OUT = st.sets(st.sampled_from([*PLAIN]), max_size=2)


def looked_at(row: dict[str, Any]) -> dict[str, Any] | None:
    """The row as those who look closely read it; None: they refuse or mark something."""
    read = copy.deepcopy(row)
    try:
        SCHEMA.check(read)
    except InvalidRequestError:
        return None
    return read if Familiarity(MANIFEST, KNOWN, lambda _: None).marks([read]) is None else None


def answered(row: dict[str, Any]) -> tuple[object, object]:
    """What a client is told of the row and its marks."""
    try:
        SCHEMA.check(row)
    except InvalidRequestError as error:
        return error.document(), None
    return row, Familiarity(MANIFEST, KNOWN, lambda _: None).marks([row])


@settings(max_examples=1500, deadline=None)
@given(CHANGES, LEFT_OUT)
def test_no_row_is_plain_in_which_a_closer_look_finds_something(
    changes: dict[str, Any], left_out: set[str]
) -> None:
    row = {name: value for name, value in {**PLAIN, **changes}.items() if name not in left_out}
    found, wanted = copy.deepcopy(row), answered(copy.deepcopy(row))
    if ROWS.of(found) is not None:
        assert found == looked_at(row)
        assert [*map(type, found.values())] == [*map(type, (looked_at(row) or {}).values())]
    # Whatever was read before the row turned out not to be plain: the answer is the same.
    assert repr(answered(found)) == repr(wanted)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"distance": 1.5},
        {"temp": 40},
        {"temp": None},
        {"dest": None},
        {"flight_id": None},
        {"rain": None},
    ],
    ids=str,
)
def test_a_row_as_training_saw_it_is_plain_and_stays_as_it_is(change: dict[str, Any]) -> None:
    row = {**PLAIN, **change}
    assert ROWS.of(row) == [{**PLAIN, **change}]
    assert ROWS.of({"rows": [row, PLAIN]}) == [row, PLAIN]
    assert ROWS.read(row) == ([row], True)
    assert ROWS.read({"rows": [row]}) == ([row], False)
    assert looked_at(row) == row


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [
        ("flight_id", 9_007_199_254_740_993, "9007199254740993"),
        ("rain", "True", True),
        ("rain", 0, False),
        ("gate", 7, "7"),
        ("gate", 8.0, "8"),
        ("day", "2013-02-01", "2013-02-01T00:00:00Z"),
    ],
)
def test_what_a_client_may_write_otherwise_is_read_and_plain(
    name: str, written: object, read: object
) -> None:
    assert ROWS.read({**PLAIN, name: written}) == ([{**PLAIN, name: read}], False)
    (row,) = ROWS.of({**PLAIN, name: written}) or ()
    assert (row[name], type(row[name])) == (read, type(read))
    assert row == {**PLAIN, name: read} == looked_at({**PLAIN, name: written})


@pytest.mark.parametrize("left_out", ["temp", "seats", "rain", "dest", "gate", "stops", "flight_id", "hour"])
def test_a_row_without_what_may_be_missing_is_plain(left_out: str) -> None:
    row = {name: value for name, value in PLAIN.items() if name != left_out}
    assert ROWS.of(row) == [row]
    assert ROWS.of({**row, "unknown": 1}) is None


@pytest.mark.parametrize("body", [None, [], "row", 7, {}, {"rows": []}, {"rows": {}}, {"rows": [7]}], ids=str)
def test_what_is_no_row_is_not_plain(body: object) -> None:
    assert ROWS.of(body) is None


def test_rows_beside_something_or_too_many_are_not_plain() -> None:
    assert ROWS.of({"rows": [PLAIN], "other": 1}) is None
    assert ROWS.of({"rows": [PLAIN] * MAX_ROWS}) is not None
    assert ROWS.of({"rows": [PLAIN] * (MAX_ROWS + 1)}) is None


def test_a_column_named_rows_is_a_column() -> None:
    manifest = Manifest(
        "toy",
        "BinaryClassification",
        "late",
        (Column("rows", ColumnType.TEXT, numeric=False, nullable=False),),
    )
    rows = PlainRows(manifest, {})
    assert rows.of({"rows": "x"}) == [{"rows": "x"}]
    assert rows.of({"rows": [{"rows": "x"}]}) is None


def test_a_model_that_reads_no_column_takes_the_empty_row_alone() -> None:
    rows = PlainRows(Manifest("toy", "BinaryClassification", "late", ()), {})
    assert rows.of({}) == [{}]
    assert rows.of({"x": 1}) is None


def test_an_infinite_bound_lets_no_infinity_through() -> None:
    column = Column("x", ColumnType.NUMBER, numeric=True, minimum=-math.inf, trained_maximum=math.inf)
    rows = PlainRows(Manifest("toy", "BinaryClassification", "late", (column,)), {})
    assert rows.of({"x": 1.7e308}) is not None
    for value in (math.inf, -math.inf, math.nan):
        assert rows.of({"x": value}) is None


def test_a_name_with_quotes_or_braces_is_a_name() -> None:
    name = "a'b\"c{0}\\ \n"
    rows = PlainRows(
        Manifest("toy", "BinaryClassification", "late", (Column(name, ColumnType.TEXT, numeric=False),)), {}
    )
    assert rows.of({name: "x"}) == [{name: "x"}]


def test_two_thousand_columns_are_one_function() -> None:
    columns = tuple(
        Column(f"c{index}", ColumnType.NUMBER, numeric=True, required=True) for index in range(2000)
    )
    rows = PlainRows(Manifest("toy", "BinaryClassification", "late", columns), {})
    row = {column.name: 1.0 for column in columns}
    assert rows.of(row) == [row]
    assert rows.of({**row, "c1999": math.nan}) is None
