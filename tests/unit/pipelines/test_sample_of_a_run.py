"""A run learns from a sample, judges all rows, and says what it drew; weights reach fit and choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.spec.families import Candidate
from capstan.training.cases import Cases
from capstan.training.fitting import fit_candidate, predict
from capstan.training.job import Job
from capstan.training.sampling import WEIGHT, sampled
from capstan_pipelines.steps.cases import Parted

LINE = {"name": "line", "logisticRegression": {}}


def trained(folder: Path, sample: dict[str, Any]) -> Trained:
    made = document(choose={"metric": "logLoss"})
    made["spec"]["training"] |= {
        "candidates": [{"name": "baseline", "mostFrequent": {}}, LINE],
        "sample": sample,
    }
    made["spec"]["data"]["query"] = "select *, exp(2 * delay) as amount from rows"
    made["spec"]["evaluation"]["gates"] = []
    return Trained(folder / "run", write_home(folder / "home"), made)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("importance")
    return trained(folder, {"rows": 200, "method": "Importance", "by": "amount"})


def test_weights_reach_the_fit_and_the_metric_that_chooses(weighted: Trained) -> None:
    job, cases = Job(weighted.folder / "job"), Parted.read(weighted.folder / "cases")
    spec, model = job.system.spec, job.system.spec.planned_models[0]
    rows = [
        sampled(cases.rows(part), spec.training.sample, None, seed=job.seed)
        for part in (cases.training, cases.validation)
    ]
    train, judged = (Cases.of_model(one, job.system, model) for one in rows)
    assert [one.num_rows for one in rows] == [200, 200]
    line = fit_candidate(Candidate.model_validate(LINE), model.features, train, seed=job.seed)
    said = predict(train.task, line.pipeline, judged.table)
    found = json.loads((weighted.folder / "line").read_text())
    expected = log_loss(judged.truth, said["probability"], sample_weight=judged.table[WEIGHT].to_numpy())
    assert found["metrics"]["logLoss"] == pytest.approx(expected)
    assert found["metrics"]["logLoss"] != pytest.approx(log_loss(judged.truth, said["probability"]), rel=1e-3)
    unweighted = Cases(train.task, train.table, train.truth)
    other = fit_candidate(Candidate.model_validate(LINE), model.features, unweighted, seed=job.seed)
    assert other.pipeline.steps[-1][1].coef_ != pytest.approx(line.pipeline.steps[-1][1].coef_, rel=1e-3)


def test_all_rows_judge_and_the_run_says_what_it_drew(weighted: Trained) -> None:
    cases = Parted.read(weighted.folder / "cases")
    evaluation = json.loads((weighted.folder / "evaluation").read_text())
    assert evaluation["rows"] == len(cases.test)
    (told,) = [one for one in evaluation["warnings"] if one.startswith("training.sample")]
    assert told.startswith(
        f"training.sample: Importance: 200 of {len(cases.training):,} training rows are learnt from; "
    )
    assert "reach training" in told


def test_a_model_of_a_sample_along_convenience_learns_from_the_newest_rows(tmp_path: Path) -> None:
    made = trained(tmp_path, {"rows": 150, "method": "Newest"})
    job, cases = Job(made.folder / "job"), Parted.read(made.folder / "cases")
    model = job.system.spec.planned_models[0]
    train = Cases.of_model(cases.rows(np.sort(cases.training)[-150:]), job.system, model)
    line = fit_candidate(Candidate.model_validate(LINE), model.features, train, seed=job.seed)
    judged = Cases.of_model(cases.rows(cases.validation[-150:]), job.system, model)
    said = predict(train.task, line.pipeline, judged.table)
    found = json.loads((made.folder / "line").read_text())
    assert found["metrics"]["logLoss"] == pytest.approx(log_loss(judged.truth, said["probability"]))
