"""What online quality claims, and what it does not."""

from __future__ import annotations

import numpy as np

from capstan.monitoring import quality as measured
from capstan.monitoring.quality import QualityReference
from capstan.spec.tasks import TASK_FACTS
from capstan.tasks import TASKS, Predictions

METRICS = TASKS["BinaryClassification"].metrics


def measure(metric, truth, scores, days):
    return measured.measure(METRICS[metric], truth, Predictions({"probability": scores}), days)


def judge_drop(metric, *arguments, **settings):
    return measured.judge_drop(METRICS[metric].facts, *arguments, **settings)


def days_of(rng: np.random.Generator, days: int, rows: int, *, skill: float = 1.0, wander: float = 0.5):
    """Rows whose difficulty differs between days."""
    day = np.repeat(np.arange(days), rows)
    base = rng.normal(0, wander, days)[day]
    truth = rng.random(days * rows) < 1 / (1 + np.exp(1.2 - base))
    scores = 1 / (1 + np.exp(-(skill * (truth - 0.5) * 2 + rng.normal(-1, 1.2, days * rows) + 0.5 * base)))
    return truth, scores, day


def test_every_metric_of_the_grammar_can_be_watched() -> None:
    for name, task in TASKS.items():
        assert tuple(task.metrics) == TASK_FACTS[name].metric_names


def test_a_window_of_one_class_has_no_auc() -> None:
    found = measure("rocAuc", np.ones(50, dtype=bool), np.linspace(0, 1, 50), np.repeat(np.arange(5), 10))
    assert (found.value, found.standard_error) == (None, None)
    assert judge_drop("rocAuc", found, QualityReference(0.8), max_drop=0.05, error_probability=0.05) is None


def test_two_days_are_too_few_to_blame_more_than_chance() -> None:
    truth, scores, day = days_of(np.random.default_rng(2), 2, 500, skill=0.0)
    found = measure("rocAuc", truth, scores, day)
    drop = judge_drop("rocAuc", found, QualityReference(0.9), max_drop=0.05, error_probability=0.05)
    assert drop is not None
    assert drop.drop > 0.05
    assert not drop.is_breach


def test_without_a_drop_false_alarms_keep_to_their_probability_and_a_real_drop_is_found() -> None:
    rng = np.random.default_rng(3)
    truth, scores, _ = days_of(rng, 400, 300)
    reference = QualityReference(METRICS["rocAuc"].value(truth, Predictions({"probability": scores})))
    alarms, found = 0, 0
    for _ in range(200):
        same = measure("rocAuc", *days_of(rng, 7, 60))
        worse = measure("rocAuc", *days_of(rng, 7, 300, skill=0.6))
        # With maxDrop 0 only the bound protects from chance.
        alarms += judge_drop("rocAuc", same, reference, max_drop=0.0, error_probability=0.05).is_breach
        found += judge_drop("rocAuc", worse, reference, max_drop=0.05, error_probability=0.05).is_breach
    assert alarms <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5
    assert found > 150


def test_a_rise_of_a_loss_is_a_drop_in_quality() -> None:
    truth, scores, day = days_of(np.random.default_rng(4), 7, 400)
    quality = measure("logLoss", truth, scores, day)
    better = judge_drop(
        "logLoss", quality, QualityReference(quality.value + 0.3), max_drop=0.05, error_probability=0.05
    )
    worse = judge_drop(
        "logLoss", quality, QualityReference(quality.value - 0.3), max_drop=0.05, error_probability=0.05
    )
    assert (better.is_breach, worse.is_breach) == (False, True)


def test_a_lucky_test_window_does_not_alarm_for_the_life_of_a_version() -> None:
    rng = np.random.default_rng(5)
    blamed = {"known": 0, "unknown": 0}
    for _ in range(60):
        test = measure("rocAuc", *days_of(rng, 14, 40, wander=0))
        references = {
            "known": QualityReference(test.value, test.standard_error),
            "unknown": QualityReference(test.value),
        }
        for _ in range(10):
            window = measure("rocAuc", *days_of(rng, 7, 40, wander=0))
            for name, reference in references.items():
                drop = judge_drop("rocAuc", window, reference, max_drop=0.0, error_probability=0.02)
                blamed[name] += drop.is_breach
    assert blamed["known"] <= 600 * 0.02 + 3 * (600 * 0.02) ** 0.5
    assert blamed["unknown"] > blamed["known"]


def test_blocks_hold_so_many_requests_in_a_row_and_the_rest_joins_the_last() -> None:
    rows = np.array([0, 0, 1, 2, 2, 3, 4, 5, 6])
    assert measured.blocks_of_requests(rows, 3).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert measured.blocks_of_requests(rows[:3], 3).tolist() == [0, 0, 0]
    assert measured.blocks_of_requests(rows[:0], 3).tolist() == []


def test_blocks_of_a_busy_window_grow_so_that_its_jackknife_stays_cheap() -> None:
    blocks = measured.blocks_of_requests(np.arange(100_000), 10)
    assert len(np.unique(blocks)) == measured.MOST_BLOCKS
    assert np.bincount(blocks).min() == 500


def test_a_drop_within_a_minute_is_told_from_chance_by_blocks_of_requests() -> None:
    rng = np.random.default_rng(6)
    truth, scores, _ = days_of(rng, 400, 300, wander=0)
    reference = QualityReference(METRICS["rocAuc"].value(truth, Predictions({"probability": scores})))
    alarms, found = 0, 0
    for _ in range(200):
        for skill in (1.0, 0.3):
            truth, scores, _ = days_of(rng, 1, 600, skill=skill, wander=0)
            minute = measure("rocAuc", truth, scores, measured.blocks_of_requests(np.arange(600), 50))
            assert minute.blocks == 12
            drop = judge_drop("rocAuc", minute, reference, max_drop=0.0, error_probability=0.05)
            if skill == 1:
                alarms += drop.is_breach
            else:
                found += drop.is_breach
    assert alarms <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5
    assert found > 180


def test_few_blocks_of_requests_have_no_error() -> None:
    truth, scores, _ = days_of(np.random.default_rng(7), 1, 300)
    blocks = measured.blocks_of_requests(np.arange(300), 50)
    few = measured.measure(
        METRICS["rocAuc"], truth, Predictions({"probability": scores}), blocks, least=measured.LEAST_BLOCKS
    )
    assert (few.blocks, few.standard_error) == (6, None)
