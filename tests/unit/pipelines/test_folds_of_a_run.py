"""Candidates are chosen by cross-validation: each learns once a fold, the mean decides, and the ladder shows both."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import TimeSeriesSplit
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.evaluation.metrics import evaluate
from capstan.spec.families import Candidate
from capstan.training.cases import Cases
from capstan.training.fitting import fit_candidate, predict
from capstan.training.job import Job
from capstan_pipelines.steps.cases import Parted
from capstan_pipelines.steps.ladder import ladder

TREE = {"name": "tree", "decisionTree": {"maxDepth": 3}}
SEARCHED = {"name": "searched", "search": {"of": ["tree"], "trials": 3}}


def fitted(trained: Trained, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((trained.folder / name).read_text())
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    made = document(choose={"metric": "rocAuc", "folds": 4})
    made["spec"]["training"]["candidates"] = [{"name": "baseline", "mostFrequent": {}}, TREE, SEARCHED]
    made["spec"]["evaluation"]["gates"] = []
    home = write_home(tmp_path_factory.mktemp("visits") / "home")
    return Trained(tmp_path_factory.mktemp("folds"), home, made)


def test_the_mean_is_that_of_models_that_learnt_before_their_fold(trained: Trained) -> None:
    job, cases = Job(trained.folder / "job"), Parted.read(trained.folder / "cases")
    before = np.sort(np.concatenate([cases.training, cases.validation]))
    model, values = job.system.spec.planned_models[0], []
    for learns, judged in TimeSeriesSplit(4).split(before):
        train, judge = (
            Cases.of_model(cases.table.take(before[rows]), job.system, model) for rows in (learns, judged)
        )
        one = fit_candidate(Candidate.model_validate(TREE), model.features, train, seed=job.seed)
        said = predict(train.task, one.pipeline, judge.table)
        values.append(evaluate(train.task, judge.truth, said)["rocAuc"])
    found = fitted(trained, "tree")
    assert found["folds"]["values"] == pytest.approx(values, abs=0)
    assert found["folds"]["spread"] == pytest.approx(np.std(values, ddof=1))
    assert found["metrics"]["rocAuc"] == pytest.approx(np.mean(values))
    assert len(set(values)) == 4


def test_a_search_is_judged_by_the_mean_of_the_folds(trained: Trained) -> None:
    found = fitted(trained, "searched")
    best = found["search"]["trials"][found["search"]["best"]]
    assert best["rocAuc"] == pytest.approx(found["metrics"]["rocAuc"])


def test_the_ladder_shows_mean_spread_and_worst_fold(trained: Trained) -> None:
    job = Job(trained.folder / "job")
    metric = job.system.spec.task_facts.metric("rocAuc")
    found = [fitted(trained, name) for name in ("baseline", "tree", "searched")]
    shown = ladder(found, metric, "why")
    assert shown["columns"][:3] == [metric.title, "spread", "worst fold"]
    assert shown["whose"] == "the folds"
    assert "Mean of 4 folds" in shown["notes"][1]
    tree = found[1]["folds"]
    assert shown["cells"][1][:3] == [
        round(float(np.mean(tree["values"])), 4),
        round(tree["spread"], 4),
        round(min(tree["values"]), 4),
    ]


def test_parts_are_shown_in_the_report(trained: Trained) -> None:
    (parts,) = (one for one in Parted.read(trained.folder / "cases").tables if one["title"] == "Parts")
    evaluated = json.loads((trained.folder / "evaluation").read_text())["details"]["tables"]
    assert parts in evaluated
    assert parts["rows"] == ["training", "validation", "test"]
    assert sum(row[0] for row in parts["cells"]) == len(Parted.read(trained.folder / "cases").table)
