"""Large tables lie in files: the same rows, a batch of them in memory, and nothing left on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.data import mapped_tables
from capstan.data.mapped_tables import filtered, mapped
from capstan.errors import CapstanError

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
