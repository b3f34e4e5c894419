"""A column that SQLite declares as boolean is one, as in all other sources, or it is told why not."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from capstan.data import extract, request_schema
from capstan.data.inspection import inspect_data
from capstan.features.columns import texts, type_of
from capstan.features.values import ColumnType
from capstan.spec import MLSystem, parse

START = datetime(2024, 3, 1, tzinfo=UTC)


def system(
    folder: Path, values: Sequence[object], declared: str = "BOOLEAN", *, numeric: bool = False, **source: Any
) -> MLSystem:
    with closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        connection.execute(f"create table rows (id text, at text, label integer, vip {declared})")
        rows = [
            (f"r{hour}", (START + timedelta(hours=hour)).isoformat(), hour % 2, value)
            for hour, value in enumerate(values)
        ]
        connection.executemany("insert into rows values (?, ?, ?, ?)", rows)
    (folder / "secrets" / "shop").mkdir(parents=True)
    (folder / "secrets" / "shop" / "url").write_text("sqlite:///shop.db\n")
    secret = {"secretKeyRef": {"name": "shop", "key": "url"}}
    database = {"table": "rows", "urlFrom": secret, "timeColumn": "at"}
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "booleans"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [{"name": "rows", "database": database, **source}],
                    "query": "select * from rows where vip is null or vip or not vip" if not source else None,
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "label", "availableAt": "at"},
                },
                "features": [{"name": "vip", "numeric" if numeric else "categorical": {}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            },
        },
        base_dir=folder,
    )


def read(made: MLSystem, as_of: datetime | None = None) -> pa.Table:
    return extract(made, as_of=as_of, labels_as_of=as_of, secrets=made.base_dir / "secrets")


@pytest.mark.parametrize("declared", ["BOOLEAN", "bool", "Boolean not null default 0"])
def test_a_column_of_sqlite_that_is_declared_boolean_holds_booleans(declared: str, tmp_path: Path) -> None:
    made = system(tmp_path, [1, 0, True, 1.0], declared)
    table = read(made)
    assert type_of(table["vip"]) is ColumnType.BOOLEAN
    assert texts(table["vip"], ColumnType.BOOLEAN).tolist() == ["true", "false", "true", "true"]
    (column,) = request_schema(made, table)
    assert column.type == ColumnType.BOOLEAN


def test_missing_booleans_of_sqlite_stay_missing(tmp_path: Path) -> None:
    assert read(system(tmp_path, [1, None, 0]))["vip"].to_pylist() == [True, None, False]


def test_a_boolean_column_with_other_values_is_told_and_stays_what_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = system(tmp_path, [1, 0, 2, 7, 2])
    with caplog.at_level(logging.WARNING, "capstan.data"):
        table = read(made)
    assert table["vip"].to_pylist() == [1, 0, 2, 7, 2]
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == (
        "data.sources.rows: column 'vip' of table rows is declared as boolean, but 3 of its values are neither 0 nor 1 "
        "(table rows: '2'; table rows: '7'), so it is not read as boolean; correct them, or state its type: "
        "types: [{column: vip, type: Number}]"
    )
    now = START + timedelta(days=1)
    assert told in inspect_data(made, now=now, secrets=tmp_path / "secrets").warnings


def test_a_boolean_column_that_is_stated_to_be_a_number_is_one_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = system(tmp_path, [1, 0, 1], types=[{"column": "vip", "type": "Number"}], numeric=True)
    with caplog.at_level(logging.WARNING, "capstan.data"):
        assert type_of(read(made)["vip"]) is ColumnType.NUMBER
    assert not caplog.records


def test_a_later_value_does_not_make_a_boolean_column_another(tmp_path: Path) -> None:
    made = system(tmp_path, [1, 0, 2])
    assert read(made, as_of=START + timedelta(hours=1))["vip"].to_pylist() == [True, False]
