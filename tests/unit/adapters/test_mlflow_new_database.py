"""A new SQLite file of MLflow is a copy of tables that were made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.store.db import utils

from capstan.adapters.mlflow import new_database


def test_tables_are_made_once_and_each_new_file_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    new_database.make(f"sqlite:///{tmp_path / 'first.db'}")

    def again(*_: object) -> None:
        raise AssertionError("the tables are made anew")

    monkeypatch.setattr(utils, "_initialize_tables", again)
    second = f"sqlite:///{tmp_path / 'second.db'}"
    new_database.make(second)
    client = MlflowClient(second)
    client.create_experiment("orders")
    assert {experiment.name for experiment in client.search_experiments()} == {"Default", "orders"}
    kept = (tmp_path / "second.db").read_bytes()
    new_database.make(second)
    assert (tmp_path / "second.db").read_bytes() == kept
    new_database.make(f"sqlite:///{tmp_path / 'third.db'}")
    assert [e.name for e in MlflowClient(f"sqlite:///{tmp_path / 'third.db'}").search_experiments()] == [
        "Default"
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"a cache", "first.db", "second.db", "third.db"}
    assert len(list((tmp_path / "a cache/capstan/mlflow").iterdir())) == 1


def test_servers_memory_and_folders_that_are_missing_are_left_to_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in ("https://mlflow.example", "sqlite://", f"sqlite:///{tmp_path / 'missing/mlflow.db'}"):
        new_database.make(uri)
    assert list(tmp_path.iterdir()) == []


def test_without_a_cache_mlflow_makes_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no folder"))
    new_database.make(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert {path.name for path in tmp_path.iterdir()} == {"no folder"}
