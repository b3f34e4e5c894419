"""DuckDB without the bar that it draws into the terminal of whoever runs a query."""

from __future__ import annotations

import duckdb


def without_bar(connection: duckdb.DuckDBPyConnection) -> None:
    """Switch the bar off where it is on.

    In a notebook's kernel without ipywidgets it is off, and DuckDB refuses even to switch it off.
    """
    # A result that is not read to its end keeps the connection busy for what comes next.
    [(is_on,)] = connection.execute("select current_setting('enable_progress_bar')").fetchall()
    if is_on:
        connection.execute("set enable_progress_bar = false")
