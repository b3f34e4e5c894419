"""DuckDB and Polars give the same rows for the same SQL; what Polars would answer otherwise is refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from etl_engines import ALIKE, DIFFERENT, IN_UTC, TABLES, answered

from capstan.data.etl import polars_engine
from capstan.data.etl.polars_sql import with_room
from capstan.errors import InvalidDataError, MissingExtraError
from capstan.spec.etl import load_etl
from capstan.verbs.etl import move_rows


@pytest.mark.parametrize("case", ALIKE)
def test_polars_gives_the_rows_of_duckdb(case: str, tmp_path: Path) -> None:
    assert answered(tmp_path, "Polars", ALIKE[case]) == answered(tmp_path, "DuckDB", ALIKE[case])


@pytest.mark.parametrize("case", IN_UTC)
def test_in_utc_days_and_moments_meet(case: str, tmp_path: Path) -> None:
    assert answered(tmp_path, "Polars", IN_UTC[case], "UTC") == answered(
        tmp_path, "DuckDB", IN_UTC[case], "UTC"
    )


@pytest.mark.parametrize("case", IN_UTC)
def test_elsewhere_days_beside_moments_are_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"transform.made: Polars takes days .* engine: DuckDB"):
        answered(tmp_path, "Polars", IN_UTC[case])


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_the_page_calls_different_is_different(case: str, tmp_path: Path) -> None:
    assert answered(tmp_path, "Polars", DIFFERENT[case]) != answered(tmp_path, "DuckDB", DIFFERENT[case])


REFUSED = {
    "function": ("select date_diff('day', day, day) as n from orders", "unsupported function 'date_diff'.*as python"),
    "column": ("select nothing from orders", '"nothing"'),
    "no select": ("delete from orders", "sql must be one select statement"),
    "two statements": ("select id from orders; select id from orders", "statement.*as python, or take engine: DuckDB"),
    "value": ("select cast(town as int) as n from orders", "conversion from"),
    "name twice": ("select * from orders o join customers c on o.customer = c.customer", "called 'customer'; list"),
    "own column": ("select id as capstan_dropped_because from orders", "is a column of Capstan's own"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_polars_cannot_do_is_told_in_a_line_by_its_step(case: str, tmp_path: Path) -> None:
    sql, words = REFUSED[case]
    with pytest.raises(InvalidDataError, match=rf"^transform.made: [^\n]*{words}[^\n]*$"):
        answered(tmp_path, "Polars", sql)
    assert not (tmp_path / "made.parquet").exists()
    assert not list(tmp_path.rglob("*.marked"))


def test_without_polars_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polars_engine, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"engine: Polars needs the extra 'polars'"):
        answered(tmp_path, "Polars", "select id from orders")


STEPS = """\
import polars as pl

def lazy():
    return lambda tables: tables["orders"].filter(pl.col("id") > 2).select("id", "moment", "customer")

def pandas():
    return lambda tables: lazy()(tables).collect().to_pandas()

def arrow():
    return lambda tables: lazy()(tables).collect().to_arrow()

def nothing():
    return lambda tables: 3
"""
JOB = """\
apiVersion: capstan.dev/v1alpha1
kind: ETL
metadata: {name: one}
spec:
  engine: Polars
  timeZone: America/New_York
  extract: [{name: orders, parquet: {path: orders.parquet}}]
  transform:
    - name: made
      python: {factory: "mysteps:FACTORY"}
      drop:
        - {where: customer is null, because: nobody's}
        - {where: customer > 8 or id * 1000000000 > 4000000000, because: strange}
  load: [{name: made, parquet: {path: made.parquet}}]
"""


def job(place: Path, factory: str) -> Path:
    pq.write_table(TABLES["orders"], place / "orders.parquet")
    (place / "mysteps.py").write_text(STEPS)
    (place / "etl.yaml").write_text(JOB.replace("FACTORY", factory))
    return place / "etl.yaml"


@pytest.mark.parametrize("factory", ["lazy", "pandas", "arrow"])
def test_a_function_takes_tables_of_polars_and_gives_a_table(factory: str, tmp_path: Path) -> None:
    report = move_rows(load_etl(job(tmp_path, factory)), tmp_path / "state").document()
    assert report["engine"] == "Polars"
    assert [dict(one) for one in report["steps"][1]["dropped"]] == [
        {"because": "nobody's", "rows": 1},
        {"because": "strange", "rows": 1},
    ]
    assert pq.read_table(tmp_path / "made.parquet")["id"].to_pylist() == [3]


def test_a_function_that_gives_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidDataError, match=r"transform.made: mysteps:nothing gave int; let its function give"
    ):
        move_rows(load_etl(job(tmp_path, "nothing")), tmp_path / "state")


ROOM = {
    "sum": (
        "select sum(length(a)) s",
        "select sum(cast(0 as hugeint) + ((cast(0 as hugeint) + length(a)))) s",
    ),
    "distinct": ("sum(distinct a)", "sum(distinct cast(0 as hugeint) + (a))"),
    "cast": ("a::int + cast(b as bigint)", "a::hugeint + cast(b as hugeint)"),
    "case": (
        "case when a then 1 else -20 end",
        "case when a then cast(1 as hugeint) else -cast(20 as hugeint) end",
    ),
    "rank": ("rank() over (order by (a))", "(cast(0 as hugeint) + rank() over (order by (a)))"),
    "text": ("'Å sum(x)' || \"sum\" -- month(x)", "'Å sum(x)' || \"sum\" -- month(x)"),
    "names": ("select a.month, sum, 1.5 from year", "select a.month, sum, 1.5 from year"),
    "fractions": ("case when a then 1.5 end", "case when a then 1.5 end"),
    "open": ("sum(a", "sum(a"),
}


@pytest.mark.parametrize("case", ROOM)
def test_whole_numbers_get_room_and_nothing_else_changes(case: str) -> None:
    given, wanted = ROOM[case]
    assert with_room(given) == wanted
