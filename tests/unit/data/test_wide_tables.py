"""Of a wide table only what is used is read, and the query means the same as if all had been read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.data import extract, part_cases
from capstan.data.memory import machine_memory, table_memory
from capstan.data.usage import used_columns
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem, parse
from capstan.spec.training import Resources

MIB = 2**20


def wide(folder: Path, columns: int, rows: int, *, used: int = 1, query: str | None = None) -> MLSystem:
    """The case `wide`: a CSV file of so many columns, of which the first `used` are features."""
    names = [f"f{index}" for index in range(columns - 4)]
    filling = ",".join(f"0.{index % 997:03d}" for index in range(len(names)))
    with (folder / "rows.csv").open("w") as file:
        file.write(",".join(["id", "seen_at", "churned", "known_at", *names]) + "\n")
        for row in range(rows):
            at = f"2026-01-{1 + row * 25 // rows:02d}T00:00:00Z"
            file.write(f"c{row},{at},{str(row % 3 == 0).lower()},{at},{filling}\n")
    data: dict[str, Any] = {
        "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "seen_at"}}],
        "keys": {"id": "id", "time": "seen_at"},
        "label": {"column": "churned", "availableAt": "known_at", "maximumDelay": "1d"},
        "split": {"byTime": {"validation": "2d", "test": "2d"}},
    }
    if query is not None:
        data["query"] = query
    spec = {
        "objective": {"task": "BinaryClassification", "target": "churned"},
        "data": data,
        "features": [{"name": name, "numeric": {}} for name in names[:used]],
    }
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "wide"},
        "spec": spec,
    }
    return parse(document, base_dir=folder)


@pytest.mark.parametrize("query", [None, "select * from rows", "select * from rows where f1900 < 2"])
def test_a_table_of_two_thousand_columns_with_one_used_needs_little_memory(
    query: str | None, tmp_path: Path
) -> None:
    system = wide(tmp_path, 2000, 1500, query=query)
    # 3 million cells as texts take 48 MiB in DuckDB, and their types were asked for in one plan of many GiB.
    table = extract(system, as_of=None, labels_as_of=None, memory=40 * MIB)
    assert table.column_names == ["id", "seen_at", "f0", "churned", "label_available_at"]
    assert table["f0"].to_pylist() == [0.0] * 1500


def test_hundreds_of_used_columns_get_their_types_in_bounded_memory(tmp_path: Path) -> None:
    system = wide(tmp_path, 404, 300, used=400)
    table = extract(system, as_of=None, labels_as_of=None, memory=256 * MIB)
    assert {str(table[f"f{index}"].type) for index in range(400)} == {"double"}


TABLES = {
    "rows": "select 'a' || i as id, i as x, i % 3 as k, 'r' as note, i * 2 as extra from range(6) t(i)",
    "other": "select i as k, 10 * i as temp, 'r' as note, 'u' || i as unused from range(3) t(i)",
}
QUERIES = {
    "star": ("select * from rows", "id", {"rows": ["id"]}),
    "named": ("select id, x + 1 as y from rows where extra > 3", "id, y", {"rows": ["id", "x", "extra"]}),
    "join": (
        "select rows.*, temp from rows left join other using (k)",
        "id, temp",
        {"rows": ["id", "k"], "other": ["k", "temp"]},
    ),
    "natural join": (
        "select * from rows natural join other",
        "id, temp",
        {"rows": ["id", "k", "note"], "other": ["k", "temp", "note"]},
    ),
    "distinct": ("select distinct * exclude (id, x) from rows", "k", {"rows": ["k", "note", "extra"]}),
    "union by place": (
        "select x, id from rows union all select temp, unused from other",
        "id",
        {"rows": ["id"], "other": ["unused"]},
    ),
    "union of stars": (
        "select id, x, k, note from rows union all select * from (select note, temp, k, unused from other)",
        "id, note",
        {"rows": ["id", "note"], "other": ["note", "unused"]},
    ),
    "with": ("with few as (select * from rows) select * from few where k = 1", "id", {"rows": ["id", "k"]}),
    "window": (
        "select * from (select *, row_number() over (partition by k order by x) as n from rows) where n = 1",
        "id",
        {"rows": ["id", "x", "k"]},
    ),
    "subquery": (
        "select id from rows where k in (select k from other where temp > 0)",
        "id",
        {"rows": ["id", "k"], "other": ["k", "temp"]},
    ),
    "whole row": (
        "select id, to_json(rows) as y from rows",
        "id, y",
        {"rows": ["id", "x", "k", "note", "extra"]},
    ),
    "row number of the table": (
        "select rowid as id from rows",
        "id",
        {"rows": ["id", "x", "k", "note", "extra"], "other": ["k", "temp", "note", "unused"]},
    ),
    "place": ("select * from rows order by 2", "id", {"rows": ["id", "x"]}),
    "rows alone": ("select count(*) as n from rows, other", "n", {"rows": [], "other": []}),
    "nothing": ("select id from rows where k not in (select 1)", "id", {"rows": ["id", "k"]}),
}


@pytest.mark.parametrize(("query", "items", "used"), QUERIES.values(), ids=QUERIES.keys())
def test_the_plan_over_empty_tables_says_what_a_query_reads(
    query: str, items: str, used: dict[str, list[str]]
) -> None:
    with duckdb.connect() as connection:
        columns = {}
        for name, rows in TABLES.items():
            connection.execute(f"create temp table {name} as select * from ({rows}) limit 0")
            columns[name] = [row[0] for row in connection.execute(f"describe {name}").fetchall()]
        assert used_columns(connection, f"select {items} from ({query})", columns) == used


def test_names_with_odd_characters_are_found_in_the_plan() -> None:
    with duckdb.connect() as connection:
        columns = ['we"ird', "a b", "line\nbreak", "[x]", "a,b", "Größe", "plain"]
        listed = ", ".join('"' + name.replace('"', '""') + '" integer' for name in columns)
        connection.execute(f"create temp table rows ({listed})")
        for name in columns:
            item = '"' + name.replace('"', '""') + '"'
            found = used_columns(connection, f"select {item} from (select * from rows)", {"rows": columns})
            assert name in found["rows"]
            assert found["rows"] in ([name], columns)
        assert used_columns(connection, "select plain from rows", {"rows": columns}) == {"rows": ["plain"]}


@pytest.mark.parametrize("name", [name for name in QUERIES if name not in ("rows alone", "nothing")])
def test_a_query_gives_the_same_whether_all_columns_are_read_or_those_it_uses(
    name: str, tmp_path: Path
) -> None:
    query, items, _ = QUERIES[name]
    with duckdb.connect() as connection:
        for table, rows in TABLES.items():
            connection.execute(f"create table {table} as {rows}")
            pq.write_table(connection.sql(f"from {table}").to_arrow_table(), tmp_path / f"{table}.parquet")
        first = items.split(", ")[-1]
        cases = (
            f"select row_number() over (order by cast({first} as varchar)) as case_id, now() - interval 1 day * "
            f"row_number() over (order by cast({first} as varchar)) as at, true as label, {first} as value "
            f"from ({query})"
        )
        wanted = connection.execute(f"select cast(value as varchar) from ({cases}) order by 1").fetchall()
    spec = {
        "objective": {"task": "BinaryClassification", "target": "label"},
        "data": {
            "sources": [{"name": table, "parquet": {"path": f"{table}.parquet"}} for table in TABLES],
            "query": cases,
            "keys": {"id": "case_id", "time": "at"},
            "label": {"column": "label", "availableAt": "at", "maximumDelay": "1d"},
        },
        "features": [{"name": "value", "categorical": {}}],
    }
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "same"},
        "spec": spec,
    }
    found = extract(parse(document, base_dir=tmp_path), as_of=None, labels_as_of=None)
    assert sorted(str(value) for value in found["value"].to_pylist()) == sorted(value for (value,) in wanted)


def test_a_source_that_the_query_does_not_read_is_not_read(tmp_path: Path) -> None:
    system = wide(tmp_path, 6, 20)
    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["data"]["sources"].append({"name": "idle", "csv": {"path": "idle.csv"}})
    document["spec"]["data"]["query"] = "select * from rows"
    (tmp_path / "idle.csv").write_text("a,b\n1,2,3\n")
    assert extract(parse(document, base_dir=tmp_path), as_of=None, labels_as_of=None).num_rows == 20


# Memory


def test_memory_for_tables_follows_the_container_where_that_is_smaller(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{1024 * MIB}\n")
    assert machine_memory(cgroup=tmp_path) == 1024 * MIB
    assert table_memory(Resources(), cgroup=tmp_path) == 512 * MIB
    (tmp_path / "memory.max").write_text("max\n")
    assert machine_memory(cgroup=tmp_path) == psutil.virtual_memory().total


def test_memory_for_tables_follows_the_file_as_far_as_the_machine_has_it(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{8192 * MIB}\n")

    def stated(**amounts: dict[str, str]) -> int:
        return table_memory(Resources.model_validate(amounts), cgroup=tmp_path)

    assert stated(requests={"memory": "1000Mi"}) == 600 * MIB
    assert stated(requests={"memory": "1000Mi"}, limits={"memory": "2000Mi"}) == 1200 * MIB
    assert stated(requests={"memory": "100Gi"}) == int(0.6 * 8192 * MIB)
    assert stated(requests={"memory": "1Mi"}) == 256 * MIB


def test_the_memory_of_the_file_reaches_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = wide(tmp_path, 6, 20)
    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["training"] = {"resources": {"requests": {"memory": "1000Mi"}}}
    document["spec"]["data"]["query"] = (
        "select * replace (length(current_setting('memory_limit')) * 0 + "
        "cast(regexp_extract(current_setting('memory_limit'), '[0-9.]+') as double) as f0) from rows"
    )
    table = extract(parse(document, base_dir=tmp_path), as_of=None, labels_as_of=None)
    assert isinstance(table, pa.Table)
    assert table["f0"][0].as_py() == pytest.approx(600, abs=5)


def test_without_features_only_keys_and_label_are_read_and_the_parts_are_the_same(tmp_path: Path) -> None:
    system = wide(tmp_path, 300, 1500, used=290)
    read: dict[str, Any] = {}
    table = extract(system, as_of=None, labels_as_of=None, on_read=read.update, features=False)
    assert sorted(read["rows"]) == ["churned", "id", "known_at", "seen_at"]
    assert table.column_names == ["id", "seen_at", "churned", "label_available_at"]
    whole = extract(system, as_of=None, labels_as_of=None)
    assert table.equals(whole.select(table.column_names))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for name in ("training", "validation", "test", "warnings"):
        assert getattr(part_cases(table, system, as_of=now), name) == getattr(
            part_cases(whole, system, as_of=now), name
        )


def test_without_features_a_feature_without_a_column_is_still_told(tmp_path: Path) -> None:
    system = wide(tmp_path, 10, 100, query="select * exclude (f0) from rows")
    with pytest.raises(InvalidDataError, match="gives no column 'f0', which feature 'f0' needs"):
        extract(system, as_of=None, labels_as_of=None, features=False)
