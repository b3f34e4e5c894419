"""The example of ETL as it is written: MariaDB, DataFrames of a real Spark, PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract.mariadb import mariadb
from contract.postgresql import postgresql
from etl_example import check_example, filled

from capstan.errors import InvalidDataError
from capstan.spec.etl import load_etl
from capstan.verbs.etl import move_rows


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "local[2]")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


def test_the_example_moves_rows_from_mariadb_by_spark_into_postgresql(tmp_path: Path) -> None:
    with mariadb() as source, postgresql() as address:
        target = address.replace("+psycopg2", "")
        check_example(filled(tmp_path, source, target), target)


def test_what_spark_refuses_is_told_in_a_line_by_its_step(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    file = tmp_path / "etl.yaml"
    file.write_text(
        "apiVersion: capstan.dev/v1alpha1\nkind: ETL\nmetadata: {name: one}\nspec:\n  engine: Spark\n"
        "  extract: [{name: rows, csv: {path: rows.csv}}]\n  transform: [{name: t, sql: select b from rows}]\n"
        "  load: [{name: t, parquet: {path: t.parquet}}]\n"
    )
    with pytest.raises(InvalidDataError, match=r"^transform.t: [^\n]*`?b`?[^\n]*$"):
        move_rows(load_etl(file), tmp_path / "state")
