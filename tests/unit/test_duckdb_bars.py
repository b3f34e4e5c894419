"""DuckDB draws no bar, in a terminal as in a notebook."""

from __future__ import annotations

from types import SimpleNamespace

import duckdb

from capstan.data.workspace import workspace
from capstan.duckdb_bars import without_bar


def test_a_bar_that_is_on_is_switched_off() -> None:
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = true")
        without_bar(connection)
        assert connection.execute("select current_setting('enable_progress_bar')").fetchone() == (False,)


def test_where_it_is_off_nothing_is_set_for_a_kernel_without_ipywidgets_refuses_that() -> None:
    asked: list[str] = []

    def execute(query: str) -> SimpleNamespace:
        asked.append(query)
        if query.startswith("set"):
            raise duckdb.InvalidInputException("required package 'ipywidgets' is missing")
        return SimpleNamespace(fetchall=lambda: [(False,)])

    without_bar(SimpleNamespace(execute=execute))  # type: ignore[arg-type]
    assert len(asked) == 1


def test_a_workspace_has_none() -> None:
    with workspace(threads=1, memory=2**28, zone="UTC") as connection:
        assert connection.execute("select current_setting('enable_progress_bar')").fetchone() == (False,)


def test_the_connection_is_free_for_all_that_comes_next() -> None:
    with duckdb.connect() as connection:
        without_bar(connection)
        assert connection.sql("select 1").fetchall() == [(1,)]
