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
        pytest.param([{"n": 1}], "list is no data frame that is known", id="a_list"),
        pytest.param(pd.Series([1, 2]), "Series is no data frame that is known", id="a_series"),
        pytest.param(pl.LazyFrame({"n": [1]}), "LazyFrame is no data frame that is known", id="a_lazy_frame"),
        pytest.param(
            pa.table([[1], [2]], names=["n", "n"]), "'n' is there more than once", id="twice_in_arrow"
        ),
        pytest.param(pd.DataFrame({"n": [object()]}), "column 'n' holds values", id="objects"),
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


@pytest.mark.parametrize("values", [[10**30, 1], ["\ud800"]])
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
