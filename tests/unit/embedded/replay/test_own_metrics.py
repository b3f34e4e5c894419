"""A metric of a person's own compares managed and static too; where it fails, the report says so and is whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.artifacts.content import MODEL_FOLDER
from capstan.embedded.replay.comparison import compare
from capstan.embedded.replay.own_metrics import own_metrics
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.embedded.replay.report import predictions_of
from capstan.spec import MLSystem, parse
from capstan.tasks import Predictions, task_named

CODE = """
import numpy as np
from prices import MISS

def cost():
    return lambda truth, predictions: MISS * np.mean(truth & (predictions["probability"] < 0.5))

def picky():
    def measure(truth, predictions):
        if len(truth) < 50:
            raise ValueError("fifty flights are not enough")
        return 1.5
    return measure

def broken():
    raise OSError("no price list")
"""
TRUTH = np.arange(60) % 2 == 0
STATIC = Predictions({"probability": np.full(60, 0.2)})
MANAGED = Predictions({"probability": np.where(TRUTH, 0.8, 0.3)})
MONTHS = np.where(np.arange(60) < 20, "2013-01", "2013-02")
DAYS = np.array([f"{month}-{index % 6:02}" for index, month in enumerate(MONTHS)])


def system(folder: Path, **factories: str) -> MLSystem:
    """With an own metric for each name; those called `unused` neither choose nor gate."""
    names = [name for name in factories if name != "unused"]
    document: dict[str, Any] = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "flights"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "late"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "at"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "late", "availableAt": "known_at"},
            },
            "features": [{"name": "delay", "numeric": {}}],
            "evaluation": {
                "metrics": [
                    {"name": name, "better": "Lower", "custom": {"factory": f"mymetrics:{factory}"}}
                    for name, factory in factories.items()
                ],
                "gates": [{"metric": name} for name in names],
            },
        },
    }
    return parse(document, base_dir=folder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "mymetrics.py").write_text(CODE)
    (tmp_path / "prices.py").write_text("MISS = 10\n")
    return tmp_path


def compared(made: MLSystem, faults: list[str]) -> Any:
    first = task_named("BinaryClassification").metrics["brierScore"]
    with own_metrics(made, faults) as own:
        by_month, overall, _ = compare(
            (first, *own), TRUTH, STATIC, MANAGED, MONTHS, DAYS, rng=np.random.default_rng(0), resamples=20
        )
        return by_month, overall


def test_what_chooses_or_gates_is_compared_month_by_month_by_the_code_beside_the_file(home: Path) -> None:
    faults: list[str] = []
    by_month, overall = compared(system(home, cost="cost", unused="cost"), faults)
    assert faults == []
    assert set(overall.metrics) == {"brierScore", "cost"}
    found = overall.metrics["cost"]
    assert (found.static, found.managed, found.gain) == pytest.approx((5.0, 0.0, 5.0))
    assert by_month["2013-01"].metrics["cost"].static == pytest.approx(5.0)
    assert "mymetrics" not in sys.modules


def test_a_metric_that_fails_has_no_value_and_the_report_is_whole(home: Path) -> None:
    faults: list[str] = []
    by_month, overall = compared(system(home, cost="cost", picky="picky", broken="broken"), faults)
    assert set(overall.metrics) == {"brierScore", "cost", "picky"}
    assert overall.metrics["cost"].gain == pytest.approx(5.0)
    assert by_month["2013-01"].metrics["picky"].static is None
    assert sorted(fault.split(",")[0].split(" with")[0] for fault in faults)[0] == "mymetrics:broken"
    assert any("fifty flights are not enough" in fault for fault in faults)
    assert any("no price list" in fault for fault in faults)


def test_a_module_that_is_gone_by_now_is_told(home: Path) -> None:
    made = system(home, cost="cost")
    (home / "mymetrics.py").unlink()
    faults: list[str] = []
    _, overall = compared(made, faults)
    assert set(overall.metrics) == {"brierScore"}
    assert "there is no mymetrics.py" in faults[0]


def first_version(bento: Path) -> None:
    """One that carries a module of the same name as the metric's, with other prices."""
    folder = bento / MODEL_FOLDER
    (folder / "factories").mkdir(parents=True)
    (folder / "factories" / "prices.py").write_text(
        "import numpy\nMISS = 1\nclass Half:\n"
        "    def predict_proba(self, table): return numpy.full((len(table), 2), 0.4)\n"
    )
    # Protocol 0 spells the class by name: the module is importable only from the folder itself.
    (folder / "pipeline.joblib").write_bytes(
        b"ccopy_reg\n_reconstructor\n(cprices\nHalf\nc__builtin__\nobject\nNtR."
    )
    pq.write_table(pa.table({"delay": [1.0, 2.0]}), folder / "sample.parquet")
    column = {"name": "delay", "type": "Number", "kind": "numeric", "nullable": False}
    manifest = {"system": "flights", "task": "BinaryClassification", "target": "late", "columns": [column]}
    keys = {"id": "id", "time": "at"}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "keys": keys, "classes": [False, True]}))


def test_the_first_versions_modules_are_not_those_of_the_metric(home: Path, tmp_path: Path) -> None:
    first_version(tmp_path / "bento")
    traffic = SimpleNamespace(case_of={"a": 0, "b": 1}, row_of=lambda _case: {"delay": 1.0})
    static = predictions_of(
        tmp_path / "bento" / MODEL_FOLDER,
        cast(RecordedTraffic, traffic),
        ["b", "a"],
    )
    assert static["probability"].tolist() == [0.4, 0.4]
    faults: list[str] = []
    with own_metrics(system(home, cost="cost"), faults) as (cost,):
        assert cost.value(np.array([True, False]), static) == pytest.approx(5.0)
    assert faults == []
