"""Features from events hold what was known at the moment of each row, and say what is wrong with the events."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from event_example import AGGREGATES, PAYMENTS, Rows, at, document, features, micros, payment, plain, write
from hypothesis import given, settings
from hypothesis import strategies as st

from capstan.data import extract
from capstan.domain.event_windows import Event, aggregated
from capstan.errors import InvalidDataError
from capstan.spec import parse


def test_each_function_sees_the_events_of_its_window(tmp_path: Path) -> None:
    payments = [payment(0, 5.0, shop="b"), payment(10, 2.0), payment(15, None, shop="c"), payment(40, 9.0)]
    found = features(tmp_path, payments, [18])
    assert {name: found[name][0] for name in (one["name"] for one in AGGREGATES)} == {
        "n": 3.0,
        "total": 7.0,
        "average": 3.5,
        "least": 2.0,
        "most": 5.0,
        "shops": 3.0,
        "last_amount": 2.0,
        "last_shop": "c",
        "age": 3.0,
        "n_short": 1.0,
    }


def test_only_events_from_before_the_moment_count_and_none_older_than_the_window(tmp_path: Path) -> None:
    found = features(tmp_path, [payment(10)], [10, 10.000001, 30, 30.000001])
    assert found["n"] == [0.0, 1.0, 1.0, 0.0]


def test_an_event_that_was_not_known_yet_does_not_count(tmp_path: Path) -> None:
    payments = [payment(10, known=at(15)), payment(11, known=None)]
    found = features(tmp_path, payments, [14.9, 15, 30, 31], availableAt="known")
    assert found["n"] == [0.0, 1.0, 1.0, 0.0]
    found = features(tmp_path, payments, [12, 14, 15, 16], delay="4s")
    assert found["n"] == [0.0, 1.0, 2.0, 2.0]


def test_without_events_counts_and_sums_are_zero_and_others_missing(tmp_path: Path) -> None:
    found = features(tmp_path, [payment(0, customer="bob"), payment(0, customer=None)], [10])
    assert [found[name][0] for name in ("n", "total", "shops", "n_short")] == [0.0, 0.0, 0.0, 0.0]
    missing = ("average", "least", "most", "last_amount", "last_shop", "age")
    assert [found[name][0] for name in missing] == [None] * 6


def test_a_row_of_nobody_has_no_value(tmp_path: Path) -> None:
    write(tmp_path / "payments.jsonl", [payment(0)])
    order = {"id": "o1", "customer": None, "ordered": at(5), "late": True}
    write(tmp_path / "orders.jsonl", [order, {**order, "id": "o2", "customer": "anna"}])
    table = extract(parse(document(), base_dir=tmp_path), as_of=None, labels_as_of=None)
    assert table["n"].to_pylist() == [None, 1.0]


def test_ids_are_compared_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "payments.csv").write_text(f"who,paid,amount,shop\n007,{at(0)},1,a\n7,{at(1)},1,a\n")
    (tmp_path / "orders.csv").write_text(f"id,customer,ordered,late\n1,007,{at(5)},true\n2,7,{at(5)},false\n")
    made = document(key="who")
    for source in made["spec"]["data"]["sources"]:
        source["csv"] = {"path": f"{source['name']}.csv"}
        del source["jsonLines"]
    table = extract(parse(made, base_dir=tmp_path), as_of=None, labels_as_of=None)
    assert table["customer"].to_pylist() == ["007", "7"]
    assert table["n"].to_pylist() == [1.0, 1.0]
    assert table["age"].to_pylist() == [5.0, 4.0]


def test_a_later_event_changes_no_earlier_row(tmp_path: Path) -> None:
    early = [payment(second, 0.1 * second) for second in range(10)]
    late = [payment(second, 7.7) for second in range(50, 60)]
    moments = [3, 5.5, 9, 20]
    assert features(tmp_path, early, moments) == features(tmp_path, early + late, moments)


def test_cases_of_one_table_are_the_events_of_others(tmp_path: Path) -> None:
    """Without a join: the source of the cases is that of the events, dated by the label's moment."""
    rows = [
        {"id": f"f{n}", "plane": "p", "ordered": at(n), "landed": at(n + 2.5), "delay": n, "late": n > 2}
        for n in range(5)
    ]
    write(tmp_path / "orders.jsonl", rows)
    made = document(
        [{"name": "before", "function": "LastValue", "column": "delay", "window": "1h"}],
        source="orders",
        entity="plane",
        time="landed",
    )
    made["spec"]["data"]["sources"] = made["spec"]["data"]["sources"][:1]
    del made["spec"]["data"]["query"]
    table = extract(parse(made, base_dir=tmp_path), as_of=None, labels_as_of=None)
    assert table["before"].to_pylist() == [None, None, None, 0.0, 1.0]


def test_a_window_longer_than_the_history_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        features(tmp_path, [payment(0)], [5])
    assert "the window of 'n', 0:00:20, is longer than the history of 'payments'" in caplog.text
    assert "'n_short'" not in caplog.text


@pytest.mark.parametrize(
    ("payments", "change", "told"),
    [
        pytest.param(
            [payment(0)],
            {"time": "payd"},
            "data.events[0].time: .*no column 'payd'; did you mean 'paid'",
            id="time",
        ),
        pytest.param([payment(0)], {"key": "who"}, "data.events[0].key: .*no column 'who'", id="key"),
        pytest.param(
            [payment(0)],
            {"aggregates": [{"name": "n", "function": "Sum", "column": "amonut", "window": "1d"}]},
            "aggregates[0].column: .*did you mean 'amount'",
            id="column",
        ),
        pytest.param([payment(0), payment(0, paid=None)], {}, "1 events have no 'paid'", id="undated"),
        pytest.param([payment(0, paid="soon")], {}, "values of column 'paid' are no moments", id="no moment"),
        pytest.param([payment(0, amount="much")], {}, "'amount' is VARCHAR, .*of numbers", id="no number"),
        pytest.param(
            [payment(0, amount=1e20)], {}, "1 values of column 'amount' are beyond 4398046511104", id="huge"
        ),
    ],
)
def test_wrong_events_are_refused_by_field(
    tmp_path: Path, payments: Rows, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidDataError, match=told.replace("[0]", r"\[0\]")):
        features(tmp_path, payments, [5], **change)


def test_an_entity_that_the_query_does_not_give_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"no column 'who', which data.events\[0\].entity needs"):
        features(tmp_path, [payment(0)], [5], entity="who", key="customer")


@settings(max_examples=12, deadline=None)
@given(payments=PAYMENTS, moments=st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_the_query_gives_the_bits_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, payments: Rows, moments: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("events")
    # A column without any value has no type.
    rows = [*payments, payment(1000, 1.0), payment(1000, 1.0)]
    found = features(folder, rows, [moment / 4 for moment in moments], availableAt="known")
    events = [
        Event(micros(row["paid"]), micros(row["known"]), (plain(row["amount"]), row["shop"])) for row in rows
    ]
    for index, moment in enumerate(moments):
        asked = micros(at(moment / 4))
        for one in AGGREGATES:
            window = int(str(one["window"])[:-1]) * 1_000_000
            there = [event for event in events if event.counts(asked, window)]
            place = {"amount": 0, "shop": 1}.get(str(one.get("column")))
            wanted = aggregated(str(one["function"]), there, place, asked)
            assert repr(found[str(one["name"])][index]) == repr(wanted), one["name"]
