"""The simulations of the docs run the product's tests, and would show a test that is fooled by looking often."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.experiments.simulated.false_positives import alarm_rates
from benchmarks.experiments.simulated.looks import (
    always_valid_decides,
    arms,
    proportions_decide,
    welch_decides,
)
from benchmarks.experiments.simulated.outcomes import SCENARIOS, Scenario

from capstan.domain.verdicts.experiments import ArmMoments, always_valid, proportions, welch
from capstan.evaluation.experiments.effects import moments

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_vectorised_tests_are_the_products_own(scenario: Scenario) -> None:
    rng = np.random.default_rng(6)
    values = scenario.draw(rng, (6, 6000))
    treated = rng.random(values.shape) < scenario.treated / 100
    values[3:] += 0.05 * values.std() * treated[3:]
    if scenario.is_share:
        values = np.minimum(np.round(values), 1)
    looks = np.arange(500, 6001, 250)
    control, treatment = arms(values, treated, looks)
    valid = always_valid_decides(control, treatment, looks, alpha=0.05, planned_units=5000)
    naive = welch_decides(control, treatment, alpha=0.05)
    pooled = proportions_decide(control, treatment, alpha=0.05)
    for run in range(len(values)):
        for place, look in enumerate(looks):
            own, mine = values[run, :look], treated[run, :look]
            first, second = moments(own[~mine]), moments(own[mine])
            effect = always_valid(first, second, alpha=0.05, planned_units=5000)
            assert valid[run, place] == (effect.lower > 0 or effect.upper < 0)
            assert naive[run, place] == (welch(first, second, alpha=0.05).p_value <= 0.05)
            if scenario.is_share:
                assert pooled[run, place] == (proportions(first, second, alpha=0.05).p_value <= 0.05)
            for found, known in ((control, first), (treatment, second)):
                there = ArmMoments(
                    int(found.units[run, place]),
                    float(found.mean[run, place]),
                    float(found.variance[run, place]),
                )
                assert there == ArmMoments(
                    known.units, pytest.approx(known.mean, abs=1e-9), pytest.approx(known.variance, rel=1e-6)
                )


@pytest.mark.parametrize("name", ["Gaussian", "share of 1 %", "share of 1 %, 90 : 10"])
def test_equal_arms_are_rarely_called_different_however_often_one_looks(name: str) -> None:
    always, by_ten, by_day, naive_by_ten, naive_by_day, at_the_end = alarm_rates(BY_NAME[name], 100, seed=4)
    # Of 100 runs at a true rate of 5 %, more than 12 alarms are seen once in 500 times; peeking gives over 20.
    assert max(always, at_the_end) <= 0.12
    assert always >= by_ten >= by_day
    assert min(naive_by_ten, naive_by_day) > 0.12
