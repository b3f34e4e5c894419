"""What a training does about rows that break a rule, and rules of whole tables and of several columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from capstan.data import check_table, extract
from capstan.data.inspection import inspect_data
from capstan.errors import InvalidDataError, InvalidSpecError

MAX_PRICE = 49
"""Of 40 orders, whose price is 10 in the first row and one more in each."""


def checked(shop: Any, *checks: dict[str, Any], table: Any = None, **asked: Any) -> Any:
    system = shop.system(checks=list(checks))
    table = extract(system, as_of=None, labels_as_of=None) if table is None else table
    return check_table(table, system, **asked), table


RULES: dict[str, tuple[dict[str, Any], str, int]] = {
    "min": ({"column": "price", "min": 12}, "price: 2 rows: is below the minimum 12 (o000 has 10", 2),
    "max": ({"column": "price", "max": 48}, "price: 1 rows: is above the maximum 48 (o039 has 49", 1),
    "allowed": ({"column": "shop", "allowed": ["north"]}, "shop: 20 rows: is not allowed", 20),
    "unique": ({"column": "shop", "unique": True}, "shop: 38 rows: was there in an earlier row (o002", 38),
    "condition": (
        {"column": "price", "condition": "price < 40 or shop = 'south'"},
        "price: 5 rows: breaks price < 40 or shop = 'south' (o030 has 40",
        5,
    ),
}


@pytest.mark.parametrize(("check", "text", "rows"), RULES.values(), ids=RULES)
def test_rows_that_break_a_rule_are_left_out_and_counted(
    shop: Any, check: dict[str, Any], text: str, rows: int
) -> None:
    report, table = checked(shop, {**check, "severity": "Drop"})
    report.require()
    assert report.kept(table).num_rows == report.rows == 40 - rows
    (told,) = report.told
    assert told.startswith(f"data.checks: {text}")
    assert told.endswith("; such rows are left out")
    again, _ = checked(shop, check, table=report.kept(table))
    assert not again.violations


@pytest.mark.parametrize(("check", "text", "rows"), RULES.values(), ids=RULES)
def test_a_warning_leaves_all_rows_and_a_stop_names_them(
    shop: Any, check: dict[str, Any], text: str, rows: int
) -> None:
    report, table = checked(shop, {**check, "severity": "Warn"})
    report.require()
    assert report.kept(table) is table
    assert report.told[0].endswith("; a warning only")
    assert len(report.violations[0].listed) >= rows
    stopping, _ = checked(shop, check)
    with pytest.raises(InvalidDataError, match=r"data\.checks: 1 rule is broken"):
        stopping.require()
    assert stopping.told == []


def test_a_row_is_left_out_once_however_many_rules_it_breaks(shop: Any) -> None:
    drop = {"severity": "Drop"}
    report, table = checked(
        shop, {"column": "price", "min": 12, **drop}, {"column": "price", "condition": "price > 13", **drop}
    )
    assert report.kept(table)["id"][0].as_py() == "o004"
    assert report.rows == 36


def test_what_is_left_out_need_not_keep_what_all_else_must(shop: Any) -> None:
    system = shop.system(checks=[{"column": "id", "unique": True, "severity": "Drop"}])
    table = extract(system, as_of=None, labels_as_of=None)
    table = table.set_column(0, "id", pa.array(["o000", *table["id"].to_pylist()[:-1]]))
    report = check_table(table, system)
    report.require()
    assert report.rows == 39


def test_missing_values_are_no_doubles_and_break_no_condition(shop: Any) -> None:
    system = shop.system(
        checks=[
            {"column": "shop", "unique": True, "severity": "Warn"},
            {"column": "price", "condition": "length(shop) > 9", "severity": "Warn"},
        ]
    )
    table = extract(system, as_of=None, labels_as_of=None)
    table = table.set_column(
        table.column_names.index("shop"), "shop", pa.array(["a", *[None] * 39], pa.string())
    )
    assert [(one.rule, one.rows) for one in check_table(table, system).violations] == [
        ("breaks length(shop) > 9", 1)
    ]


def test_no_row_that_is_left_is_told_with_the_rule(shop: Any) -> None:
    with pytest.raises(InvalidDataError, match=r"`severity: Drop` leaves none of 40 rows: price: 40 rows"):
        checked(shop, {"column": "price", "min": 1000, "severity": "Drop"})


@pytest.mark.parametrize("severity", ["Stop", "Warn"])
def test_stale_and_short_columns_are_found(shop: Any, severity: str) -> None:
    newest = shop.first + timedelta(hours=39)
    checks = [
        {"column": "ordered", "freshness": "2h", "severity": severity},
        {"column": "temp", "volume": 41, "severity": severity},
    ]
    report, _ = checked(shop, *checks, as_of=newest + timedelta(hours=3))
    assert [(one.column, one.severity) for one in report.violations] == [
        ("ordered", severity),
        ("temp", severity),
    ]
    assert "more than 2h before" in str(report.violations[0])
    assert str(report.violations[1]) == "temp: 40 rows have a value, and 41 must; is a source cut short?"
    kept, _ = checked(
        shop, {**checks[0], "freshness": "3h"}, {**checks[1], "volume": 40}, as_of=newest + timedelta(hours=3)
    )
    assert not kept.violations


def test_freshness_of_what_is_no_time_stops_whatever_the_severity(shop: Any) -> None:
    report, _ = checked(shop, {"column": "shop", "freshness": "1d", "severity": "Warn"}, as_of=shop.first)
    with pytest.raises(InvalidDataError, match=r"shop: is Text and no Time, which freshness needs; derive"):
        report.require()


def test_of_a_long_text_only_the_beginning_is_told(shop: Any) -> None:
    system = shop.system(checks=[{"column": "shop", "condition": "length(shop) < 9", "severity": "Warn"}])
    table = extract(system, as_of=None, labels_as_of=None)
    long = pa.array(["secret " * 20, *["a"] * 39])
    report = check_table(table.set_column(table.column_names.index("shop"), "shop", long), system)
    (wanted,) = report.violations[0].values
    assert wanted == repr(f"{('secret ' * 20)[:60]}…")
    assert report.violations[0].listed == (("o000", wanted),)


def test_a_condition_may_name_columns_that_nothing_else_reads(shop: Any) -> None:
    system = shop.system(
        query="select orders.*, temp, price * 2 as double_price, hour from orders join weather on hour = ordered",
        checks=[
            {"column": "price", "condition": "double_price < 50 and hour >= ordered", "severity": "Drop"}
        ],
    )
    report = check_table(extract(system, as_of=None, labels_as_of=None), system)
    assert report.rows == 15


def test_a_condition_may_name_the_moment_of_a_label_and_a_check_may_not_be_of_it(shop: Any) -> None:
    system = shop.system(checks=[{"column": "price", "condition": "arrived > ordered + interval 11 hours"}])
    table = extract(system, as_of=None, labels_as_of=None)
    check_table(table, system).require()
    never = shop.system(checks=[{"column": "price", "condition": "arrived < ordered", "severity": "Warn"}])
    assert check_table(table, never).violations[0].rows == table["late"].length() - table["late"].null_count
    with pytest.raises(
        InvalidSpecError, match=r"data\.checks\[0\]\.column: 'arrived' is the moment at which a label"
    ):
        shop.system(checks=[{"column": "arrived", "nullable": False}])


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (
            "price <",
            r"data.checks\[0\].condition: 'price <' is no SQL condition.*such as arrival >= departure",
        ),
        ("price > 1); drop table x; select (1", "is no SQL condition"),
        ("prize > 1", r"gives no column 'prize', which .* did you mean 'price'"),
        ("shop > 1", r"can't be asked of the rows: .*It names shop"),
        ("max(price) > 1", "gives one value for 40 rows; write a condition of each row"),
    ],
)
def test_a_condition_that_is_none_is_refused(shop: Any, condition: str, problem: str) -> None:
    with pytest.raises(InvalidDataError, match=problem):
        checked(shop, {"column": "price", "condition": condition})


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ({"freshness": "1d", "severity": "Drop"}, "freshness and volume are of all rows together"),
        ({"volume": 3, "severity": "Drop"}, "freshness and volume are of all rows together"),
        ({"severity": "Drop"}, "checks nothing"),
        ({"volume": 0}, "write 1 or more"),
        ({"unique": True, "severity": "Ignore"}, "Stop, Drop or Warn|Stop, Drop, Warn"),
    ],
)
def test_what_no_check_may_say(shop: Any, check: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSpecError, match=problem):
        shop.system(checks=[{"column": "price", **check}])


def test_an_inspection_tells_what_a_training_would_leave_out(shop: Any) -> None:
    system = shop.system(checks=[{"column": "price", "min": 12, "severity": "Drop"}])
    found = inspect_data(system, now=shop.first + timedelta(days=30))
    assert any("is below the minimum 12" in one and "left out" in one for one in found.warnings)
    assert not any("minimum" in one for one in found.problems)


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("price != 13 or count(*) over (partition by shop) < 0", ["o003"]),
        ("row_number() over (order by price desc) > 2", ["o038", "o039"]),
        ("place != 3 or count(*) over (partition by shop) < 0", ["o003"]),
    ],
)
def test_a_condition_with_a_window_marks_the_rows_that_break_it(
    shop: Any, condition: str, wanted: list[str]
) -> None:
    report, _ = checked(_Placed(shop), {"column": "price", "condition": condition, "severity": "Warn"})
    assert list(report.violations[0].ids) == wanted


class _Placed:
    """The shop, whose rows have a column `place` of their own."""

    def __init__(self, shop: Any) -> None:
        self._shop = shop

    def system(self, **data: Any) -> Any:
        return self._shop.system(
            query="select orders.*, temp, price - 10 as place from orders, weather where hour = ordered",
            **data,
        )


def _with_bounds(shop: Any, low: list[str], high: list[str]) -> None:
    shop.write(
        "orders.csv",
        [
            {**shop.order(index), "low": low[index % len(low)], "high": high[index % len(high)]}
            for index in range(40)
        ],
    )


BOUNDS = {"column": "price", "condition": "high >= low", "severity": "Drop"}


def test_numbers_that_a_condition_compares_are_no_texts_because_of_one_cell(shop: Any) -> None:
    _with_bounds(shop, ["20"], ["100"] * 39 + ["n/a"])
    with pytest.raises(
        InvalidDataError, match=r"data\.checks: condition 'high >= low': .*high.*n/a.*Correct these values"
    ):
        checked(shop, BOUNDS)
    words, _ = checked(shop, {**BOUNDS, "condition": "try_cast(high as double) >= low"})
    assert words.rows == 40
    stated = shop.system(
        checks=[{**BOUNDS, "condition": "high >= '20'"}],
        sources=[
            {
                "name": "orders",
                "csv": {"path": "orders.csv", "timeColumn": "ordered"},
                "types": [{"column": "high", "type": "Text"}],
            },
            {"name": "weather", "csv": {"path": "weather.csv", "timeColumn": "hour"}},
        ],
    )
    assert check_table(extract(stated, as_of=None, labels_as_of=None), stated).rows == 1


def test_prices_that_a_condition_compares_are_numbers(shop: Any) -> None:
    _with_bounds(shop, ["9.90"], ["10.00"])
    system = shop.system(
        query="select orders.*, low as low_, high as high_, temp from orders left join weather on hour = ordered",
        checks=[{**BOUNDS, "condition": "high_ >= low_"}],
    )
    report = check_table(extract(system, as_of=None, labels_as_of=None), system)
    assert report.rows == 40


def test_volume_counts_what_is_left_and_no_nan(shop: Any) -> None:
    volume = {"column": "temp", "volume": 40, "severity": "Warn"}
    report, table = checked(shop, {"column": "price", "min": 12, "severity": "Drop"}, volume)
    assert [one.rows for one in report.violations] == [2, 38]
    temps = pa.array([float("nan"), *[1.0] * 39])
    report, _ = checked(shop, volume, table=table.set_column(table.column_names.index("temp"), "temp", temps))
    assert report.violations[0].rows == 39


def test_a_moment_to_come_makes_no_column_fresh(shop: Any) -> None:
    system = shop.system(
        checks=[{"column": "hour", "freshness": "2h"}],
        query="select orders.*, temp, hour from orders join weather on hour = ordered",
    )
    table = extract(system, as_of=None, labels_as_of=None)
    place = table.column_names.index("hour")
    far = [datetime(9999, 12, 31, tzinfo=UTC)]
    as_of = shop.first + timedelta(hours=60)
    for hours, words in (
        (table["hour"].to_pylist()[1:] + far, "more than 2h before"),
        (far * 40, "no value is of"),
    ):
        stale = table.set_column(place, "hour", pa.array(hours, table["hour"].type))
        (found,) = check_table(stale, system, as_of=as_of).violations
        assert words in str(found)


def test_nan_breaks_no_condition(shop: Any) -> None:
    check = {"column": "temp", "condition": "temp < 1000", "severity": "Warn"}
    _, table = checked(shop, check)
    temps = pa.array([float("nan"), *[1.0] * 39])
    report, _ = checked(shop, check, table=table.set_column(table.column_names.index("temp"), "temp", temps))
    assert not report.violations
