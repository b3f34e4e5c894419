"""Resampling days by weights gives what resampling rows would."""

from __future__ import annotations

import time

import numpy as np
import pytest

from capstan.evaluation.bootstrap import paired_difference
from capstan.tasks import TASKS, Predictions

METRICS = TASKS["BinaryClassification"].metrics


def _window(rows: int, days: int, seed: int = 0) -> tuple[np.ndarray, Predictions, Predictions, np.ndarray]:
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, days, rows))
    effect = rng.normal(0, 0.5, days)[day]
    score = rng.normal(0, 1, rows)
    truth = rng.random(rows) < 1 / (1 + np.exp(-(score + effect - 1)))
    first = 1 / (1 + np.exp(-(score - 1)))
    second = np.round(1 / (1 + np.exp(-(score + rng.normal(0, 1, rows) - 1))), 2)
    return truth, Predictions({"probability": first}), Predictions({"probability": second}), day


@pytest.mark.parametrize("metric", METRICS)
def test_weights_of_days_equal_drawing_their_rows(metric: str) -> None:
    truth, first, second, day = _window(600, 8)
    found = paired_difference(
        METRICS[metric], truth, first, second, day, rng=np.random.default_rng(3), resamples=40
    )
    drawn = np.random.default_rng(3).multinomial(8, np.full(8, 1 / 8), size=40)
    expected = []
    for weights in drawn:
        rows = np.concatenate([np.tile(np.flatnonzero(day == d), weights[d]) for d in range(8)])
        expected.append(
            METRICS[metric].value(truth[rows], first.rows(rows))
            - METRICS[metric].value(truth[rows], second.rows(rows))
        )
    assert found is not None
    assert found.resampled == pytest.approx(expected, abs=1e-9)


def test_interval_covers_no_difference_of_equal_models_and_excludes_a_clear_one() -> None:
    truth, first, second, day = _window(8000, 14)
    same = paired_difference(METRICS["rocAuc"], truth, first, first, day, rng=np.random.default_rng(0))
    better = paired_difference(METRICS["rocAuc"], truth, first, second, day, rng=np.random.default_rng(0))
    assert same is not None
    assert better is not None
    assert same.value == 0
    assert same.bound(0.05) == 0
    assert better.bound(0.05) > 0.02


def test_days_that_differ_widen_the_interval() -> None:
    truth, first, second, day = _window(8000, 14)
    by_day = paired_difference(METRICS["logLoss"], truth, first, second, day, rng=np.random.default_rng(0))
    rows = np.random.default_rng(1).permutation(day)
    by_row = paired_difference(METRICS["logLoss"], truth, first, second, rows, rng=np.random.default_rng(0))
    assert by_day is not None
    assert by_row is not None
    assert np.std(by_day.resampled) > 0
    assert by_day.days == by_row.days == 14


@pytest.mark.parametrize("metric", ["rocAuc", "averagePrecision"])
def test_a_year_of_rows_takes_seconds(metric: str) -> None:
    truth, first, second, day = _window(300_000, 365)
    started = time.process_time()
    found = paired_difference(METRICS[metric], truth, first, second, day, rng=np.random.default_rng(0))
    assert found is not None
    assert len(found.resampled) == 2000
    assert time.process_time() - started < 60


def test_one_class_gives_no_difference() -> None:
    _, first, second, day = _window(100, 5)
    assert (
        paired_difference(
            METRICS["rocAuc"], np.zeros(100, bool), first, second, day, rng=np.random.default_rng(0)
        )
        is None
    )
