"""The figures of statsmodels 0.15.0 for one small experiment, which is written out so that anybody can repeat them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from capstan.domain.verdicts.experiments import (
    ArmMoments,
    ExperimentRule,
    Test,
    proportions,
    welch,
    wilson,
)
from capstan.domain.verdicts.sample_size import ExperimentDesign, sample_size
from capstan.evaluation.experiments.effects import effect, moments, without_covariate

UNIT = np.arange(40)
COVARIATE = ((7 * UNIT**2 + 3 * UNIT) % 23).astype(float)
ARM = ((UNIT * 5) % 7 < 3).astype(np.int64)
OUTCOME = 0.8 * COVARIATE + (11 * UNIT**2 + 5 * UNIT) % 17 + 1.5 * ARM
CONTROL, TREATMENT = OUTCOME[ARM == 0], OUTCOME[ARM == 1]


def test_welch() -> None:
    """CompareMeans(treatment, control).ttest_ind(usevar="unequal") and tconfint_diff."""
    found = welch(moments(CONTROL), moments(TREATMENT), alpha=0.05)
    assert found.p_value == pytest.approx(0.29693441156169426, rel=1e-9)
    assert (found.lower, found.upper) == pytest.approx((-2.629584546037737, 8.339558970590168), rel=1e-9)


def test_cuped_is_the_analysis_of_covariance() -> None:
    """OLS of the outcome on arm and covariate: the arm's coefficient and the covariate's."""
    adjusted, slope = without_covariate(OUTCOME, COVARIATE, ARM, 2)
    assert slope == pytest.approx(0.9647776, abs=1e-7)
    difference = adjusted[ARM == 1].mean() - adjusted[ARM == 0].mean()
    assert difference == pytest.approx(2.9142063, abs=1e-7)


def test_mann_whitney() -> None:
    """rank_compare_2indep(treatment, control, use_t=False): the chance and its interval; the p-value is scipy's."""
    found = effect(CONTROL, TREATMENT, ExperimentRule(test=Test.MANN_WHITNEY))
    assert found.difference + 0.5 == pytest.approx(0.6265984654731457, rel=1e-9)
    interval = (found.lower + 0.5, found.upper + 0.5)
    assert interval == pytest.approx((0.4400564686529739, 0.8131404622933175), rel=1e-6)
    assert found.p_value == pytest.approx(stats.mannwhitneyu(TREATMENT, CONTROL).pvalue, rel=1e-12)


def test_proportions() -> None:
    """proportions_ztest([81, 50], [1100, 1000]) and confint_proportions_2indep(method="newcomb")."""
    found = proportions(ArmMoments(1000, 0.05, 0.0), ArmMoments(1100, 81 / 1100, 0.0), alpha=0.05)
    assert found.p_value == pytest.approx(0.02529908021413065, rel=1e-9)
    assert (found.lower, found.upper) == pytest.approx(
        (0.0028909396335824733, 0.044339468174670923), rel=1e-9
    )
    assert wilson(0.05, 1000, alpha=0.05) == pytest.approx(
        (0.03813026239274881, 0.06531382024425081), rel=1e-9
    )


@pytest.mark.parametrize(
    ("shares", "units"), [((1, 1), 2 * 1569.7721019023288), ((4, 1), 1.25 * 3924.4302546643244)]
)
def test_sample_size(shares: tuple[int, int], units: float) -> None:
    """NormalIndPower().solve_power(0.1, alpha=0.05, power=0.8, ratio=1 and 0.25), units of both arms."""
    design = ExperimentDesign(0.1, variance=1.0, shares=shares, rule=ExperimentRule(test=Test.WELCH))
    found = sample_size(design)
    assert found is not None
    assert found.units == pytest.approx(units, abs=2)
