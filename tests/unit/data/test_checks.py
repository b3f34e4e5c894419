"""Rules that rows break are reported with their rows; features from the future are refused; parts share no row."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.data import check_table, extract, find_leaks, refuse_leaks, request_schema
from capstan.data.split import Parts, by_time, random, stratified
from capstan.errors import InvalidDataError, LeakageError
from capstan.spec import MLSystem, parse
from capstan.spec.data import Leaks

FIRST = datetime(2024, 3, 1, tzinfo=UTC)
MARCH = datetime(2013, 3, 1, 5, tzinfo=UTC)


def checked(shop: Any, *checks: dict[str, Any]) -> tuple[pa.Table, MLSystem]:
    system = shop.system(checks=list(checks))
    return extract(system, as_of=None, labels_as_of=None), system


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "min": (
        {"column": "price", "min": 12},
        "price: 2 rows: is below the minimum 12 (o000 has 10, o001 has 11)",
    ),
    "max": ({"column": "temp", "max": 57}, "temp: 1 rows: is above the maximum 57 (o039 has 58.5)"),
    "allowed": (
        {"column": "shop", "allowed": ["north"]},
        "shop: 20 rows: is not allowed; allowed: north (o001 has",
    ),
}


@pytest.mark.parametrize(("check", "text"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_rule_names_rows_and_values(check: dict[str, Any], text: str, shop: Any) -> None:
    table, system = checked(shop, check)
    with pytest.raises(InvalidDataError) as raised:
        check_table(table, system).require()
    assert text in str(raised.value)


def test_all_broken_rules_are_reported_at_once(shop: Any) -> None:
    table, system = checked(shop, *(check for check, _ in BROKEN.values()))
    assert len(check_table(table, system).violations) == 3


def test_one_broken_rule_is_told_in_the_singular(shop: Any) -> None:
    table, system = checked(shop, next(iter(BROKEN.values()))[0])
    with pytest.raises(InvalidDataError, match=r"^data\.checks: 1 rule is broken:"):
        check_table(table, system).require()


def test_missing_values_duplicates_and_text_for_numbers_are_found(shop: Any) -> None:
    table, system = checked(shop, {"column": "shop", "nullable": False})
    table = table.set_column(0, "id", pa.array(["a", "a", *table["id"].to_pylist()[2:]]))
    table = table.set_column(2, "shop", pa.array([None, *table["shop"].to_pylist()[1:]]))
    table = table.set_column(3, "price", pa.array(["cheap"] * len(table)))
    found = {violation.column: violation for violation in check_table(table, system).violations}
    assert found["shop"].ids == ("a",)
    assert (found["id"].rule, found["id"].rows) == ("must be unique", 2)
    assert "is Text, but feature 'price' is numeric" in found["price"].rule
    assert "`types` of its source" in found["price"].rule
    assert (found["price"].ids[2], found["price"].values[2]) == ("o002", "'cheap'")
    assert check_table(table, system).missing["shop"] == pytest.approx(1 / 40)


def test_text_that_the_query_made_of_a_number_is_told_with_rows_and_ways_out(shop: Any) -> None:
    query = "select orders.* replace (price || ' EUR' as price), 1 as temp from orders"
    system = shop.system(query=query, checks=[{"column": "price", "min": 1}])
    found = [
        str(each) for each in check_table(extract(system, as_of=None, labels_as_of=None), system).violations
    ]
    assert len(found) == 2
    assert "is Text and no Number, which min and max need" in found[0]
    assert "is Text, but feature 'price' is numeric" in found[1]
    assert all("o000 has '10 EUR'" in each and "try_cast" in each for each in found)


def test_a_column_that_holds_no_moments_is_told_with_rows_and_ways_out(shop: Any) -> None:
    document = shop.document()
    document["spec"]["features"] = [{"name": "shop", "date": {"parts": ["Hour"]}}]
    system = parse(document, base_dir=shop.folder)
    table = extract(system, as_of=None, labels_as_of=None)
    (told,) = [str(one) for one in check_table(table, system).violations if one.column == "shop"]
    assert "is Text, but feature 'shop' needs moments; state the column as Time under `types`" in told
    assert "o000 has " in told


def test_stale_and_small_tables_are_found(orders: MLSystem) -> None:
    table = extract(orders, as_of=None, labels_as_of=None)
    late = FIRST + timedelta(days=9)
    rules = [
        str(v)
        for v in check_table(table, orders, as_of=late, oldest=timedelta(days=7), least_rows=41).violations
    ]
    assert any("40 rows are fewer than 41" in rule for rule in rules)
    assert any("newest row" in rule for rule in rules)
    assert not check_table(table, orders, as_of=late, oldest=timedelta(days=8), least_rows=40).violations


def test_the_examples_own_features_pass_all_checks(flights: MLSystem) -> None:
    table = extract(flights, as_of=MARCH, labels_as_of=MARCH)
    check_table(table, flights, as_of=MARCH).require()
    assert find_leaks(table, flights, as_of=MARCH) == ()


@pytest.mark.parametrize("column", ["dep_delay", "arr_time", "air_time", "arr_delay"])
def test_what_is_known_after_departure_is_refused(
    column: str, with_feature: Callable[[str], MLSystem]
) -> None:
    system = with_feature(column)
    table = extract(system, as_of=MARCH, labels_as_of=MARCH)
    with pytest.raises(LeakageError, match=f"feature '{column}'"):
        refuse_leaks(table, system, as_of=MARCH)
    assert [leak.column for leak in find_leaks(table, system, as_of=MARCH)] == [column]


def test_the_label_in_disguise_is_refused_even_if_every_case_has_a_label(orders: MLSystem) -> None:
    rng = np.random.default_rng(5)
    truth = rng.random(2000) < 0.3
    table = pa.table(
        {
            "id": [str(index) for index in range(2000)],
            "ordered": pa.array([FIRST] * 2000, pa.timestamp("us", "UTC")),
            "shop": np.where(truth, "l", "p"),
            "price": np.where(truth, 5.0, np.where(rng.random(2000) < 0.5, 1.0, 9.0)),
            "temp": rng.random(2000),
            "late": truth,
        }
    )
    assert {leak.feature for leak in find_leaks(table, orders) if leak.is_certain} == {"shop", "price"}
    allowing = orders.spec.data.model_copy(update={"leaks": Leaks(allow=("shop", "price"))})
    system = orders.model_copy(update={"spec": orders.spec.model_copy(update={"data": allowing})})
    assert find_leaks(table, system) == ()


def test_a_strong_honest_feature_is_told_with_its_number_and_not_refused(orders: MLSystem) -> None:
    rng = np.random.default_rng(5)
    truth = rng.random(2000) < 0.3
    table = pa.table(
        {
            "id": [str(index) for index in range(2000)],
            "ordered": pa.array([FIRST] * 2000, pa.timestamp("us", "UTC")),
            "shop": rng.choice(["l", "p"], 2000),
            "price": np.where(truth, rng.normal(6.4, 1, 2000), rng.normal(3, 1, 2000)),
            "temp": rng.random(2000),
            "late": truth,
        }
    )
    (leak,) = refuse_leaks(table, orders)
    assert not leak.is_certain
    assert re.fullmatch(
        r"feature 'price' \(column 'price'\) alone tells the label with ROC-AUC 0\.99\d on 2,000 rows",
        str(leak),
    )


def test_a_refused_feature_comes_with_the_line_that_allows_it(orders: MLSystem) -> None:
    truth = np.arange(400) % 3 == 0
    table = pa.table(
        {
            "id": [str(index) for index in range(400)],
            "ordered": pa.array([FIRST] * 400, pa.timestamp("us", "UTC")),
            "shop": np.where(truth, "l", "p"),
            "price": np.ones(400),
            "temp": np.ones(400),
            "late": truth,
        }
    )
    with pytest.raises(
        LeakageError, match=r"alone tells every label of 400 rows.*leaks: \{allow: \[shop\]\}"
    ):
        refuse_leaks(table, orders)


def test_rows_from_before_labels_were_kept_are_no_leak(orders: MLSystem) -> None:
    """Neither the label nor the price was recorded in the first month."""
    rows = 1200
    early = np.arange(rows) < 400
    truth = np.random.default_rng(1).random(rows) < 0.4
    times = [FIRST + timedelta(hours=index) for index in range(rows)]
    table = pa.table(
        {
            "id": [str(index) for index in range(rows)],
            "ordered": pa.array(times, pa.timestamp("us", "UTC")),
            "shop": ["p"] * rows,
            "price": pa.array([None if old else 1.0 + index % 7 for index, old in enumerate(early)]),
            "temp": np.ones(rows),
            "late": pa.array([None if old else bool(one) for one, old in zip(truth, early, strict=True)]),
        }
    )
    assert find_leaks(table, orders) == ()


def test_parts_by_time_lie_one_after_another_and_count_local_days() -> None:
    times = np.arange("2013-01-01", "2013-04-01", np.timedelta64(1, "h"), dtype="datetime64[us]")
    until = datetime(2013, 3, 16, 4, tzinfo=UTC)
    parts = by_time(
        times, until=until, validation=timedelta(days=7), test=timedelta(days=14), zone="America/New_York"
    )
    # Midnight in New York is 05:00 UTC before 10 March and 04:00 after.
    assert times[parts.test[0]] == np.datetime64("2013-03-02T05:00")
    assert times[parts.test[-1]] == np.datetime64("2013-03-16T04:00")
    assert times[parts.validation[0]] == np.datetime64("2013-02-23T05:00")
    assert parts.validation[-1] + 1 == parts.test[0]
    assert parts.training[-1] + 1 == parts.validation[0]


def test_empty_part_is_refused_with_the_way_out() -> None:
    times = np.arange("2013-01-01", "2013-01-10", np.timedelta64(1, "h"), dtype="datetime64[us]")
    with pytest.raises(InvalidDataError, match=r"data\.split\.byTime: the part for training is empty"):
        by_time(
            times,
            until=datetime(2013, 1, 10, tzinfo=UTC),
            validation=timedelta(days=7),
            test=timedelta(days=14),
        )


@given(
    rows=st.integers(1, 300), shares=st.tuples(st.floats(0, 0.45), st.floats(0, 0.45)), seed=st.integers(0, 9)
)
def test_drawn_parts_share_no_row_and_lose_none(rows: int, shares: tuple[float, float], seed: int) -> None:
    labels = [index % 3 == 0 for index in range(rows)]
    validation, test = shares
    for parts in (
        random(rows, validation=validation, test=test, seed=seed),
        stratified(labels, validation=validation, test=test, seed=seed),
    ):
        assert sorted(np.concatenate([parts.training, parts.validation, parts.test]).tolist()) == list(
            range(rows)
        )
        assert len(parts.test) == pytest.approx(rows * test, abs=2)


def test_same_seed_draws_the_same_and_strata_keep_their_shares() -> None:
    labels = np.arange(1000) % 5 == 0
    parts = stratified(labels, validation=0.2, test=0.3, seed=3)
    for part in (parts.training, parts.validation, parts.test):
        assert labels[part].mean() == pytest.approx(0.2)
    again: Parts = stratified(labels, validation=0.2, test=0.3, seed=3)
    assert np.array_equal(parts.test, again.test)
    assert not np.array_equal(parts.test, stratified(labels, validation=0.2, test=0.3, seed=4).test)


def test_request_schema_holds_columns_bounds_and_known_categories(shop: Any) -> None:
    changed = shop.document(
        checks=[
            {"column": "price", "min": 1, "max": 50, "nullable": False},
            {"column": "shop", "allowed": ["north", "south", "west"]},
        ]
    )
    changed["spec"]["features"][0] = {"name": "shop", "categorical": {"unseen": "Refuse"}}
    changed["spec"]["features"][2] = {"name": "warmth", "column": "temp", "numeric": {"impute": "DropRow"}}
    system = parse(changed, base_dir=shop.folder)
    table = extract(system, as_of=None, labels_as_of=None)
    shop_, price, temp = request_schema(system, table)
    assert (shop_.name, shop_.kind, shop_.allowed, shop_.nullable) == (
        "shop",
        "categorical",
        ("north", "south"),
        True,
    )
    assert (price.name, price.kind, price.min, price.max, price.nullable) == (
        "price",
        "numeric",
        1,
        50,
        False,
    )
    assert (temp.name, temp.nullable) == ("temp", False)


def test_request_schema_tells_which_columns_training_never_had_filled(shop: Any) -> None:
    shop.write("weather.csv", [{**shop.weather(index), "temp": None} for index in range(shop.orders)])
    shop.write("orders.csv", [{**shop.order(index), "shop": None} for index in range(shop.orders)])
    table = extract(shop.system(), as_of=None, labels_as_of=None)
    filled = {schema.name: schema.filled for schema in request_schema(shop.system(), table)}
    assert filled == {"shop": False, "price": True, "temp": False}


def test_request_schema_tells_what_training_saw(shop: Any) -> None:
    shop.write("weather.csv", [shop.weather(index) for index in range(1, shop.orders)])
    table = extract(shop.system(), as_of=None, labels_as_of=None)
    column = {schema.name: schema for schema in request_schema(shop.system(), table)}
    assert {name: schema.required for name, schema in column.items()} == {
        "shop": True,
        "price": True,
        "temp": False,
    }
    prices = table["price"].to_pylist()
    assert (column["price"].trained_min, column["price"].trained_max) == (min(prices), max(prices))
    assert (column["shop"].trained_min, column["shop"].outside) == (None, "Answer")

    changed = shop.document()
    changed["spec"]["features"][1] = {"name": "price", "numeric": {"outside": "Refuse"}, "optional": True}
    system = parse(changed, base_dir=shop.folder)
    price = next(schema for schema in request_schema(system, table) if schema.name == "price")
    assert (price.required, price.outside) == (False, "Refuse")
