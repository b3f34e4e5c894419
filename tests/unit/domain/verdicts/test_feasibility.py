"""How long a verdict takes, told beforehand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from capstan.domain.verdicts.blocks import autocorrelation, independent_size, merge
from capstan.domain.verdicts.evidence import LossBlock
from capstan.domain.verdicts.feasibility import (
    LossHistory,
    affordable_margin,
    infeasible_deadline,
    read_history,
    time_to_verdict,
)
from capstan.domain.verdicts.quality import Decide, QualityRule

START = datetime(2013, 2, 1, tzinfo=UTC)
FLIGHTS = LossHistory(blocks=90, spread=0.059, labels_per_block=400, requests_per_block=410)
MONTH = timedelta(days=30)


def series(values, count=400):
    return [
        LossBlock(START + timedelta(hours=i), count, value * count, 0.99) for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("effect", "median", "late"),
    [(0.5, 36, 60), (0.8, 18, 28), (1.2, 12, 18)],
    ids=["d=0.5", "d=0.8", "d=1.2"],
)
def test_expected_time_is_the_simulated_one(effect, median, late):
    found = time_to_verdict(QualityRule(Decide.NOT_WORSE), FLIGHTS, true_difference=effect * 0.059)
    assert found.median_blocks == pytest.approx(median, rel=0.17)
    assert found.late_blocks == pytest.approx(late, rel=0.12)


def test_unless_worse_takes_its_minimum_of_blocks_requests_and_labels():
    assert time_to_verdict(QualityRule(Decide.UNLESS_WORSE), FLIGHTS).median_blocks == 7
    assert time_to_verdict(QualityRule(Decide.UNLESS_WORSE, min_labels=4000), FLIGHTS).median_blocks == 10
    assert time_to_verdict(QualityRule(Decide.UNLESS_WORSE, min_requests=8200), FLIGHTS).median_blocks == 20


@pytest.mark.parametrize(("effect", "median", "late"), [(0.0, 7, 7), (-0.5, 7, None), (-1.0, None, None)])
def test_unless_worse_takes_longer_or_never_passes_a_challenger_that_looks_worse(effect, median, late):
    found = time_to_verdict(QualityRule(Decide.UNLESS_WORSE), FLIGHTS, true_difference=effect * 0.059)
    assert (found.median_blocks, found.late_blocks) == (median, late)


def test_an_equal_challenger_is_never_shown_better():
    assert time_to_verdict(QualityRule(Decide.BETTER), FLIGHTS).median_blocks is None


def test_a_deadline_that_cannot_be_met_is_refused_with_ways_out():
    message = infeasible_deadline(
        QualityRule(Decide.NOT_WORSE, metric="logLoss", margin=0.01), FLIGHTS, deadline=timedelta(days=21)
    )
    assert message is not None
    assert message.startswith("21d cannot be met: NotWorse at margin 0.01 logLoss takes 310d in the median")
    assert "decide: NotWorse with margin: 0.038" in message
    assert "decide: UnlessWorse" in message
    assert "deadline: 607d" in message


def test_the_way_out_that_is_offered_is_feasible():
    rule = QualityRule(Decide.NOT_WORSE, margin=0.01)
    margin = affordable_margin(rule, FLIGHTS, blocks=21)
    assert margin is not None
    wider = QualityRule(Decide.NOT_WORSE, margin=margin + 1e-9)
    assert infeasible_deadline(wider, FLIGHTS, deadline=timedelta(days=21)) is None


def test_late_labels_use_up_the_deadline():
    rule = QualityRule(Decide.UNLESS_WORSE)
    assert infeasible_deadline(rule, FLIGHTS, deadline=timedelta(days=8)) is None
    delayed = infeasible_deadline(rule, FLIGHTS, deadline=timedelta(days=8), label_delay=timedelta(days=3))
    assert delayed is not None
    assert "takes 10d" in delayed


def test_history_tells_the_noise_of_a_block():
    rng = np.random.default_rng(3)
    history = read_history(series(rng.normal(0.017, 0.059, 300)))
    assert history.spread == pytest.approx(0.059, rel=0.1)
    assert history.labels_per_block == 400
    assert abs(history.lag_one) < 0.15


def test_neighbours_alike_make_a_verdict_take_longer():
    alike = LossHistory(blocks=90, spread=0.059, labels_per_block=400, requests_per_block=410, lag_one=0.6)
    rule = QualityRule(Decide.NOT_WORSE, margin=0.05)
    slow, fast = time_to_verdict(rule, alike), time_to_verdict(rule, FLIGHTS)
    assert slow.median_blocks is not None
    assert fast.median_blocks is not None
    assert slow.median_blocks > 2 * fast.median_blocks


def test_no_history_is_an_error_that_names_the_number():
    with pytest.raises(ValueError, match="0 with labels"):
        read_history([])


def hours_of_like_days(days, seed):
    rng = np.random.default_rng(seed)
    return series(np.repeat(rng.normal(0, 0.05, days), 24) + rng.normal(0, 0.03, days * 24))


def test_hours_of_one_day_are_merged_until_they_are_independent():
    history = hours_of_like_days(200, seed=5)
    assert autocorrelation([b.loss_difference for b in history]) > 0.5
    assert independent_size(history, sizes=(1, 6, 24, 48)) == 24


def test_independent_blocks_stay_as_they_are():
    rng = np.random.default_rng(6)
    assert independent_size(series(rng.normal(0, 1, 400))) == 1


def test_a_short_history_shows_no_size_to_be_independent():
    assert independent_size(hours_of_like_days(20, seed=5), sizes=(1, 24)) is None


def test_merging_keeps_sums_and_leaves_out_the_unfinished_group():
    blocks = [
        LossBlock(START + timedelta(hours=i), 10 * i, float(i), 0.5 if i == 1 else 1.0) for i in range(1, 6)
    ]
    merged = merge(blocks, 2)
    assert [(b.start, b.count, b.loss_difference) for b in merged] == [
        (blocks[0].start, 30, 3.0),
        (blocks[2].start, 70, 7.0),
    ]
    assert merged[0].coverage == pytest.approx(30 / 40)
