"""Anomaly detection: metrics equal those of scikit-learn, rows without a label judge nothing, labels teach nothing."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.metrics import (
    average_precision_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from capstan.domain.verdicts.quality import Decide
from capstan.errors import InvalidDataError
from capstan.evaluation.bootstrap import measured
from capstan.evaluation.gates import GateRule, Window, judge
from capstan.evaluation.metrics import evaluate
from capstan.monitoring.estimates.fitting import fit_estimator
from capstan.spec.evaluation import CustomMetric
from capstan.spec.families import Candidate
from capstan.tasks import Learnt, learnt_from, task_named
from capstan.tasks.anomalies import AnomalyDetection, precision_at_share
from capstan.tasks.labels import label_of
from capstan.tasks.own_metric import with_own_metrics
from capstan.testing.lessons import UNUSUAL, lesson
from capstan.training.families import fit_model
from capstan.training.fitted.anomalies import Isolation

TASK = AnomalyDetection(0.1)


def rows(seed: int = 1, n: int = 500) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.2).astype(float)
    return truth, np.round(rng.normal(0, 1, n) + truth, 1)


def test_metrics_are_those_of_scikit_learn_ties_included() -> None:
    truth, score = rows()
    said = TASK.predictions(score, Learnt(threshold=1.0))
    found = evaluate(TASK, truth, said)
    flagged = score > 1.0
    assert found["averagePrecision"] == pytest.approx(average_precision_score(truth, score))
    assert found["rocAuc"] == pytest.approx(roc_auc_score(truth, score))
    assert found["precision"] == pytest.approx(precision_score(truth, flagged))
    assert found["recall"] == pytest.approx(recall_score(truth, flagged))
    assert found["accuracy"] == pytest.approx((flagged == truth).mean())
    assert found["flaggedShareGap"] == pytest.approx(abs(flagged.mean() - 0.1))


def test_precision_at_a_share_is_that_of_the_first_rows_and_ties_share_the_last_places() -> None:
    truth, score = np.array([1, 0, 1, 0, 0]) == 1, np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    assert precision_at_share(truth, score, None, 0.6) == pytest.approx(2 / 3)
    assert precision_at_share(truth, np.array([5.0, 4.0, 4.0, 4.0, 1.0]), None, 0.4) == pytest.approx(
        (1 + 1 / 3) / 2
    )
    assert math.isnan(precision_at_share(np.zeros(5) == 1, score, None, 0.4))


def test_a_row_without_a_label_judges_nothing_but_the_share_that_is_flagged() -> None:
    truth, score = rows()
    unknown = np.arange(len(truth)) % 3 == 0
    said = TASK.predictions(score, Learnt(threshold=1.0))
    found = evaluate(TASK, np.where(unknown, np.nan, truth), said)
    alone = evaluate(TASK, truth[~unknown], said.rows(~unknown))
    whole = evaluate(TASK, truth, said)
    for name in ("averagePrecision", "rocAuc", "precisionAtShare", "precision", "recall", "accuracy"):
        assert found[name] == alone[name], name
    assert found["flaggedShareGap"] == whole["flaggedShareGap"]


def test_without_a_label_only_the_flagged_share_is_known_and_it_has_an_interval() -> None:
    _, score = rows()
    truth, said = np.full(len(score), np.nan), TASK.predictions(score, Learnt(threshold=1.0))
    found = evaluate(TASK, truth, said)
    assert [name for name, value in found.items() if math.isfinite(value)] == ["flaggedShareGap"]
    days = np.arange(len(score)) // 50
    for name, metric in TASK.metrics.items():
        drawn = measured(metric, truth, said, days, rng=np.random.default_rng(1))
        assert (drawn is not None and len(drawn.resampled) > 0) == (name == "flaggedShareGap"), name
    (note,) = TASK.details(truth, said)["notes"]
    assert "no row has a label" in note


def test_a_gate_that_needs_labels_does_not_pass_without_and_one_of_the_share_can() -> None:
    _, score = rows()
    said = TASK.predictions(score, Learnt(threshold=float(np.quantile(score, 0.9))))
    window = Window(TASK, np.full(len(score), np.nan), said, np.arange(len(score)) // 25)
    for metric, bounds, passed in (
        ("averagePrecision", (0.0, math.inf), None),
        ("accuracy", (0.0, math.inf), None),
        ("flaggedShareGap", (-math.inf, 0.05), True),
    ):
        rule = GateRule(metric, Decide.NOT_WORSE, 0.0, 0.0, *bounds, 0.95)
        assert judge(rule, window, seed=1).passed is passed, metric


LABELLED = ("averagePrecision", "rocAuc", "precisionAtShare", "precision", "recall", "accuracy")


@pytest.mark.parametrize("metric", LABELLED)
def test_rows_without_a_label_are_no_evidence_to_a_gate(metric: str) -> None:
    truth, score = np.full(2000, np.nan), np.linspace(0, 1, 2000)
    truth[1990:1993], score[1990:1993] = 1, 5.0
    said = TASK.predictions(score, Learnt(threshold=2.0))
    rule = GateRule(metric, Decide.NOT_WORSE, 0.0, 0.0, 0.9, math.inf, 0.95)
    found = judge(rule, Window(TASK, truth, said, np.arange(2000) // 40), seed=1)
    assert found.passed is None
    assert "3 rows of 1 days" in found.message


def test_a_metric_of_your_own_gets_rows_that_have_a_label_alone(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "missing_rows.py").write_text(
        "def asked():\n"
        "    def measure(truth, predictions, weights):\n"
        "        return len(truth) + 0.5 * truth.mean()\n"
        "    return measure\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    one = CustomMetric.model_validate(
        {"name": "asked", "better": "Lower", "custom": {"factory": "missing_rows:asked"}}
    )
    task = with_own_metrics(TASK, [one])
    truth = np.array([1.0, np.nan, 0.0, np.nan])
    said = TASK.predictions(np.arange(4.0), Learnt(threshold=2.0))
    assert evaluate(task, truth, said)["asked"] == 2.25


def test_no_metric_is_estimated_from_rows_without_a_label() -> None:
    table = pa.table({"x": np.arange(400.0)})
    truth, said = np.full(400, np.nan), TASK.predictions(np.arange(400.0), Learnt(threshold=390.0))
    estimator = fit_estimator(TASK, TASK.metrics["accuracy"], (), table, truth, said, np.arange(400))
    assert "0 labelled rows, 200 are needed" in estimator.why_not


def test_answers_are_those_of_scikit_learn_with_the_sign_turned() -> None:
    matrix = lesson("Anomaly").matrix
    model = make_pipeline(StandardScaler(), IsolationForest(contamination=0.07, random_state=3)).fit(matrix)
    said = TASK.predictions(TASK.scores(model, matrix), TASK.learnt(model))
    assert np.array_equal(said["score"], -model.score_samples(matrix))
    assert np.array_equal(said["flagged"], model.predict(matrix) == -1)


def test_a_model_without_a_threshold_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="offset_ of the fitted StandardScaler is None"):
        TASK.learnt(StandardScaler())


def test_a_table_of_scores_alone_is_judged_by_the_share_or_by_a_threshold() -> None:
    _, score = rows()
    named = task_named("AnomalyDetection")
    assert (score > learnt_from(named, score, None).threshold).mean() <= 0.01
    assert learnt_from(named, score, 0.7).threshold == 0.7
    assert learnt_from(task_named("Regression"), score, None) == Learnt()


def test_labels_may_be_written_in_words_and_missing() -> None:
    label = label_of("Anomaly", ("fine", "fraud"))
    assert [label.parse(word) for word in ("fraud", "fine", "else")] == [True, False, None]
    found = label.truth(np.array([True, None, False], dtype=object))
    assert np.array_equal(found, [1.0, np.nan, 0.0], equal_nan=True)
    assert label.tally(found).words == "1 fraud and 1 fine, 1 unknown"


@pytest.mark.parametrize("family", ["isolationForest", "localOutlierFactor"])
def test_nothing_is_learnt_from_labels(family: str) -> None:
    candidate, given = Candidate.model_validate({"name": "one", family: {}}), lesson("Anomaly")
    unlabelled = replace(given, truth=np.full(len(given.truth), np.nan))
    assert pickle.dumps(fit_model(candidate, {}, given)) == pickle.dumps(fit_model(candidate, {}, unlabelled))


@pytest.mark.parametrize("family", ["isolationForest", "localOutlierFactor"])
def test_so_many_rows_are_flagged_as_the_objective_says(family: str) -> None:
    candidate, given = Candidate.model_validate({"name": "one", family: {}}), lesson("Anomaly")
    for share in (UNUSUAL, 0.2):
        model = fit_model(candidate, {}, replace(given, flagged_share=share))
        task = AnomalyDetection(share)
        said = task.predictions(task.scores(model, given.matrix), task.learnt(model))
        assert np.mean(said["flagged"]) == pytest.approx(share, abs=0.03 if "local" in family else 0.002)


@pytest.mark.parametrize("trees", [1, 7, 100])
def test_one_row_through_an_isolation_forest_has_the_bits_of_the_table(trees: int) -> None:
    given = lesson("Anomaly")
    candidate = Candidate.model_validate({"name": "one", "isolationForest": {"trees": trees}})
    model = fit_model(candidate, {}, given)
    assert isinstance(model, Isolation)
    far = np.array([[1e300, -1e300, 5, 0.0], [0.0, 0.0, 0.0, 0.0]])
    matrix = np.vstack([given.matrix, far])
    loaded = pickle.loads(pickle.dumps(model))
    table = -model.score_samples(matrix)
    assert [loaded.answer_one(row) for row in matrix] == table.tolist()
    assert len(set(table.tolist())) > trees


def test_the_example_finds_most_malignant_lumps_without_a_label() -> None:
    from datetime import UTC, datetime

    from capstan.data import extract, part_cases
    from capstan.spec import load
    from capstan.training.cases import Cases
    from capstan.training.fitting import fit_candidate, predict

    example = Path(__file__).parents[3] / "examples/anomalies"
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = {}
    for file in ("system.yaml", "judged.yaml"):
        system = load(example / file)
        parted = part_cases(extract(system, as_of=now, labels_as_of=now), system, as_of=now)
        train, test = (
            Cases.of(parted.table.take(part), system) for part in (parted.parts.training, parted.parts.test)
        )
        fitted = fit_candidate(
            system.spec.training.candidates[1], system.spec.features, train, seed=system.spec.training.seed
        )
        said = predict(test.task, fitted.pipeline, test.table)
        found[file] = said["score"], evaluate(test.task, test.truth, said)
    assert np.array_equal(found["system.yaml"][0], found["judged.yaml"][0])
    assert math.isnan(found["system.yaml"][1]["averagePrecision"])
    assert found["judged.yaml"][1]["averagePrecision"] > 0.6
    assert found["judged.yaml"][1]["recall"] > 0.5
