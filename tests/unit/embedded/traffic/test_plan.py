"""Claims about what traffic sends when: at a steady rate, with new ids, changed as asked for, the same for a seed."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest

from capstan.embedded.traffic.changes import Changes, read_changes
from capstan.embedded.traffic.plan import Case, KeyColumns, PlannedRequest, RecordedRequest, plan_traffic
from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = {
    "temp": ColumnType.NUMBER,
    "carrier": ColumnType.TEXT,
    "open": ColumnType.BOOLEAN,
    "a=b": ColumnType.NUMBER,
}
ROWS = tuple(
    RecordedRequest((Case({"temp": float(number), "carrier": "AA"}, number % 2 == 0),), f"key-{number}")
    for number in range(5)
)


def planned(
    recorded: tuple[RecordedRequest, ...] = ROWS,
    keys: KeyColumns = KeyColumns("id", "at"),  # noqa: B008 - frozen
    changes: Changes = Changes(),  # noqa: B008 - frozen
    *,
    rate: float = 10,
    length: timedelta | None = timedelta(seconds=1),
    start: datetime = START,
    seed: int = 0,
) -> list[PlannedRequest]:
    found = plan_traffic(
        recorded,
        keys,
        changes,
        rate=rate,
        length=length,
        start=start,
        rng=np.random.default_rng(seed),
    )
    return list(itertools.islice(found, 1000))


def body(request: PlannedRequest) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(request.prediction.body)
    return found


def changed(row: dict[str, Any], *, shift: tuple[str, ...] = (), missing: tuple[str, ...] = ()) -> Any:
    return read_changes(shift, missing, COLUMNS).of(row, rng=np.random.default_rng(0))


def test_requests_are_due_at_the_rate_for_the_length() -> None:
    assert [request.due for request in planned()] == pytest.approx([number / 10 for number in range(10)])


def test_without_a_length_there_is_no_end() -> None:
    assert len(planned(length=None)) == 1000


def test_each_pass_sends_every_row_once_in_an_order_of_its_own() -> None:
    sent = [body(request)["temp"] for request in planned(length=timedelta(seconds=20))]
    passes = [sent[first : first + 5] for first in range(0, 200, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_ids_are_new_in_every_request_and_in_every_run() -> None:
    first, second = planned(), planned(start=START + timedelta(seconds=1))
    ids = [body(request)["id"] for request in (*first, *second)]
    assert len(set(ids)) == 20
    assert [request.ids for request in first] == [(body(request)["id"],) for request in first]


def test_a_row_is_dated_with_the_moment_at_which_it_is_due() -> None:
    assert [body(request)["at"] for request in planned()[:2]] == [
        "2026-03-01T12:00:00+00:00",
        "2026-03-01T12:00:00.100000+00:00",
    ]


def test_without_key_columns_a_row_holds_what_the_table_holds() -> None:
    request = planned(keys=KeyColumns())[0]
    assert set(body(request)) == {"temp", "carrier"}
    assert request.ids == (None,)


def test_users_keep_their_keys() -> None:
    for request in planned():
        assert request.prediction.key == f"key-{body(request)['temp']:.0f}"


def test_rows_of_a_group_go_together_and_share_a_new_name() -> None:
    group = (RecordedRequest((Case({"temp": 1.0}, 1.0), Case({"temp": 2.0}, 0.0)), ""),)
    requests = planned(group, KeyColumns("id", None, "hour"))
    rows = [body(request)["rows"] for request in requests]
    assert all([row["temp"] for row in pair] == [1.0, 2.0] for pair in rows)
    assert all(pair[0]["hour"] == pair[1]["hour"] for pair in rows)
    assert len({pair[0]["hour"] for pair in rows}) == 10
    assert len({row["id"] for pair in rows for row in pair}) == 20


def test_the_same_seed_sends_the_same_bytes_and_another_seed_does_not() -> None:
    assert planned(seed=3) == planned(seed=3)
    assert planned(seed=3) != planned(seed=4)


def test_labels_are_those_of_the_rows_before_any_change() -> None:
    for request in planned(changes=read_changes(["temp=+1"], [], COLUMNS)):
        (case,) = request.cases
        assert body(request)["temp"] == case.row["temp"] + 1
        assert case.label == (case.row["temp"] % 2 == 0)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        pytest.param("temp=+10", {"temp": 17.0}, id="plus"),
        pytest.param("temp=-10", {"temp": -3.0}, id="minus"),
        pytest.param("temp=*1.5", {"temp": 10.5}, id="times"),
        pytest.param("temp=3", {"temp": 3.0}, id="a number"),
        pytest.param("carrier=XX", {"carrier": "XX"}, id="a text"),
        pytest.param("open=false", {"open": False}, id="a boolean"),
        pytest.param("a=b=+1", {"a=b": 2.0}, id="a name with the sign in it"),
    ],
)
def test_a_shift_changes_its_column(shift: str, expected: dict[str, Any]) -> None:
    row = {"temp": 7.0, "carrier": "AA", "open": True, "a=b": 1.0}
    assert changed(row, shift=(shift,)) == {**row, **expected}


def test_a_missing_value_stays_missing_under_a_shift() -> None:
    assert changed({"temp": None}, shift=("temp=+10", "temp=*2"))["temp"] is None


def test_shifts_follow_each_other() -> None:
    assert changed({"temp": 1.0}, shift=("temp=+1", "temp=*10"))["temp"] == 20


def test_a_share_of_the_values_goes_missing() -> None:
    changes, rng = read_changes([], ["temp=0.2"], COLUMNS), np.random.default_rng(0)
    gone = sum(changes.of({"temp": 1.0}, rng=rng)["temp"] is None for _ in range(2000))
    assert 330 < gone < 470


@pytest.mark.parametrize(
    ("shift", "missing", "words"),
    [
        pytest.param("temp", "", "--shift temp: write a column, =", id="no sign"),
        pytest.param(
            "heat=+1", "", "'heat' is no column of a request; they are temp, carrier", id="no column"
        ),
        pytest.param("temp=hot", "", "temp is a column of numbers", id="a text for a number"),
        pytest.param("temp=inf", "", "temp is a column of numbers", id="an infinite number"),
        pytest.param("carrier=+1", "", "carrier is a column of texts", id="a sum of a text"),
        pytest.param("open=maybe", "", "open is true or false", id="no boolean"),
        pytest.param("", "temp=2", "'2' is no share", id="a share above 1"),
        pytest.param("", "temp=nan", "'nan' is no share", id="a share that is no number"),
        pytest.param("", "heat=0.1", "'heat' is no column", id="no column to miss"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(shift: str, missing: str, words: str) -> None:
    with pytest.raises(InvalidDataError, match=r"--(shift|missing)") as refused:
        read_changes([shift] if shift else [], [missing] if missing else [], COLUMNS)
    assert words in str(refused.value)
