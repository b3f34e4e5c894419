"""Clusters: metrics equal those of scikit-learn, rows without a label judge nothing, labels teach nothing."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from capstan.cli.main import app
from capstan.domain.verdicts.quality import Decide
from capstan.errors import InvalidDataError
from capstan.evaluation.bootstrap import measured
from capstan.evaluation.gates import GateRule, Window, judge
from capstan.evaluation.metrics import evaluate
from capstan.spec.evaluation import CustomMetric
from capstan.spec.families import Candidate
from capstan.tasks import Learnt, Predictions, task_named
from capstan.tasks.own_metric import with_own_metrics
from capstan.testing.lessons import lesson
from capstan.training.families import fit_model
from capstan.training.fitted.clusters import NearestCentre

TASK = task_named("Clustering")
LABELLED = ("adjustedRand", "mutualInformation", "homogeneity", "completeness")


def said(clusters: Any, silhouette: float = 0.5) -> Predictions:
    rows = np.ones(len(clusters))
    names = np.asarray(clusters).astype(str)
    return Predictions({"cluster": names, "distance": rows, "silhouette": silhouette * rows})


def rows(seed: int = 1, n: int = 500) -> tuple[Any, Any]:
    """Labels, and clusters that tell something of them."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, n)
    clusters = np.where(rng.random(n) < 0.6, truth + 1, rng.integers(1, 7, n))
    return np.array(["a", "b", "c", "d"])[truth], clusters


def candidate(**family: Any) -> Candidate:
    return Candidate.model_validate({"name": "one", **family})


def test_metrics_of_labels_are_those_of_scikit_learn() -> None:
    truth, clusters = rows()
    found = evaluate(TASK, truth, said(clusters))
    assert found["adjustedRand"] == pytest.approx(metrics.adjusted_rand_score(truth, clusters))
    assert found["mutualInformation"] == pytest.approx(metrics.normalized_mutual_info_score(truth, clusters))
    assert found["homogeneity"] == pytest.approx(metrics.homogeneity_score(truth, clusters))
    assert found["completeness"] == pytest.approx(metrics.completeness_score(truth, clusters))
    assert 0.1 < found["adjustedRand"] < 0.9


@pytest.mark.parametrize(
    "clusters", [np.ones(40), np.arange(40)], ids=["one cluster", "a cluster for each row"]
)
def test_clusters_that_say_nothing_are_worth_what_scikit_learn_says(clusters: Any) -> None:
    truth = np.array(["a", "b"] * 20)
    found = evaluate(TASK, truth, said(clusters))
    assert found["adjustedRand"] == pytest.approx(metrics.adjusted_rand_score(truth, clusters))
    assert found["homogeneity"] == pytest.approx(metrics.homogeneity_score(truth, clusters))
    assert found["completeness"] == pytest.approx(metrics.completeness_score(truth, clusters))


def test_a_silhouette_is_that_of_the_distances_to_the_two_nearest_centres() -> None:
    distances = np.array([[1.0, 4.0, 2.0], [3.0, 3.0, 9.0], [0.0, 5.0, 5.0], [0.0, 0.0, 0.0]])
    found = TASK.predictions(distances, Learnt(("1", "2", "3")))
    assert found["cluster"].tolist() == ["1", "1", "1", "1"]
    assert found["distance"].tolist() == [1.0, 3.0, 0.0, 0.0]
    assert found["silhouette"].tolist() == [0.5, 0.0, 1.0, 0.0]
    assert evaluate(TASK, np.full(4, ""), found)["silhouette"] == pytest.approx(1.5 / 4)


def test_a_row_without_a_label_judges_nothing_but_the_silhouette() -> None:
    truth, clusters = rows()
    unknown = np.arange(len(truth)) % 3 == 0
    answers = said(clusters)
    answers.columns["silhouette"][:] = np.where(unknown, 0.25, 0.75)
    found = evaluate(TASK, np.where(unknown, "", truth), answers)
    alone, whole = evaluate(TASK, truth[~unknown], answers.rows(~unknown)), evaluate(TASK, truth, answers)
    for name in LABELLED:
        assert found[name] == alone[name], name
    assert found["silhouette"] == whole["silhouette"] != alone["silhouette"]


def test_without_a_label_only_the_silhouette_is_known_and_it_has_an_interval() -> None:
    _, clusters = rows()
    truth, answers = np.full(len(clusters), ""), said(clusters)
    found = evaluate(TASK, truth, answers)
    assert [name for name, value in found.items() if math.isfinite(value)] == ["silhouette"]
    days = np.arange(len(clusters)) // 50
    for name, metric in TASK.metrics.items():
        drawn = measured(metric, truth, answers, days, rng=np.random.default_rng(1))
        assert (drawn is not None and len(drawn.resampled) > 0) == (name == "silhouette"), name
    assert "no row has a label" in TASK.details(truth, answers)["notes"][0]


