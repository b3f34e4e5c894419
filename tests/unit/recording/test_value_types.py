"""A window of the training's own values is no drift, whoever wrote them and in whatever type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sent_payloads import taken

from capstan.features.values import ColumnType
from capstan.monitoring.drift.fitting import fit
from capstan.recording.blocks import Rows
from capstan.recording.payloads import columns_of
from capstan.spec import MLSystem, parse

START = datetime(2026, 4, 1, tzinfo=UTC)
ROWS = 200


def system() -> MLSystem:
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "still"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "churned"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "churned", "availableAt": "at"},
            },
            "features": [{"name": "value", "categorical": {}}],
            "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
        },
    }
    return parse(document, base_dir=Path())


def received(column: str, values: list[object]) -> list[tuple[Rows, datetime]]:
    payloads = [
        {
            "id": f"boot-{number}",
            "source": "/capstan/still/v1",
            "data": {"event_time": START.isoformat(), "inputs": {column: value}},
        }
        for number, value in enumerate(values)
    ]
    return [(rows, START) for rows in taken(*payloads)]


@pytest.mark.parametrize(
    ("trained", "kind", "sent"),
    [
        pytest.param(pa.array([True, False]), ColumnType.BOOLEAN, [True, False], id="arrow-and-json"),
        pytest.param(np.array([True, False]), ColumnType.BOOLEAN, ["True", "False"], id="numpy-and-texts"),
        pytest.param(
            pd.array([True, False], dtype="boolean"), ColumnType.BOOLEAN, [1, 0], id="pandas-and-numbers"
        ),
        pytest.param(pa.array([1, 2]), ColumnType.NUMBER, [1.0, "2"], id="whole-numbers"),
        pytest.param(pa.array([1e15, 2.5]), ColumnType.NUMBER, [10**15, 2.5], id="large-numbers"),
        pytest.param(pa.array(["NA", "007"]), ColumnType.TEXT, ["NA", "007"], id="texts"),
    ],
)
def test_a_category_that_never_changes_has_no_new_value(
    trained: object, kind: ColumnType, sent: list[object]
) -> None:
    values = trained.to_pylist() if isinstance(trained, pa.Array) else list(trained)  # type: ignore[call-overload]
    column = (
        pa.array(values * (ROWS // 2)) if isinstance(trained, pa.Array) else np.array(values * (ROWS // 2))
    )
    times = [
        np.datetime64((START + timedelta(hours=index)).replace(tzinfo=None), "us") for index in range(ROWS)
    ]
    reference = fit({"value": column, "at": np.array(times)}, system())
    (feature,) = reference.features
    assert (feature.type, len(feature.vocabulary)) == (kind, 2)
    stored = columns_of(received("value", sent), {"value": "categorical"}, None)["input.value"].to_pylist()
    codes = feature.codes(stored)
    assert sorted(codes.tolist()) == [0, 1], "each sent value is one that training saw"
    assert feature.sample[:2].tolist() == codes.tolist()


@pytest.mark.parametrize("sent", [[True, False], ["True", "false"], [1, 0]], ids=str)
def test_a_boolean_that_is_read_as_a_number_is_stored_as_one(sent: list[object]) -> None:
    assert columns_of(received("vip", sent), {"vip": "numeric"}, None)["input.vip"].to_pylist() == [1.0, 0.0]
