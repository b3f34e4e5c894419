"""What parts of a moment are: by the clocks of a zone, alone as in a table, also long ago, far ahead and missing."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from capstan.errors import InvalidDataError, InvalidSpecError
from capstan.features.dates import NO_PART, PARTS, parts_of, parts_of_column
from capstan.features.kinds import unfitted
from capstan.features.rowwise import compile_row
from capstan.features.transform import FeatureTransform, as_columns
from capstan.spec.features import Feature

ALL = tuple(PARTS)
ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "Africa/Monrovia", "Pacific/Apia", "Europe/Dublin"]


def moments(first: int, last: int, rows: int = 4000) -> pa.ChunkedArray:
    rng = np.random.default_rng(first)
    ends = [
        (datetime(year, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        for year in (first, last)
    ]
    drawn = rng.integers(*ends, rows)
    column = pa.array(drawn, pa.int64(), mask=rng.random(rows) < 0.05).cast(pa.timestamp("us", "UTC"))
    return pa.chunked_array([column.slice(0, 100), column.slice(100)])


def fitted(column: Any, zone: str = "UTC", **settings: Any) -> FeatureTransform:
    feature = Feature.model_validate({"name": "when", "date": settings})
    return FeatureTransform((unfitted(feature, zone),)).fit({"when": column})


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("first", "last"), [(1, 9999), (1850, 1950), (1970, 2030)])
def test_a_table_has_the_parts_that_pythons_calendar_has(zone: str, first: int, last: int) -> None:
    column = moments(first, last)
    found = parts_of_column(column, zone, ALL)
    for value, parts in zip(column.to_pylist(), found.tolist(), strict=True):
        if value is None:
            assert parts == [NO_PART] * len(ALL)
            continue
        at = value.astimezone(ZoneInfo(zone))
        wanted = [at.minute, at.hour, at.isoweekday(), at.day, at.timetuple().tm_yday, at.month]
        assert parts == [*wanted, (at.month - 1) // 3 + 1, at.year]
        assert parts == list(parts_of(value, zone, ALL) or ())
        assert parts == list(parts_of(str(value), zone, ALL) or ())


def test_the_parts_are_those_of_pandas() -> None:
    column = moments(1990, 2020).drop_null()
    clock = pd.Series(column.to_pandas()).dt.tz_convert("Europe/Berlin").dt
    wanted = [
        clock.minute,
        clock.hour,
        clock.weekday + 1,
        clock.day,
        clock.dayofyear,
        clock.month,
        clock.quarter,
    ]
    found = parts_of_column(column, "Europe/Berlin", ALL)
    assert np.array_equal(found, np.column_stack([*wanted, clock.year]))


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_other_units_have_the_same_parts(unit: str) -> None:
    column = moments(1900, 2100).cast(pa.timestamp(unit, "UTC"), safe=False)
    exact = column.cast(pa.timestamp("us", "UTC"))
    assert np.array_equal(
        parts_of_column(column, "Asia/Tokyo", ALL), parts_of_column(exact, "Asia/Tokyo", ALL)
    )


def test_a_change_of_clocks_is_seen_to_the_second() -> None:
    change = datetime(2024, 3, 31, 1, tzinfo=UTC)
    column = pa.array([change - timedelta(seconds=1), change])
    assert parts_of_column(column, "Europe/Berlin", ("Hour", "Minute")).tolist() == [[1, 59], [3, 0]]


@pytest.mark.parametrize(
    ("value", "zone", "hour"),
    [
        ("2024-03-01T23:30:00Z", "Europe/Berlin", 0),
        ("2024-03-01T23:30", "Europe/Berlin", 23),
        ("2024-03-01", "America/New_York", 0),
        (date(2024, 3, 1), "America/New_York", 0),
        (np.datetime64("2024-03-01T05:00"), "Asia/Tokyo", 5),
        (pd.Timestamp("2024-03-01T05:00", tz="UTC"), "Asia/Tokyo", 14),
        (pd.NaT, "UTC", None),
        (np.datetime64("NaT"), "UTC", None),
        (None, "UTC", None),
        ("", "UTC", None),
        ("never seen before", "UTC", None),
        (-12345.5, "UTC", None),
        (float("nan"), "UTC", None),
        (np.datetime64(10**6, "Y"), "UTC", None),
        (datetime(1, 1, 1, tzinfo=UTC), "America/New_York", None),
        (datetime(9999, 12, 31, 23, tzinfo=UTC), "Asia/Tokyo", None),
    ],
)
def test_whatever_stands_for_a_moment_is_one(value: object, zone: str, hour: int | None) -> None:
    assert parts_of(value, zone, ("Hour",)) == (None if hour is None else (hour,))
    assert parts_of_column([value], zone, ("Hour",)).tolist() == [[NO_PART if hour is None else hour]]


def test_parts_are_numbers_and_a_missing_moment_has_their_medians() -> None:
    column = pa.array([datetime(2024, 3, 4 + day, day, tzinfo=UTC) for day in (0, 1, 5)] + [None])
    found = fitted(column, parts=["Weekday", "Hour"], indicator=True)
    assert list(found.get_feature_names_out()) == ["when.Weekday", "when.Hour", "when=missing"]
    assert found.transform({"when": column}).tolist() == [[1, 0, 0], [2, 1, 0], [6, 5, 0], [2, 1, 1]]


def test_cyclic_parts_are_points_on_a_circle_and_a_missing_one_is_its_middle() -> None:
    column = pa.array([datetime(2024, 3, 4, hour, tzinfo=UTC) for hour in (0, 6, 23)] + [None])
    found = fitted(column, parts=["Hour"], cyclic=True)
    assert list(found.get_feature_names_out()) == ["when.Hour.sin", "when.Hour.cos"]
    points = found.transform({"when": column})
    assert points[:3].tolist() == [
        [math.sin(one), math.cos(one)] for one in (0, math.pi / 2, 2 * math.pi * 23 / 24)
    ]
    assert points[3].tolist() == [0, 0]
    # 23 o'clock is as near to 0 o'clock as 1 o'clock is.
    assert np.hypot(*(points[2] - points[0])) == pytest.approx(2 * math.sin(math.pi / 24))


@pytest.mark.parametrize("settings", [{"parts": list(ALL)}, {"parts": list(ALL[:-1]), "cyclic": True}])
def test_a_request_has_the_bits_of_the_table(settings: dict[str, Any]) -> None:
    column = moments(1, 9999, 1000)
    transform = fitted(column, "America/New_York", **settings, indicator=True)
    matrix = transform.transform({"when": column})
    row_of = compile_row(transform)
    sent = [{"when": None if value is None else str(value)} for value in column.to_pylist()]
    assert np.array([row_of(row) for row in sent]).tobytes() == matrix.tobytes()
    assert transform.transform(as_columns(sent, ["when"])).tobytes() == matrix.tobytes()


@pytest.mark.parametrize(
    "column", [[None, None], pa.nulls(2), pa.array([None, None], pa.timestamp("us", "UTC"))]
)
def test_a_column_without_a_moment_is_told_apart_from_one_with_it(column: Any) -> None:
    transform = fitted(column, parts=["Hour", "Year"])
    assert transform.transform({"when": column}).tolist() == [[0, 0], [0, 0]]
    assert compile_row(transform)({"when": "2024-03-01T05:00:00Z"}).tolist() == [5, 2024]


def test_one_moment_in_all_rows_is_learnt() -> None:
    column = pa.array([datetime(1850, 7, 4, 12, tzinfo=UTC)] * 3)
    assert fitted(column, parts=["Year", "Hour"]).transform({"when": column}).tolist() == [[1850, 12]] * 3


@pytest.mark.parametrize(
    ("column", "shown"),
    [(["Monday", None], "Text, such as 'Monday'"), ([20240301], "Number, such as 20240301")],
)
def test_a_column_of_something_else_is_refused(column: Any, shown: str) -> None:
    with pytest.raises(
        InvalidDataError, match=rf"features.when.date: the column 'when' holds {shown}.*state it as Time"
    ):
        fitted(column, parts=["Hour"])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"parts": []}, "has 0 items; write 1 or more"),
        ({"parts": ["Hours"]}, "did you mean Hour"),
        ({"parts": ["Hour", "Hour"]}, "names a part twice; keep each once"),
        ({"parts": ["Hour", "Year"], "cyclic": True}, "a Year never comes again.*in a second feature"),
        ({}, "parts"),
    ],
)
def test_what_no_date_may_say(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSpecError, match=problem):
        Feature(name="when", date=settings)
