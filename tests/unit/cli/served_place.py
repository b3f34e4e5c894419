"""A state directory with two registered versions, of which the first serves behind an address."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from typer.testing import CliRunner

from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.adapters.processes.ports_in_use import free_port
from capstan.adapters.sqlite.store import SqliteStore
from capstan.artifacts.content import MODEL_FOLDER
from capstan.cli.main import app
from capstan.domain.system import SystemState
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.layout import StateDir
from capstan.features.kinds import CategoricalSettings, NumericSettings
from capstan.features.transform import FeatureTransform
from capstan.ports.codec import to_json
from capstan.ports.store import Kind, Record
from capstan.serving.app import PredictionApp
from capstan.serving.model import load
from capstan.serving.settings import ServiceSettings

SYSTEM = SystemName("toy")
FILE = """
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: toy}
spec:
  objective: {task: BinaryClassification, target: late}
  data:
    sources: [{name: flights, csv: {path: flights.csv, missing: ["?"]}}]
    keys: {id: flight_id}
    label: {column: late, maximumDelay: 1d}
  features:
    - {name: distance, numeric: {}}
    - {name: carrier, categorical: {}}
"""
HEADER = "flight_id,distance,carrier,late\n"


class Place:
    """A state directory whose registry holds v1, the champion, and v2, which says the opposite."""

    def __init__(self, root: Path) -> None:
        self.folder = root
        self.state = StateDir(root / "state")
        self.state.prepare(SYSTEM)
        (root / "system.yaml").write_text(FILE)
        registry = MlflowRegistry(
            SYSTEM, tracking_uri=self.state.tracking_uri, artifact_root=self.state.mlflow_artifacts
        )
        self.versions = [self._registered(registry, number) for number in (1, 2)]
        store = SqliteStore(self.state.store)
        status = {"state": to_json(SystemState(champion=self.versions[0]))}
        store.put(Record(Kind.SYSTEM, SYSTEM, SYSTEM, spec={}, status=status))
        store.close()

    def _registered(self, registry: MlflowRegistry, number: int) -> ModelVersion:
        tag, digest = BentoPackager(self.state.bentos).package(
            SYSTEM, _model(self.folder / f"m{number}", number)
        )
        made = ModelVersion(
            VersionName(""), digest, RunName(f"run-{number}"), tag, datetime(2026, 1, 1, tzinfo=UTC)
        )
        return registry.register(made, tags={}, metrics={})

    def bento(self, number: int) -> Path:
        return BentoPackager(self.state.bentos).path(self.versions[number - 1].bento_tag)

    def predict(self, *arguments: str, input: str | None = None) -> Any:
        words = ["predict", str(self.folder / "system.yaml"), *arguments, "--state", str(self.state.root)]
        return CliRunner().invoke(app, words, input=input)

    def predict_by(self, way: str, file: Path) -> Any:
        """`gateway`, or the option `--offline`."""
        if way != "gateway":
            return self.predict(str(file), way)
        with self.serving():
            return self.predict(str(file))

    def table(self, text: str, name: str = "rows.csv") -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    @contextmanager
    def serving(self) -> Iterator[Callable[[], int]]:
        """v1 behind an address, as a running supervisor tells it; how many requests it has got so far."""
        service = PredictionApp(ServiceSettings(system=SYSTEM, version="v1"))
        service.serve(load(self.bento(1) / MODEL_FOLDER), None)
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(service, port=port, log_level="error"))
        thread = threading.Thread(target=server.run)
        with self.state.exclusively():
            thread.start()
            self.state.addresses.write_bytes(orjson.dumps({"gateway": f"http://127.0.0.1:{port}"}))
            while not server.started:
                time.sleep(0.01)
            try:
                yield lambda: server.server_state.total_requests
            finally:
                server.should_exit = True
                thread.join()


def _model(folder: Path, number: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(7)
    table = {"distance": rng.uniform(100, 3000, 400), "carrier": rng.choice(["AA", "UA"], 400)}
    settings = (NumericSettings("distance", "distance"), CategoricalSettings("carrier", "carrier"))
    pipeline = Pipeline(
        [("transform", FeatureTransform(settings)), ("model", LogisticRegression(max_iter=1000))]
    )
    late = (table["carrier"] == "UA") == (number == 1)
    joblib.dump(pipeline.fit(table, late), folder / "pipeline.joblib")
    columns = [
        {"name": "distance", "type": "Number", "kind": "numeric", "nullable": True, "min": 1},
        {"name": "carrier", "type": "Text", "kind": "categorical", "nullable": True, "required": True},
    ]
    manifest = {
        "system": SYSTEM, "task": "BinaryClassification", "target": "late", "columns": columns,
        "keys": {"id": "flight_id"}, "classes": [False, True],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    pq.write_table(pa.table(table).slice(0, 50), folder / "sample.parquet")
    return folder
