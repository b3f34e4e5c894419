"""Metrics are scikit-learn's; undefined ones are nan, never a pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from capstan.evaluation.metrics import evaluate
from capstan.tasks import TASKS, Predictions

BINARY = TASKS["BinaryClassification"]
REFERENCES = {
    "rocAuc": reference.roc_auc_score,
    "averagePrecision": reference.average_precision_score,
    "logLoss": lambda t, p: reference.log_loss(t, np.clip(p, 0.001, 0.999), labels=[False, True]),
    "brierScore": reference.brier_score_loss,
    "accuracy": lambda t, p: reference.accuracy_score(t, p >= 0.5),
    "precision": lambda t, p: reference.precision_score(t, p >= 0.5, zero_division=0),
    "recall": lambda t, p: reference.recall_score(t, p >= 0.5, zero_division=0),
    "f1": lambda t, p: reference.f1_score(t, p >= 0.5, zero_division=0),
}


def of(probability: np.ndarray) -> Predictions:
    return Predictions({"probability": probability})


@pytest.mark.parametrize("metric", REFERENCES)
@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))),
        min_size=2,
        max_size=60,
    ).filter(lambda rows: len({truth for truth, _ in rows}) == 2)
)
@settings(max_examples=100, deadline=None)
def test_metric_equals_scikit_learn(metric: str, rows: list[tuple[bool, float]]) -> None:
    truth = np.array([row[0] for row in rows])
    probability = np.array([row[1] for row in rows])
    assert BINARY.metrics[metric].value(truth, of(probability)) == pytest.approx(
        REFERENCES[metric](truth, probability), rel=1e-9, abs=1e-12
    )


def test_calibration_error_is_the_weighted_gap_of_bins() -> None:
    truth = np.array([True, False, True, True])
    probability = np.array([0.15, 0.15, 0.95, 0.95])
    # Bin 0.1-0.2: |0.15 - 0.5|; bin 0.9-1: |0.95 - 1|; two rows each.
    assert BINARY.metrics["calibrationError"].value(truth, of(probability)) == pytest.approx(
        (0.35 + 0.05) / 2
    )


def test_one_class_leaves_ranking_undefined_and_losses_defined() -> None:
    found = evaluate(BINARY, np.array([False, False]), of(np.array([0.1, 0.2])))
    assert math.isnan(found["rocAuc"])
    assert math.isnan(found["averagePrecision"])
    assert found["logLoss"] > 0


@pytest.mark.parametrize(
    ("truth", "probability"), [([], []), ([True, False], [0.3, math.nan])], ids=["empty", "not-a-number"]
)
def test_a_window_without_evidence_has_no_metric(truth: list[bool], probability: list[float]) -> None:
    found = evaluate(BINARY, np.array(truth, dtype=bool), of(np.array(probability, dtype=np.float64)))
    assert set(found) == set(BINARY.metrics)
    assert all(math.isnan(value) for value in found.values())
