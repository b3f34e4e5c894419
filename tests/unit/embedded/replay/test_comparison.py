"""The table at the end: managed against static."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from capstan.embedded.replay.comparison import compare, day_counts, day_weighted_aucs, log_loss


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def rows(rng, n=4000, days=40):
    labels = (rng.random(n) < 0.3).astype(float)
    static = np.round(rng.random(n), 2)
    managed = np.clip(np.round(static * 0.5 + labels * rng.random(n) * 0.5, 2), 0, 1)
    day = np.sort(rng.integers(0, days, n)).astype("U3")
    return labels, static, managed, day


def test_auc_equals_scikit_learn_with_ties(rng):
    labels, static, _, day = rows(rng)
    _, day_of_row = np.unique(day, return_inverse=True)
    area = day_weighted_aucs(labels, static, day_of_row, np.ones((1, 40), dtype=np.int64))[0]
    assert area == pytest.approx(roc_auc_score(labels, static), abs=1e-12)


def test_resampled_auc_equals_scikit_learn_with_repeated_days(rng):
    labels, static, _, day = rows(rng)
    names, day_of_row = np.unique(day, return_inverse=True)
    counts = day_counts(len(names), 3, rng)
    areas = day_weighted_aucs(labels, static, day_of_row, counts)
    for drawn, area in zip(counts, areas, strict=True):
        expected = roc_auc_score(labels, static, sample_weight=drawn[day_of_row])
        assert area == pytest.approx(expected, abs=1e-12)


def test_log_loss_equals_scikit_learn_on_clipped_probabilities(rng):
    labels, static, _, _ = rows(rng)
    assert log_loss(labels, static) == pytest.approx(sklearn_log_loss(labels, np.clip(static, 0.001, 0.999)))


def test_gain_is_the_unweighted_mean_of_the_months(rng):
    labels, static, managed, day = rows(rng)
    months = np.where(np.arange(len(labels)) < 1000, "2013-02", "2013-03")
    by_month, overall = compare(labels, static, managed, months, day, rng=rng, resamples=200)
    gains = [month.auc_gain for month in by_month.values()]
    assert overall.auc_gain == pytest.approx(np.mean(gains))
    low, high = overall.auc_gain_interval
    assert low < overall.auc_gain < high


def test_equal_systems_gain_nothing(rng):
    labels, static, _, day = rows(rng)
    months = np.full(len(labels), "2013-02")
    _, overall = compare(labels, static, static, months, day, rng=rng, resamples=50)
    assert overall.auc_gain == 0
    assert overall.auc_gain_interval == (0, 0)


def test_month_with_one_class_claims_no_auc(rng):
    _, static, managed, day = rows(rng)
    months = np.full(len(static), "2013-02")
    by_month, overall = compare(np.zeros(len(static)), static, managed, months, day, rng=rng, resamples=5)
    assert by_month["2013-02"].auc_gain is None
    assert overall.auc_gain is None
