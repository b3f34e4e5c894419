"""A small fitted pipeline as a model folder."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from capstan.features.kinds import CategoricalSettings, NumericSettings
from capstan.features.transform import FeatureTransform

MANIFEST = {
    "system": "toy",
    "task": "BinaryClassification",
    "target": "late",
    "columns": [
        {"name": "distance", "type": "Number", "kind": "numeric", "nullable": False, "min": 1, "max": 5000},
        {"name": "temp", "type": "Number", "kind": "numeric", "nullable": True},
        {
            "name": "carrier",
            "type": "Text",
            "kind": "categorical",
            "nullable": False,
            "allowed": ["AA", "UA", "NO"],
        },
        {"name": "dest", "type": "Text", "kind": "categorical", "nullable": True},
    ],
    "keys": {"id": "flight_id", "time": "scheduled_departure", "sticky_by": "tailnum"},
    "classes": [False, True],
}


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
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
    late = (frame["distance"] / 3000 + (frame["carrier"] == "UA") + rng.normal(0, 0.5, rows)) > 1
    transform = FeatureTransform(
        (
            NumericSettings("distance", "distance", scale="Log"),
            NumericSettings("temp", "temp", scale="ZScore"),
            CategoricalSettings("carrier", "carrier"),
            CategoricalSettings("dest", "dest"),
        )
    )
    pipeline = Pipeline([("transform", transform), ("model", LogisticRegression())]).fit(frame, late)
    joblib.dump(pipeline, folder / "pipeline.joblib")
    frame.head(50).to_parquet(folder / "sample.parquet")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    return folder
