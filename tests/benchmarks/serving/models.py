"""The models that all contenders serve, laid out for each of them, and the requests in their dialects."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import orjson
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from capstan.features.transform import build_transform
from capstan.serving.model import load
from capstan.spec.features import Feature, Numeric

SYSTEM = "bench"
COLUMNS = tuple(f"c{number:02d}" for number in range(20))
TRAINING_ROWS = 20_000
SAVE_FOR_MLFLOW = (
    "import sys, joblib, mlflow.sklearn as flavour; "
    "flavour.save_model(joblib.load(sys.argv[1]), sys.argv[2], pyfunc_predict_fn='predict_proba', "
    "serialization_format='cloudpickle', pip_requirements=[])"
)


def table(rows: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(5.0, 3.0, size=(rows, len(COLUMNS))).round(4)


def _fitted() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    features = table(TRAINING_ROWS, 0)
    noise = np.random.default_rng(1).normal(size=TRAINING_ROWS)
    late = (features[:, 0] - features[:, 1] + features[:, 2] * features[:, 3] / 5 + noise) > 5
    return features, late


def capstan_folder(folder: Path, *, trees: bool) -> Path:
    """A model folder: logistic regression on scaled numbers, or 100 trees of 15 leaves. Proven to be compiled."""
    folder.mkdir(parents=True)
    features, late = _fitted()
    columns = dict(zip(COLUMNS, features.T, strict=True))
    scale = "None" if trees else "ZScore"
    # By the file's grammar, which other commits have too: the benchmark also runs on their packages.
    transform = build_transform([Feature(name=name, numeric=Numeric(scale=scale)) for name in COLUMNS])
    model: Any = LogisticRegression()
    if trees:
        model = HistGradientBoostingClassifier(
            max_iter=100, max_leaf_nodes=15, early_stopping=False, random_state=0
        )
    joblib.dump(
        Pipeline([("transform", transform), ("model", model)]).fit(columns, late), folder / "pipeline.joblib"
    )
    manifest = {
        "system": SYSTEM,
        "task": "BinaryClassification",
        "target": "late",
        "columns": [
            {"name": name, "type": "Number", "kind": "numeric", "nullable": True} for name in COLUMNS
        ],
        "classes": [False, True],
    }
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    (folder / "sample.json").write_bytes(orjson.dumps(_objects(table(50, 2))))
    if fallback := load(folder).fallback:
        raise SystemExit(f"the compiled path would not be measured: {fallback}")
    return folder


def plain_pipeline(file: Path) -> Path:
    """The same regression as scikit-learn's own pipeline, which the peers load."""
    features, late = _fitted()
    joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(features, late), file)
    return file


def mlserver_folder(folder: Path, pipeline: Path, settings: dict[str, object]) -> Path:
    folder.mkdir(parents=True)
    model = {
        "name": SYSTEM,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(pipeline)},
    }
    (folder / "model-settings.json").write_bytes(orjson.dumps(model))
    (folder / "settings.json").write_bytes(orjson.dumps(settings))
    return folder


def mlflow_folder(folder: Path, pipeline: Path, python: Path) -> Path:
    """Saved by MLflow itself, in its own environment."""
    command = [str(python), "-c", SAVE_FOR_MLFLOW, str(pipeline), str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(f"MLflow could not save the model:\n{told.stderr[-2000:]}")
    return folder


def native(rows: int) -> bytes:
    """As people write rows; also what the bare handler takes."""
    objects = _objects(table(rows, 3))
    return orjson.dumps(objects[0] if rows == 1 else {"rows": objects})


def tensors(rows: int) -> bytes:
    """V2, a tensor per column, as Capstan describes its inputs."""
    columns = zip(COLUMNS, table(rows, 3).T.tolist(), strict=True)
    inputs = [{"name": name, "shape": [rows], "datatype": "FP64", "data": data} for name, data in columns]
    return orjson.dumps({"inputs": inputs})


def matrix(rows: int) -> bytes:
    """V2, one tensor for all columns, as MLServer's scikit-learn runtime takes it."""
    data = table(rows, 3).ravel().tolist()
    tensor = {"name": "rows", "shape": [rows, len(COLUMNS)], "datatype": "FP64", "data": data}
    return orjson.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]})


def inputs(rows: int) -> bytes:
    """MLflow's dialect that needs no pandas frame."""
    return orjson.dumps({"inputs": table(rows, 3).tolist()})


def lists(rows: int) -> bytes:
    """The plain Bento's argument."""
    return orjson.dumps({"rows": table(rows, 3).tolist()})


def _objects(values: np.ndarray[Any, Any]) -> list[dict[str, float]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in values.tolist()]
