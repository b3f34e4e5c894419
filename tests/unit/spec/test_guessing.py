"""What is guessed of a table, from nothing but what its columns hold and are called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capstan.domain import payload_limits
from capstan.errors import InvalidSpecError
from capstan.spec import parse
from capstan.spec.guessing import EARLIEST, ColumnProfile, Later, Length, TableProfile, Wishes, guess

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 1000


def numbers(name: str, **more: Any) -> ColumnProfile:
    known = {"distinct": 900, "low": -1.0, "high": 9.0, "usual_low": 0.0, "usual_high": 8.0, **more}
    return ColumnProfile(name, "Number", ROWS, **known)


def texts(name: str, **counts: int) -> ColumnProfile:
    return ColumnProfile(name, "Text", ROWS, distinct=len(counts), counts=counts)


def moments(name: str, first: datetime, days: int, missing: int = 0) -> ColumnProfile:
    last = first + timedelta(days=days)
    return ColumnProfile(name, "Time", ROWS, missing=missing, distinct=ROWS - missing, first=first, last=last)


LABEL = texts("y", no=700, yes=300)
BEGAN = moments("opened", NOW - timedelta(days=200), 190)


def spec_of(
    *columns: ColumnProfile,
    later: tuple[Later, ...] = (),
    lengths: tuple[Length, ...] = (),
    target: str = "y",
    **wishes: Any,
) -> Any:
    table = TableProfile("rows.csv", "csv", ROWS, columns, later, lengths)
    found = guess(table, target, now=NOW, wishes=Wishes(**wishes))
    parse(found.document, base_dir=Path())
    assert all(one.reason for one in found.guesses)
    return found.document["spec"]


def test_what_is_before_all_others_is_when_the_row_began_and_what_closes_it_dates_its_label() -> None:
    closed = moments("closed", NOW - timedelta(days=199), 195)
    after = Later("opened", "closed", 1.0, timedelta(days=4, hours=3))
    data = spec_of(closed, BEGAN, numbers("a"), LABEL, later=(after,))["data"]
    assert data["keys"] == {"time": "opened"}
    assert data["label"] == {"column": "y", "availableAt": "closed", "maximumDelay": "5d"}
    assert data["split"] == {"byTime": {"validation": "19d", "test": "38d"}}


@pytest.mark.parametrize(
    "column",
    [
        moments("some", NOW - timedelta(days=200), 190, missing=3),
        moments("short", NOW - timedelta(days=20), 2),
        moments("future", NOW - timedelta(days=20), 90),
        moments("old", datetime(1867, 10, 23, tzinfo=UTC), 40_000),
    ],
    ids=lambda column: column.name,
)
def test_times_that_rows_cannot_be_parted_by_are_no_key_and_no_feature(column: ColumnProfile) -> None:
    assert EARLIEST == payload_limits.EARLIEST
    spec = spec_of(column, numbers("a"), LABEL)
    assert "keys" not in spec["data"]
    assert [feature["name"] for feature in spec["features"]] == ["a"]


def test_a_unique_number_is_an_id_by_its_name_alone() -> None:
    assert spec_of(numbers("customerId", distinct=ROWS, is_whole=True), numbers("a"), LABEL)["data"][
        "keys"
    ] == {"id": "customerId"}
    tail = ColumnProfile("tailnum", "Text", ROWS, distinct=ROWS, counts={"N10156": 1})
    assert spec_of(tail, numbers("a"), LABEL)["data"]["keys"] == {"id": "tailnum"}
    assert "keys" not in spec_of(numbers("income", distinct=ROWS, is_whole=True), LABEL)["data"]
    assert "keys" not in spec_of(numbers("aluminum", distinct=ROWS, is_whole=True), LABEL)["data"]


def test_what_a_part_of_an_answer_is_called_is_neither_the_id_nor_a_feature() -> None:
    by_request = ColumnProfile("request_id", "Text", ROWS, distinct=ROWS, counts={"a": 1})
    counter = numbers("row", distinct=ROWS, is_whole=True, low=1.0, high=float(ROWS))
    number = numbers("customer_no", distinct=ROWS, is_whole=True)
    spec = spec_of(counter, by_request, numbers("a"), LABEL)
    assert "keys" not in spec["data"]
    assert [feature["name"] for feature in spec["features"]] == ["a"]
    assert spec_of(by_request, number, numbers("a"), LABEL)["data"]["keys"] == {"id": "customer_no"}


def features_of(*columns: ColumnProfile, **more: Any) -> list[str]:
    return [feature["name"] for feature in spec_of(*columns, numbers("a"), LABEL, **more)["features"]]


@pytest.mark.parametrize(
    ("column", "is_feature"),
    [
        pytest.param(numbers("ID", distinct=920, is_whole=True), False, id="an_id_of_few_rows_each"),
        pytest.param(ColumnProfile("user_no", "Text", ROWS, distinct=700), False, id="texts"),
        pytest.param(numbers("shop_id", distinct=40, is_whole=True), True, id="an_id_of_many_rows_each"),
        pytest.param(numbers("no", distinct=920, is_whole=True), True, id="nitric_oxide"),
        pytest.param(numbers("income", distinct=920, is_whole=True), True, id="no_name_of_an_id"),
    ],
)
def test_an_id_that_comes_back_in_a_few_rows_is_no_feature(column: ColumnProfile, is_feature: bool) -> None:
    assert (column.name in features_of(column)) is is_feature
    table = TableProfile("rows.csv", "csv", ROWS, (column, numbers("a"), LABEL))
    told = [one.reason for one in guess(table, "y", now=NOW).guesses if one.value == f"without {column.name}"]
    assert [f"data.keys.stickyBy: {column.name}" in reason for reason in told] == [True] * (not is_feature)


def test_how_long_it_took_is_no_feature_unless_it_was_over_before_the_row() -> None:
    began, ended = (moments(name, NOW - timedelta(days=200), 190) for name in ("began", "ended"))
    took = numbers("took")
    lengths = (Length("took", "began", "ended", "days"),)
    assert "took" not in features_of(began, ended, took, lengths=lengths, time="began")
    assert "took" in features_of(began, ended, took, lengths=lengths, time="ended")
    before = (Later("ended", "seen", 1.0, timedelta(days=3)),)
    seen = moments("seen", NOW - timedelta(days=200), 190)
    assert "took" in features_of(began, ended, seen, took, lengths=lengths, later=before, time="seen")


def test_what_is_kept_is_a_feature_whatever_speaks_against_it() -> None:
    names = ColumnProfile("name", "Text", ROWS, distinct=900, counts={"a": 2})
    number = numbers("ID", distinct=ROWS, is_whole=True)
    assert features_of(names, number) == ["a"]
    assert features_of(names, number, kept=frozenset({"name", "ID"})) == ["name", "ID", "a"]
    with pytest.raises(InvalidSpecError, match="did you mean 'name'"):
        features_of(names, kept=frozenset({"nam"}))
    with pytest.raises(InvalidSpecError, match="is to be predicted, so it cannot be kept"):
        features_of(names, kept=frozenset({"y"}))


def test_an_infinite_label_is_named_by_its_row() -> None:
    odd = ColumnProfile("y", "Text", ROWS, distinct=900, infinite=(17, "Infinity"))
    with pytest.raises(
        InvalidSpecError, match=r"'y' holds numbers, but 'Infinity' in row 17.*leave the cell"
    ):
        spec_of(numbers("a"), odd)
    other = ColumnProfile("b", "Text", ROWS, distinct=900, infinite=(3, "inf"))
    assert features_of(other) == ["a"]


def test_a_rollout_by_requests_is_written_only_where_it_would_count_days() -> None:
    analysis = {"name": "quality", "decide": "UnlessWorse", "blocks": "Requests"}
    assert spec_of(BEGAN, numbers("a"), LABEL, by_requests=True)["rollout"] == {"analyses": [analysis]}
    assert "rollout" not in spec_of(numbers("a"), LABEL, by_requests=True)
    assert "rollout" not in spec_of(BEGAN, numbers("a"), LABEL)


def test_a_text_that_hardly_repeats_is_no_category() -> None:
    names = ColumnProfile("name", "Text", ROWS, distinct=900, counts={"a": 2})
    assert [one["name"] for one in spec_of(names, numbers("a"), LABEL)["features"]] == ["a"]


def test_numbers_that_are_never_below_zero_are_checked() -> None:
    spec = spec_of(numbers("a"), numbers("price", low=0.5), LABEL)
    assert spec["data"]["checks"] == [{"column": "price", "min": 0}]


def test_the_largest_error_of_a_number_is_the_width_of_the_usual_labels() -> None:
    spec = spec_of(numbers("a"), numbers("y", usual_low=10.0, usual_high=133.0))
    assert spec["objective"]["losses"] == {"maximumError": 120}


def test_what_a_person_says_is_no_guess() -> None:
    spec = spec_of(BEGAN, numbers("a"), LABEL, time="", left_out={})
    assert "keys" not in spec["data"]
    with pytest.raises(InvalidSpecError, match="did you mean 'opened'"):
        spec_of(BEGAN, numbers("a"), LABEL, time="openned")


def test_a_table_of_nothing_but_names_is_refused() -> None:
    names = ColumnProfile("name", "Text", ROWS, distinct=ROWS, counts={"a": 1})
    other = ColumnProfile("street", "Text", ROWS, distinct=ROWS, counts={"a": 1})
    with pytest.raises(
        InvalidSpecError, match=r"can be a feature: name, street: 1,000 different texts.*\. Give"
    ):
        spec_of(names, other, LABEL)


def of_many(name: str, counts: dict[str, int], distinct: int) -> ColumnProfile:
    """The 101 most frequent are known, as of a file that was read."""
    return ColumnProfile(name, "Text", ROWS, distinct=distinct, counts=counts)


def test_of_thousands_of_categories_the_most_frequent_get_columns() -> None:
    """One-hot columns of 4,044 tail numbers and 230,000 flights took 20 GB of memory."""
    counts = {f"N{number}": 400 - number for number in range(101)}
    (feature, _) = spec_of(of_many("plane", counts, 400), numbers("a"), LABEL)["features"]
    assert feature == {"name": "plane", "categorical": {"minFrequency": 301}}
    assert sum(count >= 301 for count in counts.values()) == 100
    few = {text: count for text, count in counts.items() if count > 350}
    (feature, _) = spec_of(of_many("plane", few, len(few)), numbers("a"), LABEL)["features"]
    assert feature == {"name": "plane", "categorical": {}}


def test_very_many_categories_that_are_all_rare_are_no_feature_unless_kept() -> None:
    even = of_many("street", {f"S{number}": 3 for number in range(101)}, 300)
    assert features_of(even) == ["a"]
    (kept, _) = spec_of(even, numbers("a"), LABEL, kept=frozenset({"street"}))["features"]
    assert kept == {"name": "street", "categorical": {"encode": "Hashing"}}


@pytest.mark.parametrize(
    ("first", "parts"),
    [
        (NOW - timedelta(days=200, hours=3), ["Hour", "Weekday"]),
        (NOW - timedelta(days=200), ["Weekday", "Month"]),
    ],
)
def test_a_moment_is_kept_by_its_parts(first: datetime, parts: list[str]) -> None:
    booked = moments("booked", first, 100, missing=7)
    assert [one["name"] for one in spec_of(BEGAN, booked, numbers("a"), LABEL)["features"]] == ["a"]
    kept = spec_of(BEGAN, booked, numbers("a"), LABEL, kept=frozenset({"booked", "opened"}))["features"]
    assert kept[1] == {"name": "booked", "date": {"parts": parts, "cyclic": True}}
    assert kept[0]["name"] == "opened"
    assert "date" in kept[0]


def test_prose_is_left_out_and_kept_by_its_words() -> None:
    counts = {f"the {number} jumps over it": 1 for number in range(600)}
    prose = ColumnProfile("remark", "Text", ROWS, distinct=900, counts=counts)
    assert [one["name"] for one in spec_of(BEGAN, prose, numbers("a"), LABEL)["features"]] == ["a"]
    kept = spec_of(BEGAN, prose, numbers("a"), LABEL, kept=frozenset({"remark"}))["features"]
    assert kept[0] == {"name": "remark", "text": {}}
