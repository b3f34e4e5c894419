"""A model serves the compiled path only where it proved equal to the fitted pipeline."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from capstan.errors import InvalidDataError
from capstan.serving import model as serving_model
from capstan.serving.model import Model, as_requests, compare, load

ROWS = [
    {"distance": 1200, "temp": 3.5, "carrier": "UA", "dest": "LAX"},
    {"distance": 300, "carrier": "AA", "dest": None},
]


def exact(plain: Model) -> serving_model.RowPredictor:
    return lambda row: plain.predict_batch([row])[0]


def test_the_proven_compiled_path_answers_single_rows_and_batches(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load(model_dir)
    calls: list[Mapping[str, object]] = []

    def compiled(row: Mapping[str, object]) -> float:
        calls.append(row)
        return float(plain.predict_batch([row])[0])

    monkeypatch.setattr(serving_model, "compile_pipeline", lambda pipeline: compiled)
    loaded = load(model_dir)
    assert loaded.fallback == ""
    assert len(calls) == 50 + 2, "the sample and the edge rows"
    calls.clear()
    assert loaded.predict_rows(ROWS[:1]) == pytest.approx(plain.predict_batch(ROWS[:1]))
    assert len(calls) == 1
    loaded.predict_rows(ROWS)
    assert len(calls) == 1 + len(ROWS), "a batch too, row by row"
    calls.clear()
    monkeypatch.setattr("capstan.serving.model.COMPILED_ROWS", len(ROWS) - 1)
    assert loaded.predict_rows(ROWS) == pytest.approx(plain.predict_batch(ROWS))
    assert not calls, "more rows than that go through the transform itself"


@pytest.mark.parametrize(
    ("compiled", "why"),
    [
        pytest.param(lambda row: 0.5, "where the pipeline gives", id="different"),
        pytest.param(lambda row: row["nowhere"], "the compiled path fails", id="raises"),
        pytest.param(lambda row: [0.1, 0.9], "gives (52, 2)", id="shape"),
    ],
)
def test_an_unequal_compiled_path_is_not_used_and_the_model_says_why(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, compiled: serving_model.RowPredictor, why: str
) -> None:
    monkeypatch.setattr(serving_model, "compile_pipeline", lambda pipeline: compiled)
    loaded = load(model_dir)
    assert why in loaded.fallback
    assert loaded.predict_rows(ROWS[:1]) == pytest.approx(loaded.predict_batch(ROWS[:1]))


def test_the_compiled_path_of_a_real_transform_is_proven_and_used(model_dir: Path) -> None:
    loaded = load(model_dir)
    assert loaded.fallback == ""
    for row in ROWS:
        assert loaded.predict_row(row) == pytest.approx(loaded.predict_batch([row])[0], rel=1e-12)
    assert loaded.known_categories["dest"] == {"LAX", "SFO"}


def test_a_pipeline_over_pandas_frames_is_served_too(model_dir: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(model_dir / "sample.parquet")
    numbers = ["distance"]
    encode = ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore"), ["carrier"]), ("n", "passthrough", numbers)]
    )
    pipeline = Pipeline([("transform", encode), ("model", LogisticRegression())]).fit(
        frame, frame["distance"] > 1000
    )
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    joblib.dump(pipeline, folder / "pipeline.joblib")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["columns"] = [c for c in manifest["columns"] if c["name"] in ("distance", "carrier")]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    loaded = load(folder)
    assert "not compiled" in loaded.fallback
    rows = [{"distance": 1200, "carrier": "UA"}, {"distance": 300, "carrier": "AA"}]
    expected = pipeline.predict_proba(pd.DataFrame(rows))[:, 1]
    assert loaded.predict_rows(rows) == pytest.approx(expected)


def test_a_difference_in_one_row_of_the_sample_is_found(model_dir: Path) -> None:
    plain = load(model_dir)
    assert compare(plain, exact(plain), ROWS) == ""
    off = [{**ROWS[0], "temp": None}]
    assert compare(plain, lambda row: plain.predict_batch([{**row, "temp": 0.0}])[0], off) != ""
    assert compare(plain, exact(plain), []) != ""


def test_a_missing_value_is_the_same_whether_null_or_left_out(model_dir: Path) -> None:
    plain = load(model_dir)
    left_out = {"distance": 300, "carrier": "AA"}
    null = {"distance": 300, "carrier": "AA", "temp": None, "dest": None}
    np.testing.assert_array_equal(plain.predict_batch([left_out]), plain.predict_batch([null]))


def test_a_broken_folder_is_named(model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    (folder / "pipeline.joblib").write_bytes(b"not a pickle")
    with pytest.raises(InvalidDataError, match=r"pipeline\.joblib"):
        load(folder)
    (folder / "manifest.json").write_text('{"system": "toy"}')
    with pytest.raises(InvalidDataError, match="'task' is missing"):
        load(folder)


def test_custom_factories_travel_with_the_model_and_leave_no_bytecode(
    model_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    (folder / "factories").mkdir()
    predict = "def predict_proba(self, table): return numpy.full((len(table), 2), 0.5)"
    source = f"import numpy\nclass Half:\n    {predict}\n"
    (folder / "factories" / "half_of_everything.py").write_text(source)
    # Protocol 0 spells the class by name: the module is importable only from the folder itself.
    (folder / "pipeline.joblib").write_bytes(
        b"ccopy_reg\n_reconstructor\n(chalf_of_everything\nHalf\nc__builtin__\nobject\nNtR."
    )
    loaded = load(folder)
    assert loaded.predict_rows(ROWS).tolist() == [0.5, 0.5]
    assert not list((folder / "factories").rglob("*.pyc"))


def test_rows_of_a_table_are_requests_whatever_the_types_of_its_columns() -> None:
    moment = datetime.fromisoformat("2026-01-02T03:04:00")
    table = pa.table(
        {
            "number": [1.5, None, math.nan, math.inf],
            "single": pa.array([0.1, 2, None, 3], pa.float32()),
            "whole": [1, None, 2**53 + 1, -4],
            "text": ["a", None, "", "b"],
            "truth": [True, None, False, True],
            "moment": pa.array([moment, None, moment, moment], pa.timestamp("us")),
            "exact": pa.array([Decimal("1.50"), None, Decimal("2.00"), Decimal("3.00")]),
            "coded": pa.array(["a", "b", None, "a"]).dictionary_encode(),
            "nothing": pa.nulls(4),
        }
    )
    found = as_requests(pa.concat_tables([table, table]))
    assert found[:4] == found[4:]
    assert [repr(list(row.values())) for row in found[:3]] == [
        repr([1.5, float(np.float32(0.1)), 1, "a", True, str(moment), "1.50", "a", None]),
        repr([None, 2.0, None, None, None, None, None, "b", None]),
        repr([None, None, 2**53 + 1, "", False, str(moment), "2.00", None, None]),
    ]
    assert found[3]["number"] is None
    assert list(found[0]) == table.column_names
    assert as_requests(table.select([])) == [{}] * 4
