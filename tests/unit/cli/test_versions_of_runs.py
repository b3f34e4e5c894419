"""Which version answers where none serves yet, and how a model that was fitted elsewhere becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.layout import StateDir
from capstan.errors import InvalidDataError, NotFoundError
from capstan.features.imported import ImportedModel
from capstan.spec import MLSystem, parse
from capstan.tasks import task_of
from capstan.verbs import answering, importing

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPEC = {
    "objective": {"task": "BinaryClassification", "target": "late"},
    "data": {
        "sources": [{"name": "cases", "csv": {"path": "cases.csv"}}],
        "label": {"column": "late"},
    },
    "features": [{"name": "x", "numeric": {}}, {"name": "y", "numeric": {}}],
}


@pytest.fixture
def system(tmp_path: Path) -> MLSystem:
    head = {"apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": "toy"}}
    return parse({**head, "spec": SPEC}, base_dir=tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path / "state")
    made.prepare(SystemName("toy"))
    made.mlflow_database.touch()
    return made


def _registered(monkeypatch: pytest.MonkeyPatch, ranks: Sequence[int]) -> None:
    first = ModelVersion(VersionName("v1"), Digest("sha256:0"), RunName("toy-1"), "toy:1", NOW)
    found = [
        replace(first, name=VersionName(f"v{number}"), rank=rank) for number, rank in enumerate(ranks, 1)
    ]
    monkeypatch.setattr(answering, "registry_of", lambda *_: SimpleNamespace(versions=lambda: found))


def test_a_runner_up_is_never_the_newest(
    system: MLSystem, state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    _registered(monkeypatch, [0, 1, 0, 1, 2])
    assert answering.newest_name(system, state) == "v3"


def test_runners_up_alone_are_no_version_that_answers(
    system: MLSystem, state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    _registered(monkeypatch, [1])
    with pytest.raises(NotFoundError, match="train one first"):
        answering.newest_name(system, state)


def test_an_import_reads_secrets_from_the_state_folder(
    system: MLSystem, state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def extract(*_: Any, **settings: Any) -> pa.Table:
        asked.append(settings)
        return pa.table({"x": [1.0], "y": [2.0], "late": [True]})

    monkeypatch.setattr(importing, "extract", extract)
    importing._labelled(system, state, None, NOW)
    assert asked[0]["secrets"] == state.secrets


class LightGbmLike(LogisticRegression):  # type: ignore[misc]
    """Has names for what it learnt from an array, as LightGBM's estimators do."""

    def fit(self, rows: Any, truth: Any) -> LightGbmLike:
        super().fit(rows, truth)
        if not isinstance(rows, pd.DataFrame):
            self.feature_names_in_ = [f"Column_{number}" for number in range(rows.shape[1])]
        return self

    def predict_proba(self, rows: Any) -> Any:
        # An array fits it, whatever its names are.
        return np.column_stack([rows[:, 0] < 40, rows[:, 0] >= 40]).astype(float)


def _fitted(*, names: Sequence[str] | None) -> LightGbmLike:
    values = np.arange(80, dtype=np.float64).reshape(40, 2)
    rows: Any = values if names is None else pd.DataFrame(values, columns=list(names))
    return LightGbmLike().fit(rows, np.arange(40) >= 20)


def _wrapped(system: MLSystem, model: LightGbmLike, columns: Sequence[str] | None) -> ImportedModel:
    return importing.wrap(model, system, task_of(system.spec), columns)


def test_lightgbm_of_an_array_takes_names(system: MLSystem) -> None:
    wrapped = _wrapped(system, _fitted(names=None), ["y", "x"])
    assert wrapped.columns == ("y", "x")
    assert not wrapped.takes_names
    rows = pa.table({"x": [1.0, 79.0], "y": [0.0, 78.0]})
    assert wrapped.predict_proba(rows).shape == (2, 2)


def test_lightgbm_of_an_array_asks_for_names(system: MLSystem) -> None:
    with pytest.raises(InvalidDataError, match="name them in order by `columns`"):
        _wrapped(system, _fitted(names=None), None)


def test_lightgbm_of_a_data_frame_keeps_its_names(system: MLSystem) -> None:
    assert _wrapped(system, _fitted(names=["y", "x"]), None).takes_names
    with pytest.raises(InvalidDataError, match="leave `columns` out"):
        _wrapped(system, _fitted(names=["y", "x"]), ["x", "y"])
