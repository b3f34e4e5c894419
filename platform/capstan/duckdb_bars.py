"""DuckDB without the bar that it draws into the terminal of whoever runs a query."""

from __future__ import annotations

import duckdb


def without_bar(connection: duckdb.DuckDBPyConnection) -> None:
    """Switch the bar off where it is on.

    In a notebook's kernel without ipywidgets it is off, and DuckDB refuses even to switch it off.
    """
    found = connection.execute("select current_setting('enable_progress_bar')").fetchone()
    if found is not None and found[0]:
        connection.execute("set enable_progress_bar = false")
