"""Rows are moved whole, counted at each step, and a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from capstan.cli.main import app
from capstan.data.etl import job, spark_engine
from capstan.errors import AlreadyRunningError, CapstanError, InvalidDataError, InvalidSpecError
from capstan.spec.etl import load_etl
from capstan.verbs.etl import move_rows

FILE = """\
apiVersion: capstan.dev/v1alpha1
kind: ETL
metadata: {name: daily-orders}
spec:
  extract:
    - {name: orders, csv: {path: orders.csv}}
    - name: people
      database: {table: people, urlFrom: {secretKeyRef: {name: shop, key: url}}}
  transform:
    - name: clean
      sql: select order_id, customer, amount, town from orders left join people using (customer)
      drop:
        - {where: amount is null, because: no amount}
        - {where: amount < 0 or town is null, because: nobody's order}
    - name: daily
      python: {factory: "mysteps:by_town", parameters: {least: 1}}
  load:
    - {name: clean, parquet: {path: out/clean.parquet}}
    - name: daily
      database: {table: daily, urlFrom: {secretKeyRef: {name: reports, key: url}}}
"""
STEPS = """\
def by_town(least):
    def function(tables):
        frame = tables["clean"].to_pandas()
        made = frame.groupby("town", as_index=False)["amount"].sum()
        return made[made["amount"] >= least]
    return function
"""
ORDERS = "order_id,customer,amount\n1,1,10.5\n2,2,\n3,1,4\n4,2,-1\n5,9,3\n6,2,7\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "etl.yaml").write_text(FILE)
    (tmp_path / "mysteps.py").write_text(STEPS)
    (tmp_path / "orders.csv").write_text(ORDERS)
    for name, url in (("shop", "sqlite:///shop.db"), ("reports", "sqlite:///new/reports.db")):
        (tmp_path / "state" / "secrets" / name).mkdir(parents=True)
        (tmp_path / "state" / "secrets" / name / "url").write_text(url)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("create table people (customer integer, town text)")
        connection.executemany("insert into people values (?, ?)", [(1, "Lund"), (2, "Århus")])
    return tmp_path


def changed(place: Path, old: str, new: str) -> None:
    text = (place / "etl.yaml").read_text()
    assert old in text
    (place / "etl.yaml").write_text(text.replace(old, new))


def moved(place: Path) -> dict[str, Any]:
    return move_rows(load_etl(place / "etl.yaml"), place / "state").document()


def daily(place: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place / "new" / "reports.db")) as connection:
        return connection.execute("select town, amount from daily order by town").fetchall()


def test_all_rows_are_accounted_for_and_written(place: Path) -> None:
    report = moved(place)
    counts = [
        (step["part"], step["name"], step["made"], step["kept"], step["into"]) for step in report["steps"]
    ]
    assert counts == [
        ("extract", "orders", 6, 6, None),
        ("extract", "people", 2, 2, None),
        ("transform", "clean", 6, 3, None),
        ("transform", "daily", 2, 2, None),
        ("load", "clean", 3, 3, "out/clean.parquet"),
        ("load", "daily", 2, 2, "table daily"),
    ]
    assert list(report["steps"][2]["dropped"]) == [
        {"because": "no amount", "rows": 1},
        {"because": "nobody's order", "rows": 2},
    ]
    rows = pq.read_table(place / "out" / "clean.parquet").to_pylist()
    assert sorted(row["order_id"] for row in rows) == [1, 3, 6]
    assert daily(place) == [("Lund", 14.5), ("Århus", 7.0)]


def test_a_column_whose_texts_would_change_as_numbers_is_told(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "orders.csv").write_text(ORDERS.replace("10.5", "10.50"))
    with pytest.raises(InvalidDataError, match=r"transform.clean: Cannot compare"):
        moved(place)
    assert (
        "extract.orders: column 'amount' stays text, as '10.50' would change as a number; say what"
        in caplog.text
    )
    changed(
        place, "csv: {path: orders.csv}", "csv: {path: orders.csv}, types: [{column: amount, type: Number}]"
    )
    assert moved(place)["steps"][2]["kept"] == 3


def test_run_twice_is_the_same_and_leaves_nothing_else(place: Path) -> None:
    moved(place)
    before, table = (place / "out" / "clean.parquet").read_bytes(), daily(place)
    assert not any(step["resumed"] for step in moved(place)["steps"])
    assert (place / "out" / "clean.parquet").read_bytes() == before
    assert daily(place) == table
    assert sorted(path.name for path in (place / "out").iterdir()) == ["clean.parquet"]
    with closing(sqlite3.connect(place / "new" / "reports.db")) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("daily",)]
    assert sorted(path.name for path in (place / "state" / "etl" / "daily-orders").iterdir()) == ["lock"]


def test_what_lies_between_steps_is_the_owners_alone(place: Path) -> None:
    changed(place, "table: daily", "table: dai_ly")
    moved(place)
    assert (place / "state" / "etl" / "daily-orders").stat().st_mode & 0o077 == 0


def test_a_folder_is_not_replaced(place: Path) -> None:
    (place / "out" / "clean.parquet").mkdir(parents=True)
    with pytest.raises(
        InvalidDataError, match=r"load.clean: .*clean.parquet is a folder; write another path"
    ):
        moved(place)


def test_a_second_run_reads_anew(place: Path) -> None:
    moved(place)
    (place / "orders.csv").write_text(ORDERS + "7,1,100\n")
    moved(place)
    assert daily(place) == [("Lund", 114.5), ("Århus", 7.0)]


def test_a_run_that_was_stopped_goes_on_where_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job, "write_database", stopped)
        with pytest.raises(KeyboardInterrupt):
            moved(place)
    # What was read is used, whatever became of it since.
    (place / "orders.csv").unlink()
    report = moved(place)
    assert [step["resumed"] for step in report["steps"]] == [True] * 4 + [False] * 2
    assert report["steps"][2]["dropped"][1] == {"because": "nobody's order", "rows": 2}
    assert daily(place) == [("Lund", 14.5), ("Århus", 7.0)]


@pytest.mark.parametrize("change", ["file", "code"])
def test_a_job_that_was_changed_begins_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(job, "write_database", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            moved(place)
    if change == "file":
        changed(place, "least: 1", "least: 8")
    else:
        (place / "mysteps.py").write_text(STEPS.replace(">= least", ">= 8"))
    assert not any(step["resumed"] for step in moved(place)["steps"])
    assert daily(place) == [("Lund", 14.5)]


def test_a_target_keeps_what_it_had_where_a_run_fails(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved(place)
    (place / "mysteps.py").write_text(STEPS.replace("frame.groupby", "frame.nothing"))
    with pytest.raises(InvalidDataError, match=r"transform.daily: mysteps:by_town: AttributeError"):
        moved(place)
    assert daily(place) == [("Lund", 14.5), ("Århus", 7.0)]


def test_two_runs_at_once_are_refused(place: Path) -> None:
    found = load_etl(place / "etl.yaml")
    folder = place / "state" / "etl" / "daily-orders"
    with job._alone(folder, found), pytest.raises(AlreadyRunningError, match="another process runs this job"):
        moved(place)


REFUSED = {
    "column": ("order_id, customer", "order_id, nothing", r"transform.clean: .*nothing"),
    "two statements": (
        "from orders left join",
        "from orders; drop table orders left join",
        r"transform.clean: ",
    ),
    "no select": (
        "select order_id, customer, amount, town from orders left join people using (customer)",
        "create table x (a int)",
        "transform.clean: sql must be one select statement",
    ),
    "condition": ("amount is null,", "amounts is null,", r"transform.clean: .*amounts"),
    "file": ("orders.csv", "none.csv", r"extract.orders: .*none.csv does not exist"),
    "secret": ("name: reports", "name: nowhere", r"load.daily: the secret nowhere/url cannot be read"),
    "connect": (
        "spec:\n",
        'spec:\n  engine: Spark\n  spark: {remote: "sc://localhost"}\n',
        r"spark.remote needs the extra 'spark'",
    ),
    "connect's secret": (
        "spec:\n",
        "spec:\n  engine: Spark\n  spark: {remoteFrom: {secretKeyRef: {name: spark, key: url}}}\n",
        r"spark.remoteFrom: the secret spark/url cannot be read .*; write its address to",
    ),
    "spark": ("spec:\n", "spec:\n  engine: Spark\n", r"engine: Spark needs the extra 'spark'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_told_by_its_step(place: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, words = REFUSED[case]
    changed(place, old, new)
    monkeypatch.setattr(spark_engine, "find_spec", lambda name: None)
    with pytest.raises(CapstanError, match=words):
        moved(place)
    assert not (place / "out").exists() or case == "secret"


def test_a_table_with_other_columns_is_not_replaced(place: Path) -> None:
    (place / "new").mkdir()
    with closing(sqlite3.connect(place / "new" / "reports.db")) as connection, connection:
        connection.execute("create table daily (precious text)")
    with pytest.raises(
        InvalidDataError, match=r"load.daily: table 'daily' is there with other columns .*precious"
    ):
        moved(place)


WRONG = {
    "no table": (
        "- {name: clean, parquet",
        "- {name: dirty, parquet",
        "load names 'dirty', which is no table; the ",
    ),
    "twice": ("- name: daily\n      python", "- name: orders\n      python", "'orders' names two tables"),
    "onto itself": (
        "{path: out/clean.parquet}",
        "{path: in.parquet}",
        "would replace 'in.parquet', which extract",
    ),
    "kind": ("kind: ETL", "kind: MLSystem", "'MLSystem' is no job that moves rows; write kind: ETL"),
    "csv": ("out/clean.parquet", "out/clean.csv", "'out/clean.csv' is no name of a Parquet file"),
    "away": ("out/clean.parquet", "s3://b/clean.parquet", "is an address; write a file of this machine"),
    "engine": ("spec:\n", "spec:\n  engine: Pandas\n", "engine"),
    "connect": (
        "spec:\n",
        "spec:\n  engine: Spark\n  spark: {remote: spark.local}\n",
        "write sc://HOST:15002",
    ),
    "token": (
        "spec:\n",
        'spec:\n  engine: Spark\n  spark: {remote: "sc://a/;token=b"}\n',
        "holds a token; write the whole address to a secret",
    ),
    "other engine": (
        "spec:\n",
        'spec:\n  spark: {remote: "sc://a"}\n',
        "spark is the server of engine: Spark, and engine is DuckDB",
    ),
    "both": ("sql: select", "python: {factory: 'a:b'}\n      sql: select", "keep exactly one of sql, python"),
    "misspelt": ("transform:", "transforms:", "transforms"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_with_field_and_way_out(place: Path, case: str) -> None:
    old, new, words = WRONG[case]
    changed(place, old, new)
    if case == "onto itself":
        changed(place, "csv: {path: orders.csv}", "parquet: {path: in.parquet}")
    with pytest.raises(InvalidSpecError) as raised:
        load_etl(place / "etl.yaml")
    assert words in str(raised.value)


def test_the_command_shows_what_was_read_dropped_and_written(place: Path) -> None:
    call = ["etl", str(place / "etl.yaml"), "--state", str(place / "state")]
    shown = CliRunner().invoke(app, call)
    assert shown.exit_code == 0, shown.output
    assert "transform  clean" in shown.output
    assert "1 no amount, 2 nobody's order" in shown.output
    assert "into table daily" in shown.output
    told = CliRunner().invoke(app, [*call, "--json"])
    assert json.loads(told.stdout)["steps"][2]["kept"] == 3
    (place / "etl.yaml").write_text("kind: ETL\n")
    assert CliRunner().invoke(app, call).exit_code == 1


def test_sums_of_whole_numbers_stay_whole(place: Path) -> None:
    sql = "select 'a' as town, sum(v) as amount from (values (9007199254740992), (1)) t(v)"
    changed(
        place,
        "select order_id, customer, amount, town from orders left join people using (customer)",
        f'"{sql}"',
    )
    changed(place, 'python: {factory: "mysteps:by_town", parameters: {least: 1}}', "sql: select * from clean")
    moved(place)
    assert pq.read_table(place / "out" / "clean.parquet")["amount"].to_pylist() == [9007199254740993]
    with closing(sqlite3.connect(place / "new" / "reports.db")) as connection:
        assert connection.execute("select amount from daily").fetchall() == [(9007199254740993,)]


def test_a_view_of_the_table_that_is_replaced_stays(place: Path) -> None:
    moved(place)
    with closing(sqlite3.connect(place / "new" / "reports.db")) as connection, connection:
        connection.execute("create view seen as select town from daily")
        before = connection.execute("select * from seen").fetchall()
    moved(place)
    with closing(sqlite3.connect(place / "new" / "reports.db")) as connection:
        assert connection.execute("select * from seen").fetchall() == before


def test_a_column_that_is_called_as_the_reason_is_refused(place: Path) -> None:
    changed(place, "select order_id,", "select order_id as capstan_dropped_because,")
    with pytest.raises(
        InvalidDataError, match=r"transform\.clean: 'capstan_dropped_because' is a column of Capstan's own"
    ):
        moved(place)
