"""`requirements.throughput`: a version that is too slow is not passed, and nothing passes that was not measured."""

from __future__ import annotations

import json
import math
import shutil
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.serving import model as serving_model
from capstan.serving.speed import rows_per_second
from capstan.training.job import Job
from capstan_pipelines.steps import package


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("visits")
    made = document(choose={"metric": "rocAuc"})
    made["spec"]["training"]["candidates"] = [{"name": "line", "logisticRegression": {}}]
    made["spec"]["evaluation"]["gates"] = []
    return Trained(folder / "run", write_home(folder / "home"), made)


def gates(
    trained: Trained, folder: Path, model: Path, *, is_served: bool = True, **asked: Any
) -> list[dict[str, Any]]:
    """Of the model folder, where the file asks for these requirements."""
    job = trained.folder / "job"
    spec = deepcopy(Job(job).spec)
    spec["spec"]["requirements"] = asked
    shutil.copytree(job, folder / "job")
    (folder / "job" / "spec.json").write_text(json.dumps(spec))
    places = json.loads((job / "places.json").read_text())
    bentos = {"bentos": str(folder / "bentos"), "is_served": is_served}
    (folder / "job" / "places.json").write_text(json.dumps({**places, **bentos}))
    package.run(str(folder / "job"), str(model), str(trained.folder / "runners_up"), str(folder / "package"))
    found: list[dict[str, Any]] = json.loads((folder / "package").read_text())["gates"]
    return found


def slowed(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    compile_pipeline = serving_model.compile_pipeline

    def compiled(pipeline: Any) -> Any:
        predict = compile_pipeline(pipeline)

        def late(row: Any) -> Any:
            time.sleep(seconds)
            return predict(row)

        return late

    monkeypatch.setattr(serving_model, "compile_pipeline", compiled)


def test_a_version_that_answers_too_few_rows_a_second_is_not_passed(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [quick] = gates(trained, tmp_path / "quick", trained.model, throughput=10)
    assert (quick["metric"], quick["passed"]) == ("throughput", True)
    slowed(monkeypatch, 0.002)
    [slow] = gates(trained, tmp_path / "slow", trained.model, throughput=1000)
    assert slow["passed"] is False
    assert "rows/s, needs >= 1,000 rows/s" in slow["message"]


def test_the_speed_is_that_of_the_median_row(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(monkeypatch, 0.002)
    assert 100 < rows_per_second(trained.model) <= 500


def test_without_example_rows_there_is_no_verdict(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.model, tmp_path / "model")
    (tmp_path / "model" / "sample.parquet").unlink()
    assert math.isnan(rows_per_second(tmp_path / "model"))
    [gate] = gates(trained, tmp_path / "run", tmp_path / "model", throughput=10)
    assert (gate["passed"], gate["message"]) == (None, "throughput not known, needs >= 10 rows/s")


def test_a_backtest_does_not_judge_the_speed(trained: Trained, tmp_path: Path) -> None:
    assert gates(trained, tmp_path, trained.model, is_served=False, throughput=1e9) == []
