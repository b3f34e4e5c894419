"""Two models behind one endpoint, asked in-process: one version, one request, one answer that holds both."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from unit.serving.conftest import MANIFEST
from unit.serving.test_app import ROW, Service

from capstan.features.kinds import CategoricalSettings, NumericSettings
from capstan.features.several_models import PartModel, SeveralModels, in_one_pipeline
from capstan.features.transform import FeatureTransform
from capstan.serving.model import Model, load

V2 = "/v2/models/toy/infer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-models")
    rng = np.random.default_rng(7)
    rows = 400
    frame = pd.DataFrame(
        {
            "distance": rng.uniform(100, 3000, rows),
            "temp": rng.normal(10, 8, rows),
            "carrier": rng.choice(["AA", "UA", "NO"], rows),
            "dest": rng.choice(["LAX", "SFO"], rows),
        }
    )
    far = frame["distance"] / 3000 + rng.normal(0, 0.3, rows) > 0.5
    cold = frame["temp"] + rng.normal(0, 4, rows) < 8
    parts = {
        "far": (
            (NumericSettings("distance", "distance", scale="Log"), CategoricalSettings("carrier", "carrier")),
            far,
        ),
        "cold": (
            (NumericSettings("temp", "temp", scale="ZScore"), CategoricalSettings("dest", "dest")),
            cold,
        ),
    }
    pipelines = {
        name: Pipeline([("transform", FeatureTransform(settings)), ("model", LogisticRegression())]).fit(
            frame, label
        )
        for name, (settings, label) in parts.items()
    }
    joblib.dump(in_one_pipeline(pipelines), folder / "pipeline.joblib")
    frame.head(50).to_parquet(folder / "sample.parquet")
    manifest = {
        **MANIFEST,
        "combine": {"rule": "Any", "models": ["far", "cold"], "weights": [], "keep": 0},
        "models": [{"name": name, "classes": [False, True]} for name in parts],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder)


@pytest.fixture
def service(model: Model) -> Service:
    return Service(model)


def test_one_request_asks_both_models_by_their_compiled_paths(service: Service, model: Model) -> None:
    assert model.fallback == ""
    far, cold = model.predict_row(ROW)
    batch = model.predict_batch([ROW])
    assert batch.shape == (1, 2)
    np.testing.assert_allclose([far, cold], batch[0], rtol=1e-12)
    answer = service.post(ROW).json()["predictions"][0]
    assert answer == {
        "probability": max(far, cold),
        "label": max(far, cold) >= 0.5,
        "models": {
            "far": {"probability": far, "label": far >= 0.5},
            "cold": {"probability": cold, "label": cold >= 0.5},
        },
    }


def test_a_row_among_others_is_answered_as_by_itself(service: Service) -> None:
    rows = [{**ROW, "distance": distance} for distance in (100, 2900, 700)]
    many = service.post({"rows": rows}).json()["predictions"]
    assert many == [service.post(row).json()["predictions"][0] for row in rows]


def test_a_request_carries_the_inputs_of_both_models(service: Service) -> None:
    asked = service.ask("GET", "/v2/models/toy").json()
    assert [column["name"] for column in asked["inputs"]] == ["distance", "temp", "carrier", "dest"]
    assert [output["name"] for output in asked["outputs"]] == [
        *("probability", "label"),
        *("far.probability", "far.label"),
        *("cold.probability", "cold.label"),
    ]
    refused = service.post({name: value for name, value in ROW.items() if name != "distance"})
    assert refused.status_code == 422
    assert refused.json()["error"]["field"] == "distance"


def test_v2_answers_with_tensors_of_each_model(service: Service) -> None:
    native = service.post(ROW).json()["predictions"][0]
    inputs = [
        {
            "name": name,
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "shape": [1],
            "data": [value],
        }
        for name, value in ROW.items()
    ]
    outputs = {one["name"]: one["data"] for one in service.post({"inputs": inputs}, V2).json()["outputs"]}
    assert outputs["probability"] == [native["probability"]]
    assert outputs["cold.probability"] == [native["models"]["cold"]["probability"]]
    assert outputs["far.label"] == [native["models"]["far"]["label"]]


def test_the_payload_holds_what_each_model_said(service: Service) -> None:
    answer = service.post(ROW).json()["predictions"][0]
    (record,) = service.log.records
    assert record.outputs == {
        "probability": answer["probability"],
        "far.probability": answer["models"]["far"]["probability"],
        "cold.probability": answer["models"]["cold"]["probability"],
    }


class Broken:
    """A model that fails as a person's may."""

    classes_ = (False, True)

    def __init__(self, probability: float | None) -> None:
        self.probability = probability

    def predict_proba(self, matrix: Any) -> Any:
        if self.probability is None:
            raise ZeroDivisionError("no mercy")
        return np.full((len(matrix), 2), self.probability)


def with_broken(folder: Path, probability: float | None) -> Pipeline:
    """The pipeline, whose second model is broken."""
    pipeline = joblib.load(folder / "pipeline.joblib")
    first, second = pipeline.steps[-1][1].parts
    broken = PartModel(second.name, Broken(probability), second.features, second.columns)
    return Pipeline([pipeline.steps[0], ("model", SeveralModels((first, broken)))])


@pytest.mark.parametrize("compiled", [True, False], ids=["one row", "by the pipeline"])
@pytest.mark.parametrize("said", [math.nan, math.inf, -0.1])
def test_an_unsound_answer_of_one_model_is_a_500_that_names_it(
    folder: Path, model: Model, said: float, compiled: bool
) -> None:
    from capstan.features.rowwise import compile_predict

    pipeline = with_broken(folder, said)
    service = Service(Model(model.manifest, pipeline, compile_predict(pipeline) if compiled else None))
    body = ROW if compiled else {"rows": [ROW, ROW]}
    answer = service.post(body)
    assert answer.status_code == 500
    assert answer.json()["error"]["rule"] == "the answer of model cold is not a number from 0 to 1"
    assert all(record.nonfinite and record.outputs is None for record in service.log.records)


@pytest.mark.parametrize("compiled", [True, False], ids=["one row", "by the pipeline"])
def test_a_model_that_raises_is_named(folder: Path, model: Model, compiled: bool) -> None:
    from capstan.features.rowwise import compile_predict

    pipeline = with_broken(folder, None)
    service = Service(Model(model.manifest, pipeline, compile_predict(pipeline) if compiled else None))
    answer = service.post(ROW)
    assert answer.status_code == 500
    assert "model cold: ZeroDivisionError: no mercy" in answer.json()["error"]["rule"]


def test_a_category_that_one_model_never_saw_is_marked(service: Service) -> None:
    answer = service.post({**ROW, "dest": "JFK"}).json()["predictions"][0]
    assert [mark["field"] for mark in answer["outside"]] == ["dest"]
