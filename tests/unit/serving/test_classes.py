"""A model of several classes answers by compiled code what its pipeline says, in both protocols."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from unit.serving.conftest import MANIFEST
from unit.serving.test_app import ROW, Service

from capstan.features.kinds import CategoricalSettings, NumericSettings
from capstan.features.transform import FeatureTransform
from capstan.serving.model import COLUMN_ROWS, Model, load

NAMES = {3: ["1.5 or less", "on time", "é'\"%"], 2: ["no", "yes"]}
V2 = "/v2/models/toy/infer"
MODELS = {
    "logistic": LogisticRegression(max_iter=500),
    "trees": HistGradientBoostingClassifier(max_iter=10, early_stopping=False, random_state=0),
}


def model_of(folder: Path, estimator: Any, classes: int) -> Model:
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "distance": rng.uniform(100, 3000, 400),
            "temp": rng.normal(10, 8, 400),
            "carrier": rng.choice(["AA", "UA", "NO"], 400),
            "dest": rng.choice(["LAX", "SFO"], 400),
        }
    )
    score = frame["distance"] / 1000 + (frame["carrier"] == "UA") + rng.normal(0, 0.5, 400)
    truth = np.array(NAMES[classes])[np.digitize(score, [1.5, 2.5] if classes == 3 else [2])]
    transform = FeatureTransform(
        (
            NumericSettings("distance", "distance", scale="Log"),
            NumericSettings("temp", "temp", scale="ZScore"),
            CategoricalSettings("carrier", "carrier"),
            CategoricalSettings("dest", "dest"),
        )
    )
    pipeline = Pipeline([("transform", transform), ("model", estimator)]).fit(frame, truth)
    joblib.dump(pipeline, folder / "pipeline.joblib")
    frame.head(50).to_parquet(folder / "sample.parquet")
    manifest = {**MANIFEST, "task": "MulticlassClassification", "classes": pipeline.classes_.tolist()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return load(folder)


@pytest.fixture(scope="module", params=[(name, classes) for name in MODELS for classes in NAMES], ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    name, classes = request.param
    return model_of(tmp_path_factory.mktemp("model"), MODELS[name], classes)


def test_many_rows_go_through_trees_as_columns_with_the_bits_of_single_rows(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, Any]] = [
        {
            "distance": 8.5 * n,
            "temp": None if n % 7 == 0 else n / 3,
            "dest": "LAX",
            "carrier": ("AA", None)[n % 2],
        }
        for n in range(COLUMN_ROWS)
    ]
    del rows[3]["temp"], rows[5]["carrier"]
    asked: list[int] = []
    alone = [model.predict_row(row) for row in rows]
    predict = model._columns
    if predict is not None:
        monkeypatch.setattr(model, "_columns", lambda columns: asked.append(len(rows)) or predict(columns))
    assert np.array_equal(model.predict_rows(rows), alone)
    is_of_trees = isinstance(model.pipeline[-1], HistGradientBoostingClassifier)
    assert asked == ([COLUMN_ROWS] if is_of_trees else [])
    asked.clear()
    model.predict_rows(rows[1:])
    assert not asked, "fewer rows are predicted one by one"


def test_one_row_and_many_are_answered_by_compiled_code_with_every_class(model: Model) -> None:
    assert model.fallback == ""
    service = Service(model)
    rows = [{**ROW, "temp": float(temp), "distance": 500 * temp + 100} for temp in range(5)]
    answers = service.post({"rows": rows}).json()["predictions"]
    assert [service.post(row).json()["predictions"] for row in rows] == [[answer] for answer in answers]
    expected = model.predict_batch(rows)
    assert expected.shape == (5, len(model.manifest.learnt.classes))
    for answer, scores in zip(answers, expected.tolist(), strict=True):
        assert list(answer["probabilities"]) == list(model.manifest.learnt.classes)
        assert list(answer["probabilities"].values()) == pytest.approx(scores, rel=1e-9)
        assert answer["label"] == model.manifest.learnt.classes[int(np.argmax(scores))]


def test_both_protocols_and_the_payload_say_the_same(model: Model) -> None:
    service = Service(model)
    native = service.post(ROW).json()["predictions"][0]
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": "BYTES" if isinstance(ROW[name], str) else "FP64",
            "data": [ROW[name]],
        }
        for name in ("distance", "temp", "carrier", "dest")
    ]
    scores, label = service.post({"inputs": inputs}, V2).json()["outputs"]
    classes = list(model.manifest.learnt.classes)
    assert (scores["name"], scores["datatype"], scores["shape"]) == (
        "probabilities",
        "FP64",
        [1, len(classes)],
    )
    assert json.loads(scores["parameters"]["classes"]) == classes
    assert dict(zip(classes, scores["data"], strict=True)) == native["probabilities"]
    assert (label["datatype"], label["data"]) == ("BYTES", [native["label"]])
    metadata = service.ask("GET", "/v2/models/toy").json()["outputs"]
    assert [(one["name"], one["shape"]) for one in metadata] == [
        ("probabilities", [-1, len(classes)]),
        ("label", [-1]),
    ]
    stored = {
        "label": native["label"],
        **{f"probability.{name}": p for name, p in native["probabilities"].items()},
    }
    assert [record.outputs for record in service.log.records] == [stored, stored]


class _SaysNaN(LogisticRegression):
    def predict_proba(self, matrix: Any) -> Any:
        return np.full((len(matrix), 3), math.nan)


def test_probabilities_that_are_no_numbers_reach_nobody_and_are_counted(tmp_path: Path) -> None:
    service = Service(model_of(tmp_path, _SaysNaN(max_iter=500), 3))
    for body in (ROW, {"rows": [ROW, ROW]}):
        answer = service.post(body)
        assert answer.status_code == 500
        assert (
            "a probability from 0 to 1 of each class, which make 1 together" in answer.json()["error"]["rule"]
        )
    assert [(record.outputs, record.nonfinite) for record in service.log.records] == [(None, True)] * 3
