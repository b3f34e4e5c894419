"""`capstan profile` shows what the columns of a table hold, from all of its rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from capstan.cli.main import app

TABLE = """id,seen_at,plan,price,known
1,2026-01-03T09:00:00Z,basic,9.9,true
2,2026-01-04T09:00:00Z,pro,19.9,false
3,2026-01-05T09:00:00Z,pro,,true
4,2026-01-06T09:00:00Z,?,29.9,true
"""


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["profile", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "customers.csv"
    file.write_text(TABLE)
    return file


def test_each_column_is_told_by_type_missing_distinct_and_range(table: Path) -> None:
    code, output = run(str(table))
    assert code == 0
    rows = {line.split()[0]: re.split(r"  +", line)[1:] for line in output.splitlines()[2:7]}
    assert output.splitlines()[0].endswith("customers.csv: 4 rows, 5 columns")
    assert rows["id"] == ["Number", "-", "all", "1 to 4, whole numbers"]
    assert rows["seen_at"] == ["Time", "-", "all", "2026-01-03 09:00Z to 2026-01-06 09:00Z"]
    assert rows["plan"] == ["Text", "-", "3", "pro 50%, ? 25%, basic 25%"]
    assert rows["price"] == ["Number", "1 (25.0%)", "3", "9.9 to 29.9"]
    assert rows["known"] == ["Boolean", "-", "2", "true 75%, false 25%"]


def test_what_looks_wrong_is_told_below(table: Path) -> None:
    _, output = run(str(table))
    assert output.splitlines()[-2:] == ["look at", "  plan: '?' may mean that the value is missing (1 row)"]
    assert run(str(table), "--column", "price")[1].splitlines()[-1] == "nothing looks wrong"


def test_a_column_that_is_not_there_is_told_with_those_there_are(table: Path) -> None:
    code, output = run(str(table), "-c", "prize")
    assert code == 1
    assert "--column prize" in output
    assert "id, seen_at, plan, price, known" in output.replace("\n", " ")


def test_machines_get_all_that_was_seen(table: Path) -> None:
    code, output = run(str(table), "--json", "-c", "plan")
    document = json.loads(output)
    assert (code, document["rows"], document["kind"]) == (0, 4, "csv")
    (plan,) = document["columns"]
    assert (plan["kind"], plan["missing"], plan["distinct"]) == ("Text", 0, 3)
    assert plan["counts"] == {"pro": 2, "?": 1, "basic": 1}
    assert plan["suspicions"] == ["'?' may mean that the value is missing (1 row)"]


def test_a_parquet_file_is_profiled_by_its_own_types(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"code": ["007", "008"], "n": [1.5, 2.5]}), file)
    _, output = run(str(file))
    assert re.search(r"code +Text +- +all +such as 007", output)
    assert re.search(r"n +Number +- +all +1.5 to 2.5", output)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.xlsx"
    file.write_text("nothing")
    code, output = run(str(file), "--json")
    assert code == 1
    assert "is not a kind of table that Capstan reads" in json.loads(output)["message"]
