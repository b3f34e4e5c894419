"""A DuckDB of its own for one extraction, which spills to disk and leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from capstan.data.text_types import literal
from capstan.duckdb_bars import without_bar


@contextmanager
def workspace(*, threads: int, memory: int, zone: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database whose days are those of `zone`; beyond `memory` bytes it spills."""
    with tempfile.TemporaryDirectory(prefix="capstan-extract-") as spill:
        connection = duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": f"{memory // 2**20}MiB",
                "temp_directory": spill,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        try:
            without_bar(connection)
            connection.execute(f"set TimeZone = {literal(zone)}")
            yield connection
        finally:
            connection.close()
