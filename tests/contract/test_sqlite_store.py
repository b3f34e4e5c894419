"""The SQLite store keeps the Store's contract, across processes, full disks and locks."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from capstan.adapters.sqlite.store import SqliteStore
from capstan.errors import DiskFullError, UnavailableError
from capstan.ports.store import Kind
from capstan.testing.ports.store import StoreContract, event, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


class TestSqliteStore(StoreContract):
    pass


def test_records_and_events_survive_a_restart(path: Path, store: SqliteStore) -> None:
    stored = store.put(record())
    store.record_event(event(), once="a")
    store.close()
    again = SqliteStore(path)
    again.record_event(event(), once="a")
    assert again.get(Kind.SYSTEM, "flights") == stored
    assert len(again.events()) == 1
    again.close()


_ADD = """
import sys
from dataclasses import replace
from pathlib import Path
from capstan.adapters.sqlite.store import SqliteStore
from capstan.errors import ConflictError
from capstan.ports.store import Kind
store = SqliteStore(Path(sys.argv[1]))
for _ in range(25):
    while True:
        found = store.get(Kind.SYSTEM, "flights")
        try:
            store.put(replace(found, status={"count": found.status["count"] + 1}))
        except ConflictError:
            continue
        break
"""


def test_no_update_of_two_processes_is_lost(path: Path, store: SqliteStore) -> None:
    """FAULTS 6."""
    store.put(replace(record(), status={"count": 0}))
    children = [subprocess.Popen([sys.executable, "-c", _ADD, str(path)]) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    kept = store.get(Kind.SYSTEM, "flights")
    assert kept is not None
    assert kept.status == {"count": 50}


def test_a_store_locked_for_too_long_is_unavailable_and_goes_on_afterwards(path: Path) -> None:
    """FAULTS 34."""
    store = SqliteStore(path, busy_timeout_seconds=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(UnavailableError, match=r"locked for more than 0\.05 s"):
        store.put(record())
    other.execute("rollback")
    other.close()
    assert store.put(record()).resource_version == 1
    store.close()


def test_a_full_disk_is_a_clear_error_and_nothing_is_half_written(path: Path) -> None:
    """FAULTS 34."""
    store = SqliteStore(path)
    kept = store.put(record())
    pages = store._connection().execute("pragma page_count").fetchone()[0]
    store._connection().execute(f"pragma max_page_count = {pages}")
    with pytest.raises(DiskFullError, match="nothing was half-written"):
        store.put(replace(kept, status={"text": "x" * 100_000}))
    assert store.get(Kind.SYSTEM, "flights") == kept
    store._connection().execute("pragma max_page_count = 1000000")
    assert store.put(replace(kept, status={"text": "x" * 100_000})).resource_version == 2
    store.close()
