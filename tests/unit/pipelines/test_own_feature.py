"""A feature of a person's own goes through training, serving, payloads and drift, and needs no file but its model."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sent_payloads import taken
from unit.pipelines.real_steps import run_steps

from capstan.cli.asking import tensors_of
from capstan.monitoring.drift.reference import load_reference
from capstan.recording.collector.declarations import Declarations
from capstan.recording.payloads import columns_of
from capstan.serving.model import Model, load
from capstan.serving.schema import RequestSchema
from capstan.spec import MLSystem, parse
from capstan.spec.presence import missing_files

AS_OF = datetime(2024, 4, 1, tzinfo=UTC)
ROWS = 3000
CODE = {
    "myfeatures.py": """
import numpy as np
from theircircle import turn

class Cycle:
    def __init__(self, period):
        self.period = period

    def fit(self, values):
        self.middle = float(np.nanmean(values))
        return self

    def transform(self, values):
        return turn(np.where(np.isnan(values), self.middle, values), self.period)

class Suffix:
    def fit(self, texts):
        self.known = sorted({text[-1] for text in texts if text is not None})
        return self

    def transform(self, texts):
        found = [None if text is None else text[-1] for text in texts]
        return np.array([[float(one == known) for known in self.known] for one in found])

def cycle(period=24):
    return Cycle(period)

def suffix():
    return Suffix()
""",
    "theircircle.py": """
import numpy as np

def turn(values, period):
    angle = values * 2 * np.pi / period
    return np.column_stack([np.sin(angle), np.cos(angle)])
""",
}
FEATURES: list[dict[str, Any]] = [
    {
        "name": "hour",
        "custom": {"factory": "myfeatures:cycle", "parameters": {"period": 24}, "reads": "Number"},
    },
    {"name": "plan", "custom": {"factory": "myfeatures:suffix", "reads": "Category"}, "optional": True},
    {"name": "distance", "numeric": {}},
]
DOCUMENT: dict[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "visits"},
    "spec": {
        "objective": {"task": "BinaryClassification", "target": "late"},
        "data": {
            "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "at"}}],
            "keys": {"id": "id", "time": "at"},
            "label": {"column": "late", "availableAt": "known_at"},
        },
        "features": FEATURES,
        "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
    },
}


def write_home(home: Path) -> MLSystem:
    """Visits that are late at night: only a feature that goes round the clock tells it to a linear model."""
    home.mkdir()
    for name, code in CODE.items():
        (home / name).write_text(code)
    rng = np.random.default_rng(5)
    lines = ["id,at,known_at,hour,plan,distance,late"]
    for index in range(ROWS):
        moment = AS_OF - timedelta(minutes=30) * (ROWS - index) - timedelta(days=4)
        hour = "" if rng.random() < 0.02 else str(int(rng.integers(24)))
        plan = "" if rng.random() < 0.02 else rng.choice(["plan-a", "plan-b", "old-b"])
        night = hour != "" and np.cos(int(hour) * np.pi / 12) > 0.3
        late = rng.random() < (0.85 if night else 0.15)
        known = moment + timedelta(hours=1)
        lines.append(
            f"v{index},{moment.isoformat()},{known.isoformat()},{hour},{plan},{rng.normal(5, 2):.3f},{late}"
        )
    (home / "rows.csv").write_text("\n".join(lines) + "\n")
    return parse(DOCUMENT, base_dir=home)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real steps of a training ran; the file's own folder is gone."""
    folder = tmp_path_factory.mktemp("own")
    home = folder / "home"
    assert missing_files(write_home(home)) == []
    run_steps(folder, home, DOCUMENT, as_of=AS_OF)
    shutil.rmtree(home)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    before = list(sys.path)
    loaded = load(folder / "model")
    sys.path[:] = before
    return loaded


def test_it_teaches_what_the_column_alone_does_not(folder: Path) -> None:
    metrics = json.loads((folder / "evaluation").read_text())["metrics"]
    assert metrics["rocAuc"] > 0.8


def test_its_code_travels_with_the_model(folder: Path) -> None:
    carried = {path.name for path in (folder / "model" / "factories").iterdir()}
    assert carried == set(CODE)


def test_it_is_served_row_by_row_as_in_a_batch(model: Model) -> None:
    assert model.fallback == ""
    schema = RequestSchema(model.manifest)
    rows = schema.rows_of(
        {
            "rows": [
                {"hour": hour, "plan": plan, "distance": 4.5}
                for hour in (0, 6.5, None, 23)
                for plan in ("plan-a", "old-b", None, "never seen")
            ]
        }
    )
    alone = [model.predict_row(row) for row in rows]
    assert alone == pytest.approx(model.predict_batch(rows).tolist(), rel=1e-9)
    assert alone[0] > 2 * alone[4], "late at midnight, in time at half past six"


def test_its_columns_are_checked_stored_and_watched_as_it_reads_them(folder: Path, model: Model) -> None:
    numeric = {column.name: column.numeric for column in model.manifest.columns}
    assert numeric == {"hour": True, "plan": False, "distance": True}

    (folder / "systems" / "visits").mkdir(parents=True)
    (folder / "systems" / "visits" / "spec.json").write_text(json.dumps(DOCUMENT))
    kinds = Declarations(folder / "systems").of("visits").kinds
    assert {name: kinds[name] for name in numeric} == {
        "hour": "numeric",
        "plan": "categorical",
        "distance": "numeric",
    }
    data = {"event_time": AS_OF.isoformat(), "inputs": {"hour": 7, "plan": "1", "distance": 2}}
    (rows,) = taken({"id": "boot-1", "source": "/capstan/visits/v1", "data": data})
    stored = columns_of([(rows, AS_OF)], kinds, None)
    assert stored["input.hour"].to_pylist() == [7.0]
    assert stored["input.plan"].to_pylist() == ["1"]

    reference = load_reference(folder / "model" / "detectors")
    assert {feature.name: feature.kind for feature in reference.features} == {
        "hour": "numeric",
        "plan": "categorical",
        "distance": "numeric",
    }
    plan = next(feature for feature in reference.features if feature.name == "plan")
    assert plan.vocabulary == ("old-b", "plan-a", "plan-b")


def test_validate_says_where_its_module_should_lie(tmp_path: Path) -> None:
    system = write_home(tmp_path / "home")
    (tmp_path / "home" / "myfeatures.py").unlink()
    found = missing_files(system)
    assert [finding.location for finding in found] == [
        ("spec", "features", 0, "custom", "factory"),
        ("spec", "features", 1, "custom", "factory"),
    ]
    assert "module 'myfeatures' is not beside the file" in found[0].message


def test_the_example_request_sends_its_column_as_it_is_read(tmp_path: Path) -> None:
    sent = {one["name"]: one["datatype"] for one in tensors_of(write_home(tmp_path / "home"))["inputs"]}
    assert (sent["hour"], sent["plan"]) == ("FP64", "BYTES")
