"""A data frame becomes a table as it is, or is refused by the name of its column."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.api.frames import answers, as_parquet, as_table
from capstan.errors import InvalidDataError


def test_missing_values_of_pandas_are_missing_in_the_table() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, np.nan],
            "whole": pd.array([1, None], dtype="Int64"),
            "text": ["a", None],
            "moment": [pd.Timestamp("2026-01-01"), pd.NaT],
            "kind": pd.Categorical(["x", None]),
        }
    )
    assert [column.null_count for column in as_table(frame).columns] == [1, 1, 1, 1, 1]


def test_polars_and_pandas_give_the_same_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2], "t": ["a", "b"], "d": [date(2026, 1, 1), date(2026, 1, 2)]})
    as_parquet(frame, tmp_path / "pandas.parquet")
    as_parquet(pl.from_pandas(frame.assign(d=frame["d"])), tmp_path / "polars.parquet")
    one, other = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("pandas", "polars"))
    assert one.to_pylist() == other.to_pylist() == frame.to_dict("records")


def test_a_moment_keeps_its_instant_and_loses_nanoseconds(tmp_path: Path) -> None:
    zone = timezone(timedelta(hours=5))
    moment = pd.Timestamp("2026-01-01T05:00:00.123456789", tz=zone)
    as_parquet(pd.DataFrame({"at": [moment]}), tmp_path / "rows.parquet")
    (row,) = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert row["at"].astimezone(UTC) == datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


DAYS = pd.period_range("2026-01-31", periods=2, freq="D")
MOMENT = datetime.fromisoformat("2026-05-01T07:00")
LENGTHS = [timedelta(hours=36), None]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        pytest.param(DAYS, [date(2026, 1, 31), date(2026, 2, 1)], id="period"),
        pytest.param(
            pd.PeriodIndex(["2026-05", None], freq="M"), [date(2026, 5, 1), None], id="period_of_a_month"
        ),
        pytest.param(pd.PeriodIndex(["2026-05-01 07:00", None], freq="h"), [MOMENT, None], id="hours"),
        pytest.param(pd.Series([DAYS[1], None], dtype=object), [date(2026, 2, 1), None], id="period_object"),
        pytest.param(
            pd.Categorical([DAYS[1], None, DAYS[0]]),
            [date(2026, 2, 1), None, DAYS[0].to_timestamp().date()],
            id="category_of_periods",
        ),
        pytest.param(
            pd.period_range("2026-05-01 07:00", periods=2, freq="36h"),
            [MOMENT, datetime.fromisoformat("2026-05-02T19:00")],
            id="periods_of_36_hours",
        ),
        pytest.param(pd.interval_range(0, 2), ["(0, 1]", "(1, 2]"], id="interval"),
        pytest.param(pd.cut([1.5, np.nan], [1, 2]), ["(1, 2]", None], id="category_of_intervals"),
        pytest.param(pd.Series(LENGTHS, dtype="timedelta64[ns]"), [129_600.0, None], id="timedelta"),
        pytest.param(pd.Series(LENGTHS, dtype=object), [129_600.0, None], id="timedelta_object"),
        pytest.param(pd.Categorical(pd.to_timedelta(LENGTHS)), [129_600.0, None], id="category_of_lengths"),
        pytest.param(
            pd.array(LENGTHS, dtype=pd.ArrowDtype(pa.duration("s"))), [129_600.0, None], id="duration"
        ),
        pytest.param(pd.arrays.SparseArray([0.0, np.nan]), [0.0, None], id="sparse"),
        pytest.param(pd.array([2**53 + 1, None], dtype="Int64"), [2**53 + 1, None], id="nullable_number"),
        pytest.param(pd.array([True, None], dtype="boolean"), [True, None], id="nullable_boolean"),
        pytest.param(
            pd.array(["a", None], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
            ["a", None],
            id="dictionary",
        ),
        pytest.param(pd.Categorical([3, None]), [3, None], id="category_of_numbers"),
    ],
)
def test_each_type_of_pandas_keeps_its_meaning_in_the_file(
    values: Any, kept: list[Any], tmp_path: Path
) -> None:
    as_parquet(pd.DataFrame({"n": values}), tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet")["n"].to_pylist() == kept


def test_both_hours_of_a_night_that_has_one_twice_keep_their_instants(tmp_path: Path) -> None:
    hours = pd.to_datetime(["2026-10-25T00:30Z", "2026-10-25T01:30Z"])
    as_parquet(pd.DataFrame({"n": hours.tz_convert("Europe/Berlin")}), tmp_path / "rows.parquet")
    found = pq.read_table(tmp_path / "rows.parquet")["n"].to_pylist()
    assert [one.astimezone(UTC).hour for one in found] == [0, 1]


def test_lengths_of_time_of_polars_and_periods_in_a_table_of_arrow_keep_their_meaning_too() -> None:
    assert as_table(pl.DataFrame({"n": LENGTHS}))["n"].to_pylist() == [129_600.0, None]
    table = pa.Table.from_pandas(pd.DataFrame({"n": DAYS}))
    assert as_table(table)["n"].to_pylist() == [date(2026, 1, 31), date(2026, 2, 1)]


def test_an_index_with_a_name_is_a_column_and_one_without_is_not() -> None:
    frame = pd.DataFrame({"n": [1, 2]}, index=[7, 8])
    assert as_table(frame).column_names == ["n"]
    assert as_table(frame.rename_axis("case"))["case"].to_pylist() == [7, 8]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        pytest.param(pd.DataFrame({"n": [1, "a"]}), "column 'n' holds values of several kinds", id="mixed"),
        pytest.param(pd.DataFrame([[1, 2]], columns=["n", "n"]), "'n' is there more than once", id="twice"),
        pytest.param(
            pd.DataFrame([[1, 2]]), "the column 0 has a name that is no text", id="numbers_as_names"
        ),
        pytest.param([{"n": 1}], "list is not a data frame", id="a_list"),
        pytest.param(pd.Series([1, 2]), "Series is not a data frame", id="a_series"),
        pytest.param(pl.LazyFrame({"n": [1]}), "LazyFrame is not a data frame", id="a_lazy_frame"),
        pytest.param(
            pa.table([[1], [2]], names=["n", "n"]), "'n' is there more than once", id="twice_in_arrow"
        ),
        pytest.param(pd.DataFrame({"n": [object()]}), "column 'n' holds values", id="objects"),
        pytest.param(pd.DataFrame({"n": [1 + 2j]}), "column 'n' holds values", id="complex"),
        pytest.param(
            pd.DataFrame({"n": pd.Categorical([3, "a"])}), "column 'n' holds values", id="category_of_kinds"
        ),
        pytest.param(
            pd.DataFrame({"n": [MOMENT, datetime(2026, 1, 1, tzinfo=UTC)]}, dtype=object),
            "column 'n' holds moments with and without an offset; give all of them one",
            id="offsets",
        ),
    ],
)
def test_what_is_no_table_is_refused(frame: Any, said: str) -> None:
    with pytest.raises(InvalidDataError, match=said):
        as_table(frame)


def test_an_index_that_is_a_column_too_is_one_column_if_both_say_the_same() -> None:
    frame = pd.DataFrame({"id": [7, 8], "n": [1, 2]}).set_index("id", drop=False)
    assert as_table(frame).to_pydict() == {"id": [7, 8], "n": [1, 2]}
    with pytest.raises(InvalidDataError, match="'id' is index and column, with different values"):
        as_table(frame.assign(id=[8, 7]))


@pytest.mark.parametrize("values", [[10**30, 1], ["\ud800"], [np.datetime64("2026-05-01")]])
def test_what_no_table_holds_is_refused_by_its_column(values: list[Any]) -> None:
    with pytest.raises(InvalidDataError, match="column 'n'"):
        as_table(pd.DataFrame({"n": pd.Series(values, dtype=object)}))


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, 2**63, 10**30, -(2**63) - 1])
def test_an_id_keeps_its_digits_beside_a_row_without_one(number: int) -> None:
    frame = answers([{"id": number}, {}], pd.RangeIndex(2), ["version"])
    assert frame["id"][0] == number
    assert frame["id"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        pytest.param(
            pd.DataFrame({"n": [1]}, index=pd.Index([7], name=3)), "3 has a name that is no text", id="number"
        ),
        pytest.param(pd.DataFrame({"\ud800": [1]}), "has a name that is no text", id="surrogate"),
        pytest.param(
            pd.DataFrame({"n": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)], names=["a", "a"])),
            "level of the index 'a' is there more than once",
            id="levels",
        ),
        pytest.param(
            pd.DataFrame([[1, 2]], columns=["a", "a"], index=pd.Index([1], name="a")),
            "column 'a' is there more than once",
            id="index and two columns",
        ),
    ],
)
def test_a_name_that_no_table_has_is_refused(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(InvalidDataError, match=said):
        as_table(frame)
