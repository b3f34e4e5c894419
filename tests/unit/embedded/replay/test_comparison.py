"""The table at the end: managed against static."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from capstan.embedded.replay import comparison
from capstan.tasks import TASKS, Predictions

METRICS = tuple(TASKS["BinaryClassification"].metrics[name] for name in ("rocAuc", "logLoss"))


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def rows(rng, n=4000, days=40):
    labels = (rng.random(n) < 0.3).astype(float)
    static = np.round(rng.random(n), 2)
    managed = np.clip(np.round(static * 0.5 + labels * rng.random(n) * 0.5, 2), 0, 1)
    day = np.sort(rng.integers(0, days, n)).astype("U3")
    return labels, static, managed, day


def of(probability):
    return Predictions({"probability": probability})


def compare(truth, static, managed, months, days, **settings):
    by_month, overall, _ = comparison.compare(
        METRICS, truth.astype(bool), of(static), of(managed), months, days, **settings
    )
    return by_month, overall


def test_values_are_those_of_the_metrics_that_verdicts_use(rng):
    labels, static, managed, day = rows(rng)
    by_month, _ = compare(
        labels, static, managed, np.full(len(labels), "2013-02"), day, rng=rng, resamples=50
    )
    found = by_month["2013-02"].metrics
    assert found["rocAuc"].static == pytest.approx(roc_auc_score(labels, static), abs=1e-12)
    clipped = np.clip(managed, 0.001, 0.999)
    assert found["logLoss"].managed == pytest.approx(sklearn_log_loss(labels, clipped))


def test_a_loss_that_falls_is_a_gain(rng):
    labels, static, managed, day = rows(rng)
    losses = (METRICS[1],)
    _, overall, _ = comparison.compare(
        losses,
        labels.astype(bool),
        of(static),
        of(managed),
        np.full(len(labels), "2013-02"),
        day,
        rng=rng,
        resamples=50,
    )
    found = overall.metrics["logLoss"]
    assert found.managed < found.static
    assert found.gain == pytest.approx(found.static - found.managed)
    low, high = found.gain_interval
    assert 0 < low < found.gain < high


def test_two_systems_that_are_one_differ_by_nothing_without_a_minus(rng):
    labels, static, _, day = rows(rng)
    months = np.full(len(labels), "2013-02")
    _, overall, _ = comparison.compare(
        (METRICS[1],), labels.astype(bool), of(static), of(static), months, day, rng=rng, resamples=50
    )
    found = overall.metrics["logLoss"]
    assert [str(value) for value in (found.gain, *found.gain_interval)] == ["0.0"] * 3


def test_gain_is_the_unweighted_mean_of_the_months(rng):
    labels, static, managed, day = rows(rng)
    months = np.where(np.arange(len(labels)) < 1000, "2013-02", "2013-03")
    by_month, overall = compare(labels, static, managed, months, day, rng=rng, resamples=200)
    gains = [month.metrics["rocAuc"].gain for month in by_month.values()]
    assert overall.metrics["rocAuc"].gain == pytest.approx(np.mean(gains))
    low, high = overall.metrics["rocAuc"].gain_interval
    assert low < overall.metrics["rocAuc"].gain < high


def test_equal_systems_gain_nothing(rng):
    labels, static, _, day = rows(rng)
    months = np.full(len(labels), "2013-02")
    _, overall = compare(labels, static, static, months, day, rng=rng, resamples=50)
    assert overall.metrics["rocAuc"].gain == 0
    assert overall.metrics["rocAuc"].gain_interval == (0, 0)


def test_month_with_one_class_claims_no_auc(rng):
    _, static, managed, day = rows(rng)
    months = np.full(len(static), "2013-02")
    by_month, overall = compare(np.zeros(len(static)), static, managed, months, day, rng=rng, resamples=5)
    assert by_month["2013-02"].metrics["rocAuc"].gain is None
    assert overall.metrics["rocAuc"].gain is None
