"""`capstan export --onnx`: a version's verified model becomes a file, or nothing is written."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner
from unit.exporting.fitted_tables import fitted, table

import capstan
from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.cli.main import app
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.layout import StateDir
from capstan.errors import (
    InvalidDataError,
    MissingExtraError,
    NotAllowedError,
    NotFoundError,
    UntrustedArtifactError,
)
from capstan.serving.manifest import Column
from capstan.tasks import Learnt
from capstan.training.model_folder import take_sample, write_model

SYSTEM = SystemName("toy")
FILE = """
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: toy}
spec:
  objective: {task: BinaryClassification, target: late}
  data:
    sources: [{name: rows, csv: {path: rows.csv}}]
    label: {column: late}
  features:
    - {name: x, numeric: {scale: ZScore}}
    - {name: kind, categorical: {}}
"""
FEATURES: list[dict[str, Any]] = [
    {"name": "x", "numeric": {"scale": "ZScore"}},
    {"name": "kind", "categorical": {}},
]
COLUMNS = ("x", "kind")


def registered(state: StateDir, folder: Path, family: str, *, rows: int = 300) -> None:
    """One version more, whose training kept so many rows."""
    learnt = table(1)[0].select(list(COLUMNS))
    columns = [
        {**asdict(column), "kind": "numeric" if column.numeric else "categorical"}
        for column in (
            Column("x", "Number", numeric=True),  # type: ignore[arg-type]
            Column("kind", "Text", numeric=False),  # type: ignore[arg-type]
        )
    ]
    manifest = {
        **{"system": SYSTEM, "task": "BinaryClassification", "target": "late", "columns": columns},
        **{"classes": Learnt((False, True)).classes, "threshold": 0.5},
    }
    sample = take_sample(learnt, list(COLUMNS)).slice(0, rows)
    write_model(
        folder,
        pipeline=fitted(family, "Boolean", features=FEATURES),
        manifest=manifest,
        spec={},
        sample=sample if rows else pa.table({name: pa.array([], pa.float64()) for name in COLUMNS}),
        factories=folder / "none",
    )
    tag, digest = BentoPackager(state.bentos).package(SYSTEM, folder)
    MlflowRegistry(SYSTEM, tracking_uri=state.tracking_uri, artifact_root=state.mlflow_artifacts).register(
        ModelVersion(VersionName(""), digest, RunName(folder.name), tag, datetime(2026, 1, 1, tzinfo=UTC)),
        tags={},
        metrics={},
    )


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> capstan.System:
    """v1 to v3: boosted trees, nearest neighbours, and a line whose training kept no row."""
    root = tmp_path_factory.mktemp("export")
    state = StateDir(root / "state")
    state.prepare(SYSTEM)
    (root / "system.yaml").write_text(FILE)
    for family, rows in (("gradientBoosting", 300), ("nearestNeighbors", 300), ("logisticRegression", 0)):
        registered(state, root / f"run-{family}", family, rows=rows)
    return capstan.System.from_file(root / "system.yaml", state=root / "state")


def test_the_file_answers_as_the_version_does_and_says_whose_it_is(
    system: capstan.System, tmp_path: Path
) -> None:
    made = system.export(tmp_path / "model.onnx", version="v1")
    assert (made.rows, made.other_labels, made.inputs) == (302, 0, {"x": "float64", "kind": "string"})
    assert made.difference < 1e-12
    assert "302 example rows are answered alike; the largest difference is" in repr(made)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = pd.DataFrame({"x": [0.3, np.nan, 9.0], "kind": ["b", None, "never seen"]})
    said = session.run(None, {"x": rows["x"].to_numpy(), "kind": rows["kind"].fillna("").to_numpy(object)})
    expected = system.predict(rows, version="v1")
    np.testing.assert_allclose(said[0], expected["probability"], rtol=1e-12)
    assert list(said[1]) == list(expected["label"])
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["capstan.system"], facts["capstan.version"]) == ("toy", "v1")
    assert facts["capstan.digest"] == system.versions.loc["v1", "digest"]


def test_the_command_tells_the_same_to_machines(system: capstan.System, tmp_path: Path) -> None:
    words = ["export", str(system.file), "--onnx", "--version", "v1", "--state", str(system.state)]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "model.onnx"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["version"], told["rows"], told["outputs"]) == ("v1", 302, ["probability", "label"])
    assert told["bytes"] == (tmp_path / "model.onnx").stat().st_size
    done = CliRunner().invoke(app, [*words[:2], *words[3:], "--out", str(tmp_path / "other.onnx")])
    assert (done.exit_code, (tmp_path / "other.onnx").exists()) == (1, False)
    assert "says no form to write; add --onnx" in done.output


def test_what_cannot_be_exported_is_refused_and_leaves_the_old_file(
    system: capstan.System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"old")
    with pytest.raises(
        InvalidDataError, match=r"^v2: nearestNeighbors can't be exported to ONNX: .* families can"
    ):
        system.export(file, version="v2")
    with pytest.raises(InvalidDataError, match=r"^v3: it has kept no example rows.* train again"):
        system.export(file, version="v3")
    with pytest.raises(NotFoundError, match="v9"):
        system.export(file, version="v9")
    with pytest.raises(InvalidDataError, match=r"model\.bin must end in \.onnx"):
        system.export(tmp_path / "model.bin", version="v1")
    with pytest.raises(NotFoundError, match="is no folder; make it"):
        system.export(tmp_path / "nowhere" / "model.onnx", version="v1")
    with pytest.raises(NotAllowedError, match="train it here to export it"):
        capstan.System(system.file, context="somewhere").export(file)
    monkeypatch.setattr("capstan.exporting.proving.find_spec", lambda name: None if name == "onnx" else sys)
    with pytest.raises(MissingExtraError, match=r"'capstan-mlops\[onnx\]'"):
        system.export(file, version="v1")
    assert file.read_bytes() == b"old"


def test_a_model_that_was_changed_is_not_read(system: capstan.System, tmp_path: Path) -> None:
    for kept in (system.state / "bentos").rglob("pipeline.joblib"):
        kept.chmod(0o600)
        kept.write_bytes(kept.read_bytes() + b"x")
    with pytest.raises(UntrustedArtifactError, match="its content hashes to"):
        system.export(tmp_path / "model.onnx", version="v1")
    assert not (tmp_path / "model.onnx").exists()
