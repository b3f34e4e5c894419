"""Large tables lie in files: the same rows, a batch of them in memory, and nothing left on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.data import extraction, mapped_tables
from capstan.data.extraction import extract
from capstan.data.mapped_tables import filtered, mapped
from capstan.errors import CapstanError
from capstan.spec import MLSystem, parse

KEPT = st.lists(st.sampled_from([True, False, None]), max_size=40)


def table_of(rows: int, *, chunk: int) -> pa.Table:
    whole = pa.table(
        {
            "n": np.arange(rows, dtype=np.float64),
            "t": [None if at % 7 == 3 else f"text {at}" for at in range(rows)],
        },
        schema=pa.schema([("n", pa.float64()), ("t", pa.string())], metadata={"told": "by the table"}),
    )
    return pa.concat_tables([whole.slice(at, chunk) for at in range(0, rows, chunk)] or [whole])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every table counts as large; returns the folder of temporary files."""
    monkeypatch.setattr(mapped_tables, "IN_MEMORY", 0)
    monkeypatch.setattr(mapped_tables, "BATCH_ROWS", 5)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@given(kept=KEPT, chunk=st.integers(1, 9), parts=st.integers(1, 4))
def test_a_large_table_has_the_rows_that_a_small_one_has(
    kept: list[bool | None], chunk: int, parts: int
) -> None:
    table = table_of(len(kept), chunk=chunk)
    mask = pa.chunked_array([pa.array(kept[at::parts], pa.bool_()) for at in range(parts)])
    expected = table.filter(mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped_tables, "IN_MEMORY", 0)
        patch.setattr(mapped_tables, "BATCH_ROWS", 5)
        found = filtered(table, mask)
    assert found.equals(expected)
    assert found.schema.metadata == table.schema.metadata


def test_a_table_of_which_every_row_is_kept_is_the_table(small: Path) -> None:
    table = table_of(20, chunk=6)
    assert filtered(table, pa.array([True] * 20)) is table
    assert filtered(table, pa.array([True] * 19 + [None])).num_rows == 19


def test_nothing_is_left_on_the_disk_while_the_table_is_read_and_after(small: Path) -> None:
    found = filtered(table_of(20, chunk=6), pa.array([True, False] * 10))
    assert list(small.iterdir()) == []
    assert found["n"].to_pylist() == [float(at) for at in range(0, 20, 2)]


def test_one_batch_is_in_memory_at_a_time(small: Path) -> None:
    schema, held = pa.schema([("n", pa.float64())]), []
    before = pa.total_allocated_bytes()

    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(50):
            # Arrow's own memory, of which it tells how much is in use.
            yield pa.record_batch([pa.compute.add(pa.nulls(125_000, pa.float64()), 1.0)], schema=schema)
            held.append(pa.total_allocated_bytes() - before)

    table = mapped(schema, batches())
    assert table.num_rows == 50 * 125_000
    assert max(held) < 5 * 1_200_000, "a batch is a megabyte"
    assert pa.total_allocated_bytes() - before < 1_200_000, "its pages are the system's"


def test_a_folder_that_cannot_be_written_to_is_named(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small / "nowhere"))
    with pytest.raises(CapstanError, match="nowhere"):
        mapped(pa.schema([("n", pa.float64())]), [])


def system_of(folder: Path) -> MLSystem:
    rows = [
        f"{at},2024-01-{1 + at % 28:02d}T00:00:00Z,{at * 0.5},kind {at % 3},{at % 2 == 0}" for at in range(90)
    ]
    (folder / "visits.csv").write_text("\n".join(["id,at,n,c,ill", *rows]))
    data = {
        "sources": [{"name": "visits", "csv": {"path": "visits.csv"}}],
        "keys": {"id": "id", "time": "at"},
        "label": {"column": "ill"},
    }
    features = [{"name": "n", "numeric": {}}, {"name": "c", "categorical": {}}]
    spec = {
        "objective": {"task": "BinaryClassification", "target": "ill"},
        "data": data,
        "features": features,
    }
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "shop"},
        "spec": spec,
    }
    return parse(document, base_dir=folder)


def test_an_extraction_of_many_rows_is_that_of_few_and_lies_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, made = system_of(tmp_path), list[int]()
    plain = extract(system, as_of=None, labels_as_of=None)
    monkeypatch.setattr(extraction, "IN_MEMORY", 0)
    monkeypatch.setattr(extraction, "BATCH_ROWS", 2048)

    def noted(schema: pa.Schema, batches: Any) -> pa.Table:
        made.append(1)
        return mapped(schema, batches)

    monkeypatch.setattr(extraction, "mapped", noted)
    large = extract(system, as_of=None, labels_as_of=None)
    assert made == [1]
    assert large.equals(plain)
    assert large.schema.metadata == plain.schema.metadata


def test_what_cases_were_made_of_is_gone_before_they_are_sorted(tmp_path: Path) -> None:
    system = system_of(tmp_path)
    columns = extraction.needed_columns(system)
    wanted: dict[str, Any] = {
        "columns": columns,
        "targets": ["ill"],
        "threads": 1,
        "memory": None,
        "secrets": None,
    }
    moments: dict[str, Any] = dict.fromkeys(("as_of", "labels_as_of", "start", "end"))
    with extraction.selected_cases(system, **moments, **wanted) as selected:
        there = {name for (name,) in selected.connection.execute("show tables").fetchall()}
        assert "_joined" in there
        assert selected.as_table(system).num_rows == 90
        left = {name for (name,) in selected.connection.execute("show tables").fetchall()}
        assert "_joined" not in left
