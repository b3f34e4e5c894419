"""Arms are compared as scipy does it, and no verdict stands on units that cannot be trusted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.experiments import Better, ExperimentRule, Test
from capstan.errors import CapstanError, InvalidDataError, InvalidSpecError
from capstan.evaluation.experiments.analysis import analyse
from capstan.evaluation.experiments.columns import Block
from capstan.evaluation.experiments.effects import effect, without_covariate
from capstan.evaluation.experiments.findings import ExperimentAnalysis
from capstan.evaluation.experiments.plan import ExperimentPlan
from capstan.evaluation.experiments.plot import draw
from capstan.evaluation.experiments.units import Units


def units_of(
    arm: np.ndarray,
    *,
    arms: tuple[str, ...] = ("control", "treatment"),
    days: np.ndarray | None = None,
    **rest: Any,
) -> Units:
    covariate, slices = rest.pop("covariate", None), rest.pop("slices", {})
    crossed = rest.pop("crossed", 0)
    starts = tuple(
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
        for day in range(int(days.max()) + 1 if days is not None else 0)
    )
    return Units(
        rows=len(arm),
        arms=arms,
        arm=arm,
        metrics=rest,
        covariate=covariate,
        slices=slices,
        blocks=starts,
        block=days,
        crossed=crossed,
        crossed_left_out=crossed,
        crossed_examples=("u1",) if crossed else (),
    )


def plan_of(test: Test = Test.ALWAYS_VALID, **rest: Any) -> ExperimentPlan:
    rule = ExperimentRule(test=test, better=rest.pop("better", Better.HIGHER))
    return ExperimentPlan(rule=rule, shares=rest.pop("shares", {"control": 1, "treatment": 1}), **rest)


def drawn(units: int, gain: float = 0.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arms, outcomes and a covariate that explains four fifths of them."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, units)
    covariate = rng.normal(10, 2, units)
    return arm, covariate + rng.normal(0, 1, units) + gain * arm, covariate


def by_arm(arm: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[arm == 0], values[arm == 1]


def reasons(analysis: ExperimentAnalysis) -> list[str]:
    return [str(one.result.reason) for one in analysis.comparisons]


def test_welch_of_a_log_is_scipys() -> None:
    arm, values, _ = drawn(400, 0.4)
    found = analyse(units_of(arm, value=values), plan_of(Test.WELCH)).comparisons[0]
    control, treatment = by_arm(arm, values)
    wanted = stats.ttest_ind(treatment, control, equal_var=False)
    assert found.effect.p_value == pytest.approx(wanted.pvalue, rel=1e-9)
    assert found.effect.lower == pytest.approx(wanted.confidence_interval(0.95).low, rel=1e-9)
    assert found.relative == pytest.approx((treatment.mean() - control.mean()) / control.mean(), rel=1e-9)


def test_mann_whitney_is_scipys_and_its_interval_is_delongs() -> None:
    rng = np.random.default_rng(3)
    control, treatment = rng.integers(0, 9, 90).astype(float), rng.integers(1, 11, 70).astype(float)
    found = effect(control, treatment, ExperimentRule(test=Test.MANN_WHITNEY))
    wanted = stats.mannwhitneyu(treatment, control)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-9)
    wins = (treatment[:, None] > control[None, :]) + (treatment[:, None] == control[None, :]) / 2
    assert found.difference == pytest.approx(wins.mean() - 0.5, rel=1e-9)
    error = np.sqrt(wins.mean(axis=1).var(ddof=1) / 70 + wins.mean(axis=0).var(ddof=1) / 90)
    assert found.upper - found.difference == pytest.approx(stats.norm.ppf(0.975) * error, rel=1e-9)


def test_cuped_is_the_regression_within_arms_then_welch() -> None:
    arm, values, covariate = drawn(800, 0.3)
    found = analyse(units_of(arm, value=values, covariate=covariate), plan_of(Test.WELCH))
    within = [
        np.concatenate([part - part.mean() for part in by_arm(arm, one)]) for one in (covariate, values)
    ]
    slope = stats.linregress(*within).slope
    control, treatment = by_arm(arm, values - slope * (covariate - covariate.mean()))
    wanted = stats.ttest_ind(treatment, control, equal_var=False)
    assert found.cuped[0].slope == pytest.approx(slope, rel=1e-9)
    assert found.comparisons[0].effect.p_value == pytest.approx(wanted.pvalue, rel=1e-9)
    assert found.comparisons[0].effect.lower == pytest.approx(wanted.confidence_interval(0.95).low, rel=1e-9)
    correlation = np.corrcoef(*within)[0, 1]
    assert found.cuped[0].variance_reduction == pytest.approx(correlation**2, abs=0.01)
    assert found.outcomes[0].mean == pytest.approx(by_arm(arm, values)[0].mean(), rel=1e-12)


def test_unit_without_covariate_counts_as_its_mean() -> None:
    arm, values, covariate = drawn(300)
    covariate[:20] = np.nan
    adjusted, _ = without_covariate(values, covariate, arm, 2)
    assert adjusted[:20].tolist() == values[:20].tolist()
    assert analyse(units_of(arm, value=values, covariate=covariate), plan_of()).cuped[0].without == 20


def test_arms_of_the_wrong_sizes_freeze_every_verdict_and_say_why() -> None:
    arm, values, _ = drawn(6000, 1.0)
    found = analyse(units_of(arm, value=values), plan_of(shares={"control": 60, "treatment": 40}))
    assert (reasons(found), found.ratio.verdict) == (["SampleRatioMismatch"], Verdict.FAILED)
    assert "verdict frozen, the experiment is invalid" in found.comparisons[0].result.message
    assert "wanted 60.0%" in found.comparisons[0].result.message
    assert reasons(analyse(units_of(arm, value=values), plan_of())) == ["ShownBetter"]


def test_sample_ratio_that_was_wrong_once_stays_wrong() -> None:
    arm = np.concatenate([np.ones(600, dtype=int), np.tile([0, 1], 3000), np.zeros(600, dtype=int)])
    days = np.repeat(np.arange(3), [600, 6000, 600])
    values = np.random.default_rng(0).normal(0, 1, len(arm))
    assert reasons(analyse(units_of(arm, value=values), plan_of())) == ["NotDecided"]
    assert reasons(analyse(units_of(arm, value=values, days=days), plan_of())) == ["SampleRatioMismatch"]


def test_many_units_in_two_arms_freeze_every_verdict() -> None:
    arm, values, _ = drawn(6000, 1.0)
    assert reasons(analyse(units_of(arm, value=values, crossed=100), plan_of())) == ["CrossedUnits"]
    assert reasons(analyse(units_of(arm, value=values, crossed=50), plan_of())) == ["ShownBetter"]


def test_covariate_that_differs_between_arms_was_not_from_before_assignment() -> None:
    arm, values, covariate = drawn(4000)
    found = analyse(units_of(arm, value=values, covariate=covariate + arm), plan_of())
    assert reasons(found) == ["CovariateDiffers"]
    assert "measured after assignment" in found.comparisons[0].result.message


def test_outcomes_that_are_missing_in_one_arm_freeze_that_metric_alone() -> None:
    arm, values, _ = drawn(6000, 1.0)
    lost = values.copy()
    lost[(arm == 1) & (values < 9)] = np.nan
    found = analyse(units_of(arm, lost=lost, whole=values), plan_of())
    assert reasons(found) == ["OutcomesMissing", "ShownBetter"]
    assert "--missing Zero" in found.comparisons[0].result.message


def test_arms_and_metrics_are_corrected_together() -> None:
    rng = np.random.default_rng(4)
    arm = rng.integers(0, 3, 3000)
    first, second = rng.normal(0, 1, (2, 3000))
    shares = {"a": 1, "b": 1, "control": 1}
    units = units_of(arm, arms=("a", "b", "control"), first=first, second=second)
    found = analyse(units, plan_of(Test.WELCH, shares=shares))
    p_values = [
        stats.ttest_ind(metric[arm == place], metric[arm == 2], equal_var=False).pvalue
        for metric in (first, second)
        for place in (0, 1)
    ]
    wanted = np.maximum.accumulate(np.minimum(np.sort(p_values) * np.arange(4, 0, -1), 1))
    assert sorted(one.adjusted_p for one in found.comparisons) == pytest.approx(wanted, rel=1e-9)
    assert "Holm over 4 comparisons" in found.comparisons[0].result.message
    alone = stats.ttest_ind(first[arm == 0], first[arm == 2], equal_var=False).confidence_interval(
        1 - 0.05 / 4
    )
    assert found.comparisons[0].effect.upper == pytest.approx(alone.high, rel=1e-9)


def test_cap_is_told_and_changes_the_mean() -> None:
    arm, values, _ = drawn(1000)
    values[:3] = 1e6
    found = analyse(units_of(arm, value=values), plan_of(caps={"value": 20.0}))
    assert sum(one.capped for one in found.outcomes) == int((values > 20).sum())
    assert max(one.mean for one in found.outcomes) < 20


def test_heavy_tail_is_warned_of() -> None:
    arm, values, _ = drawn(1000)
    values[:3] = 1e6
    warned = analyse(units_of(arm, value=values), plan_of()).warnings
    assert any("is skewed" in one and "--cap" in one for one in warned)
    assert not analyse(units_of(arm, value=values), plan_of(caps={"value": 20.0})).warnings


def test_slices_hold_together_and_decide_nothing() -> None:
    arm, values, _ = drawn(4000, 0.5)
    codes = np.arange(4000) % 2
    units = units_of(arm, value=values, slices={"land": (("DE", "FR"), codes)})
    found = analyse(units, plan_of(Test.WELCH)).comparisons[0]
    inside = codes == 0
    wanted = stats.ttest_ind(values[inside & (arm == 1)], values[inside & (arm == 0)], equal_var=False)
    assert [(one.value, one.control_units + one.arm_units) for one in found.slices] == [
        ("DE", 2000),
        ("FR", 2000),
    ]
    assert found.slices[0].effect.lower == pytest.approx(
        wanted.confidence_interval(1 - 0.05 / 2).low, rel=1e-9
    )


def test_what_was_shown_at_a_look_stays_shown() -> None:
    rng = np.random.default_rng(8)
    arm, days = np.tile([0, 1], 6000), np.repeat(np.arange(12), 1000)
    gain = np.where(days < 4, 0.5, -0.25)
    values = rng.normal(0, 1, 12_000) + gain * arm
    found = analyse(units_of(arm, value=values, days=days), plan_of()).comparisons[0]
    assert abs(found.effect.difference) < 0.05
    assert (found.result.verdict, found.result.reason) == (Verdict.SUCCESSFUL, "ShownBetter")
    assert "first after the day 2026-01-0" in found.result.message
    assert len(found.looks) == 12
    assert found.looks[-1].effect.difference == pytest.approx(found.effect.difference, abs=1e-12)
    assert found.looks[-1].effect.lower == pytest.approx(found.effect.lower, abs=1e-9)


def clustered(seed: int, days: int = 60, per_day: int = 200, lag: float = 0.0) -> Units:
    """No effect on the whole, but one that differs from day to day with the autocorrelation `lag`."""
    rng = np.random.default_rng(seed)
    shock = np.zeros(days)
    for day in range(days):
        shock[day] = (lag * shock[day - 1] if day else 0.0) + rng.normal(0, 0.5 * np.sqrt(1 - lag**2))
    arm, day = np.tile([0, 1], days * per_day // 2), np.repeat(np.arange(days), per_day)
    return units_of(arm, value=rng.normal(0, 1, len(arm)) + shock[day] * arm, days=day)


def test_effect_that_differs_by_day_is_warned_of_and_days_may_be_what_is_independent() -> None:
    runs = 40
    by_unit = by_day = 0
    for seed in range(runs):
        units = clustered(seed)
        found = analyse(units, plan_of())
        assert any("--by Day" in one for one in found.warnings)
        by_unit += reasons(found) != ["NotDecided"]
        by_day += reasons(analyse(units, plan_of(by=Block.DAY))) != ["NotDecided"]
    assert by_unit > runs / 2
    assert by_day <= 4


def test_correlated_days_are_merged_to_the_smallest_length_that_is_not() -> None:
    found = analyse(clustered(2, days=120, lag=0.7), plan_of(by=Block.DAY)).comparisons[0]
    assert found.correlation is not None
    assert found.correlation.lag_1 > 0.3
    assert found.correlation.merged is not None
    assert found.correlation.merged > 1
    assert len(found.looks) == 120 // found.correlation.merged
    assert f"{found.correlation.merged} merged keep it at 0.1" in found.correlation.describe("day")


def test_too_few_days_show_nothing_by_day() -> None:
    found = analyse(clustered(1, days=6, per_day=400), plan_of(by=Block.DAY)).comparisons[0]
    assert (found.result.verdict, found.result.reason) == (Verdict.INCONCLUSIVE, "TooLittleEvidence")
    assert "no length of at least 7 blocks" in found.result.message


@pytest.mark.parametrize("kind", ["gaussian", "proportion", "exponential"])
def test_equal_arms_are_seldom_told_apart_however_often_one_looks(kind: str) -> None:
    rng = np.random.default_rng(11)
    runs, days, per_day = 120, 12, 400
    day = np.repeat(np.arange(days), per_day)
    always = naive = 0
    for _ in range(runs):
        arm = rng.integers(0, 2, days * per_day)
        values = {
            "gaussian": lambda size: rng.normal(0, 1, size),
            "proportion": lambda size: (rng.random(size) < 0.1).astype(float),
            "exponential": lambda size: rng.exponential(1, size),
        }[kind](len(arm))
        found = analyse(units_of(arm, value=values, days=day), plan_of())
        always += reasons(found) != ["NotDecided"]
        naive += any(
            stats.ttest_ind(*by_arm(arm[: end * per_day], values[: end * per_day]), equal_var=False).pvalue
            < 0.05
            for end in range(2, days + 1)
        )
    # 5 % of 120 are 6; 12 or more of them have a chance of 2 %, and nobody's seed changes.
    assert always < 12
    assert naive > 2 * 6


def test_one_arm_without_units_is_told_and_decides_nothing() -> None:
    arm = np.zeros(40, dtype=int)
    shares = {"control": 1, "treatment": 1}
    units = units_of(arm, arms=("control",), value=np.ones(40))
    found = analyse(units, plan_of(Test.WELCH, shares=shares))
    assert found.comparisons[0].result.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"shares": {"control": 1, "other": 1}},
            "--shares: the log has the arm 'treatment', which is none of",
        ),
        ({"control": "A"}, "--control: 'A' is no arm; the arms are control, treatment"),
        ({"caps": {"price": 1.0}}, "--cap: 'price' is no metric; name one of value"),
    ],
)
def test_plan_that_does_not_fit_the_log_is_refused(changes: dict[str, Any], said: str) -> None:
    arm, values, _ = drawn(10)
    with pytest.raises(InvalidSpecError, match=said):
        analyse(units_of(arm, value=values), replace(plan_of(), **changes))


def test_proportions_want_zeros_and_ones() -> None:
    arm, values, _ = drawn(100)
    with pytest.raises(InvalidDataError, match="neither 0 nor 1"):
        analyse(units_of(arm, value=values), plan_of(Test.PROPORTIONS))


def test_plot_is_the_same_for_the_same_analysis(tmp_path: Path) -> None:
    units = replace(clustered(1, days=20), slices={"land": (("DE", "FR"), np.arange(4000) % 2)})
    for test in (Test.ALWAYS_VALID, Test.WELCH):
        analysis = analyse(units, plan_of(test))
        for name in ("a.svg", "b.svg", "c.png"):
            draw(analysis, tmp_path / name)
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
        assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
        assert b"treatment less control" in (tmp_path / "a.svg").read_bytes()
    with pytest.raises(CapstanError, match=r"--plot: .* cannot be written: No such file"):
        draw(analysis, tmp_path / "none" / "a.svg")