@pytest.mark.parametrize("metric", LABELLED)
def test_rows_without_a_label_are_no_evidence_to_a_gate(metric: str) -> None:
    truth, clusters = np.full(2000, "", dtype="<U1"), np.ones(2000)
    truth[1990:1994], clusters[1990:1994] = ["a", "a", "b", "b"], [2, 2, 3, 3]
    window = Window(TASK, truth, said(clusters), np.arange(2000) // 40)
    found = judge(GateRule(metric, Decide.NOT_WORSE, 0.0, 0.0, 0.9, math.inf, 0.95), window, seed=1)
    assert found.passed is None
    assert "4 rows of 1 days" in found.message


def test_a_gate_on_the_silhouette_passes_without_a_label() -> None:
    window = Window(TASK, np.full(400, ""), said(np.ones(400), 0.6), np.arange(400) // 20)
    rule = GateRule("silhouette", Decide.NOT_WORSE, 0.0, 0.0, 0.5, math.inf, 0.95)
    assert judge(rule, window, seed=1).passed is True


def test_a_metric_of_your_own_gets_rows_that_have_a_label_alone(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "known_rows.py").write_text(
        "def asked():\n    def measure(truth, predictions, weights):\n        return len(truth)\n    return measure\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    one = {"name": "asked", "better": "Lower", "custom": {"factory": "known_rows:asked"}}
    task = with_own_metrics(TASK, [CustomMetric.model_validate(one)])
    assert evaluate(task, np.array(["a", "", "b", ""]), said([1, 1, 2, 2]))["asked"] == 2


def test_two_versions_that_name_the_same_clusters_otherwise_agree() -> None:
    first = np.array(["1", "1", "2", "2", "3", "3", "3"])
    renamed = np.array(["3", "3", "1", "1", "2", "2", "2"])
    assert not TASK.disagree(said(first), said(renamed)).any()
    renamed[2] = "2"
    assert np.flatnonzero(TASK.disagree(said(first), said(renamed))).tolist() == [2]
    merged = np.array(["1"] * 4 + ["2"] * 3)
    assert TASK.disagree(said(first), said(merged)).sum() == 2


def test_distances_are_those_of_scikit_learns_centres() -> None:
    given = lesson("Cluster")
    fitted: Any = fit_model(candidate(kMeans={"clusters": 3}), {}, given)
    theirs = make_pipeline(StandardScaler(), KMeans(3, n_init=10, random_state=given.seed)).fit(given.matrix)
    own, expected = fitted.transform(given.matrix), theirs.transform(given.matrix)
    # Clusters have other places: the largest comes first here.
    order = [int(np.abs(own[:, [at]] - expected).sum(axis=0).argmin()) for at in range(3)]
    assert sorted(order) == [0, 1, 2]
    assert np.allclose(own, expected[:, order])
    sizes = np.bincount(fitted.predict(given.matrix))
    assert sizes.tolist() == sorted(sizes, reverse=True)


def test_a_table_that_lies_column_by_column_has_the_distances_of_its_rows_to_the_bit() -> None:
    rows = np.random.default_rng(5).normal(size=(200, 37))
    model = NearestCentre(rows[:4], rows.mean(axis=0), rows.std(axis=0))
    alone = np.array([model.answer_one(row) for row in rows])
    assert model.transform(np.asfortranarray(rows)).tobytes() == alone.tobytes()
    assert model.transform(rows).tobytes() == alone.tobytes()


def test_rows_around_three_places_are_found_without_a_label() -> None:
    given = lesson("Cluster")
    fitted: Any = fit_model(candidate(kMeans={"clusters": 3}), {}, given)
    answers = TASK.predictions(TASK.scores(fitted, given.matrix), TASK.learnt(fitted))
    found = evaluate(TASK, given.truth, answers)
    assert found["adjustedRand"] > 0.9
    assert found["silhouette"] > 0.4


def test_no_label_teaches_anything() -> None:
    given = lesson("Cluster")
    unlabelled = replace(given, truth=np.full(len(given.truth), ""))
    one = candidate(kMeans={"clusters": 3})
    assert pickle.dumps(fit_model(one, {}, given)) == pickle.dumps(fit_model(one, {}, unlabelled))


def test_more_clusters_than_different_rows_are_as_many_as_there_are_rows() -> None:
    given = lesson("Cluster")
    few = np.repeat(given.matrix[:3], 5, axis=0)
    with pytest.warns(Warning, match="distinct clusters"):
        fitted: Any = fit_model(
            candidate(kMeans={"clusters": 8}), {}, replace(given, matrix=few, truth=given.truth[:15])
        )
    assert len(fitted.cluster_centers_) == 3
    assert TASK.learnt(fitted).classes == ("1", "2", "3")


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (
            type("Model", (), {"transform": lambda self, rows: rows})(),
            "cluster_centers_ of the fitted Model has 0 rows",
        ),
        (type("Model", (), {"cluster_centers_": np.zeros((2000, 1))})(), "centres of 1 to 1,000 clusters"),
    ],
    ids=["no centres", "too many"],
)
def test_a_model_of_another_task_is_refused(model: Any, problem: str) -> None:
    with pytest.raises(InvalidDataError, match=problem):
        TASK.learnt(model)


def test_a_table_of_clusters_is_evaluated_without_the_platform(tmp_path: Path) -> None:
    truth, clusters = rows()
    frame = pd.DataFrame({"cluster": clusters, "species": np.where(np.arange(500) < 100, None, truth)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    options = ["evaluate", str(tmp_path / "rows.csv"), "--task", "Clustering", "--label", "species", "--json"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    found = {one["name"]: one["value"] for one in document["metrics"]}
    assert found["adjustedRand"] == pytest.approx(metrics.adjusted_rand_score(truth[100:], clusters[100:]))
    assert found["silhouette"] is None
    frame["silhouette"] = 0.25
    frame.to_csv(tmp_path / "rows.csv", index=False)
    found = {
        one["name"]: one["value"] for one in json.loads(CliRunner().invoke(app, options).stdout)["metrics"]
    }
    assert found["silhouette"] == pytest.approx(0.25)


def test_a_table_without_a_cluster_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"cluster": ["1", None], "species": ["a", "b"]}).to_csv(tmp_path / "rows.csv", index=False)
    options = ["evaluate", str(tmp_path / "rows.csv"), "--task", "Clustering", "--label", "species"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 1
    assert "labelled row 2 has no cluster; name the cluster of every row" in " ".join(result.stderr.split())
