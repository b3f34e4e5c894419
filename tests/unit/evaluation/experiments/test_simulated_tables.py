"""What the tables simulate is the product's arithmetic, and small runs of each show what its page claims."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from benchmarks.experiments import tables
from benchmarks.experiments.simulated import (
    bandit_means,
    correlated_days,
    guarded,
    interleaved,
    mismatch,
    power,
    regret,
    suspicions,
    ways_to_merge,
)
from benchmarks.experiments.simulated.outcomes import CAP, proportion, revenue
from benchmarks.experiments.simulated.table import Table
from scipy.stats import norm

from capstan.domain.steps.experiment import Outcome, guardrail_rule
from capstan.domain.verdicts.arms import ArmsRule
from capstan.domain.verdicts.bandits import BanditRule, Policy
from capstan.domain.verdicts.blocks import BlockSums, independent_size, merge
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums, LossBlock
from capstan.domain.verdicts.experiments import Better, Test, always_valid_of_blocks
from capstan.domain.verdicts.interleaving import Method
from capstan.domain.verdicts.merging import merge_as_needed
from capstan.domain.verdicts.preference import PreferenceCounts, PreferenceRule
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.domain.verdicts.sample_ratio import log_mismatch
from capstan.domain.verdicts.sample_size import tuned
from capstan.evaluation.power import Scenario, Simulation

RNG = np.random.default_rng(11)


def blocks_of(differences: np.ndarray) -> list[LossBlock]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    units = correlated_days.UNITS_PER_DAY
    return [
        LossBlock(start + timedelta(days=day), units, float(units * one), 1.0)
        for day, one in enumerate(differences)
    ]


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.9])
def test_merged_days_are_judged_as_the_product_judges_them(correlation: float) -> None:
    steps = RNG.standard_normal(80)
    differences = steps.copy()
    for day in range(1, len(steps)):
        differences[day] += correlation * differences[day - 1]
    for until in (20, 40, 80):
        blocks = blocks_of(differences[:until])
        size = independent_size(blocks, min_blocks=7)
        assert correlated_days.independent_length(differences[:until], 7) == size
        for length in (1, 2, 3):
            shifted = differences[:until] + 0.9
            sums, found = BlockSums(), False
            for block in merge(blocks_of(shifted), length):
                sums = sums.add(block.loss_difference, block.count)
                effect = always_valid_of_blocks(sums, alpha=0.05, planned_blocks=14)
                found |= sums.blocks >= 7 and (effect.lower > 0 or effect.upper < 0)
            assert correlated_days.blocks_decide(shifted, length) == found


def test_correlated_days_fool_units_and_unmerged_days_but_not_merged_ones() -> None:
    found = correlated_days.alarm_rates(0.6, 100, seed=1)
    units, naive_units, naive_days, days, past, _, own, _, anew, growing, certain = found
    assert min(units, naive_units, naive_days) > 0.4
    assert days > 0.15
    assert max(past, own) <= 0.12
    assert certain <= 0.08 < growing <= anew
    assert own <= growing


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_counts_at_which_the_sample_ratio_alarms_are_the_products(share: float) -> None:
    few, many = mismatch.alarm_counts(share, 5000)
    wanted = {"control": share, "treatment": 1 - share}

    def alarmed(count: float, units: int) -> bool:
        counts = {"control": int(count), "treatment": units - int(count)}
        return log_mismatch(counts, wanted) >= -math.log(0.001)

    for units in (100, 777, 5000):
        low, high = few[units - 1], many[units - 1]
        assert low < 0 or alarmed(low, units)
        assert high > units or alarmed(high, units)
        assert not alarmed(low + 1, units)
        assert not alarmed(high - 1, units)


def test_right_split_is_not_called_wrong_and_a_wrong_one_is() -> None:
    sequential, naive, _ = mismatch.alarms(mismatch.Split(50, 50), 60, seed=2)
    assert np.isfinite(sequential).sum() <= 1
    wrong, peeking, at_the_end = mismatch.alarms(mismatch.Split(50, 55), 20, seed=2)
    assert np.median(wrong) == pytest.approx(2000, rel=0.3)
    assert np.median(peeking) < np.median(wrong)
    assert at_the_end == 1.0
    assert np.isfinite(naive).mean() >= np.isfinite(sequential).mean()


def test_chi_squared_at_one_look_has_its_golden_size() -> None:
    assert mismatch.fixed_units(mismatch.Split(50, 52)) == pytest.approx(10_672, abs=5)


def test_units_that_are_told_have_the_power_asked_for() -> None:
    wanted = power.WANTED[0]
    always = tuned(replace(wanted.design, power=0.8))
    once = replace(always, rule=replace(always.rule, test=Test.WELCH))
    found = power.decided(wanted, always, once, 300, seed=1)
    assert (found.always_valid, found.one_look) == pytest.approx((0.8, 0.8), abs=0.08)
    assert found.by_median == pytest.approx(0.5, abs=0.1)


def test_preferences_are_decided_as_the_product_decides_them() -> None:
    rule = PreferenceRule()
    low, high = mismatch.alarm_counts(0.5, 400, rule.strength, rule.alpha)
    for decided in (120, 300, 400):
        for wins in (0, int(low[decided - 1]), int(low[decided - 1]) + 1, int(high[decided - 1]) - 1):
            counts = PreferenceCounts(wins=wins, losses=decided - wins)
            alarmed = wins <= low[decided - 1] or wins >= high[decided - 1]
            assert alarmed == (rule.log_e(counts) >= -math.log(rule.alpha))


def test_interleaving_finds_the_better_ranker_in_fewer_units_than_ab() -> None:
    rng = np.random.default_rng(3)
    pool = interleaved.clicked(interleaved.RANKERS[2], rng, size=10_000)
    first, naive = interleaved.preferring(pool.preferences[Method.TEAM_DRAFT], 40, rng)
    ab, _ = interleaved.comparing(pool, 10, rng, lambda _: None)
    assert np.isfinite(first).all()
    assert np.median(naive) < np.median(first) < 0.3 * np.median(ab)
    assert pool.challenger.mean() > pool.champion.mean()


def test_bandit_pays_less_than_an_even_split_and_finds_the_arm() -> None:
    chances = (0.10, 0.15)
    even = regret.missed(None, chances, 10, seed=1)
    learned = regret.missed(BanditRule(Policy.THOMPSON, is_binary=True), chances, 10, seed=1)
    assert even.mean == pytest.approx(0.025 * regret.BATCHES * regret.BATCH, rel=0.02)
    assert learned.mean < even.mean / 2
    assert learned.wrong == 0.0
    assert learned.mean > regret.floor_cost(chances, BanditRule().floor)


def test_bounds_of_regret_are_the_textbooks() -> None:
    """KL(0.10, 0.12) = 0.002033: 0.02 / 0.002033 ln 15,000 = 94.6; 8 / 0.02 ln 15,000 + 4.29 0.02 = 3,846."""
    assert regret.BATCHES * regret.BATCH == 15_000
    assert regret.lai_robbins((0.10, 0.12)) == pytest.approx(95, abs=1.5)
    assert regret.ucb1_bound((0.10, 0.12)) == pytest.approx(3846, abs=2)


def test_guardrails_of_bandits_are_judged_by_the_rule_of_the_step() -> None:
    complaints = Outcome(
        "complaints", Better.LOWER, timedelta(hours=1), timedelta(0), is_loss=False, margin=guarded.MARGIN
    )
    assert guardrail_rule(complaints, 0.05, 1, 500) == guarded.RULE


def test_guardrails_of_bandits_find_harm_and_the_naive_test_alarms_oftener() -> None:
    users, rule = guarded.USERS[1], guarded.POLICIES["EpsilonGreedy"]
    fair = guarded.alarms(rule, users, guarded.MARGIN, 40, seed=3)
    assert fair.guardrail <= 0.1
    assert fair.naive > 2 * fair.guardrail + 0.1
    harm = guarded.alarms(rule, guarded.USERS[0], guarded.HARM, 10, seed=3, is_over_at_alarm=True)
    assert harm.guardrail >= 0.9
    assert guarded.BATCH <= harm.units < guarded.BATCHES * guarded.BATCH


@pytest.mark.parametrize(("complaints", "alarms"), [(36, False), (37, True)])
def test_the_naive_test_of_complaints_is_the_textbooks(complaints: int, alarms: bool) -> None:
    """Of 500 units each: 15 complain of the champion; by how many more than 10 of the arm, is it 5 %?"""
    champion, arm = 15 / 500, complaints / 500
    error = math.sqrt(champion * (1 - champion) / 500 + arm * (1 - arm) / 500)
    assert bool(norm.sf((arm - champion - guarded.MARGIN) / error) < 0.05) is alarms
    sums = {
        version: ArmSums(500, 500, 500, float(ones), float(ones), float(ones))
        for version, ones in ((guarded.CHAMPION, 15), (guarded.ARM, complaints))
    }
    assert guarded.z_test_alarms(ArmsEvidence((ArmDay(guarded.START, sums),))) is alarms


def test_the_cap_of_revenue_is_its_quantile() -> None:
    drawn = revenue(np.random.default_rng(1), (1, 2_000_000))
    assert (drawn > CAP).mean() == pytest.approx(0.001, rel=0.1)
    assert proportion(0.25)(np.random.default_rng(1), (1, 40_000)).mean() == pytest.approx(0.25, abs=0.01)


def test_table_is_markdown_with_numbers_to_the_right() -> None:
    text = Table("Alarms", ("outcome", "rate"), (("Gaussian", "4.1 %"),), "2,000 runs.").markdown()
    assert text.splitlines()[2:5] == ["| outcome | rate |", "| --- | ---: |", "| Gaussian | 4.1 % |"]
    assert text.startswith("### Alarms")
    assert text.endswith("2,000 runs.\n")


@pytest.mark.parametrize("name", tables.TABLES)
def test_each_table_stands_in_its_page_and_names_the_command_that_makes_it(name: str) -> None:
    page, (begin, end) = tables.TABLES[name].page.read_text(), tables.marks(name)
    shown = page.split(begin)[1].split(end)[0]
    assert f"Made by `{tables.COMMAND} {name}`." in shown
    assert shown.count("|") > 20
    assert tables.replaced(page, name, f"{begin}{shown}{end}") == page
    with pytest.raises(ValueError, match="must stand once"):
        tables.replaced("a page without it", name, "text")


def test_the_way_to_merge_in_bold_is_that_of_the_product() -> None:
    (way,) = (way for name, way in ways_to_merge.WAYS.items() if name.startswith("**"))
    rule = ArmsRule("effect", by_days=True)
    days = ways_to_merge.effects(0.3, 25, 3) + 0.7
    above, below = way.shows(days)
    found = spells = 0
    for run, differences in enumerate(days):
        for day, merged in enumerate(merge_as_needed(blocks_of(differences), least=7)):
            may = merged.closed >= 7
            lower, upper = rule.bounds_by_days(merged)
            assert (above[run, day], below[run, day]) == (may and lower > 0, may and upper < 0)
            alone = always_valid_of_blocks(merged.sums, alpha=0.05, planned_blocks=14)
            found += above[run, day]
            spells += may and merged.is_independent and alone.lower > 0 >= lower
    assert found > 50
    assert spells > 50
    first = [list(merge_as_needed(blocks_of(one[:7]), least=7))[-1].is_independent for one in days]
    assert way.judged_first(days) == pytest.approx(np.mean(first))


def test_ways_without_spells_err_less_where_days_go_together_and_find_no_less_of_what_is_clear() -> None:
    likely = [name for name in ways_to_merge.LONGER if name.startswith(("**", "the same, 6"))]
    merged, certain, less = (ways_to_merge.WAYS[name] for name in ("merged while r > 0.1", *likely))
    days = ways_to_merge.effects(0.6, 2000, 5)
    wrong = [np.logical_or(*way.shows(days)).any(axis=1).mean() for way in (merged, less, certain)]
    assert wrong[0] > 0.11 > wrong[1] > wrong[2]
    assert wrong[2] <= 0.06
    week = ways_to_merge.effects(0.0, 400, 6)[:, :7] + 12.0
    assert (certain.shows(week)[0] == merged.shows(week)[0]).all()


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.2])
def test_the_e_value_of_correlated_days_errs_in_at_most_alpha(correlation: float) -> None:
    way = ways_to_merge.worst_of([0.0, 0.1, 0.2])
    days = ways_to_merge.effects(correlation, 2000, 9)
    assert np.logical_or(*way.shows(days)).any(axis=1).mean() <= 0.05
    # Without correlation to choose from it is the t-mixture of independent days.
    plain = ways_to_merge.worst_of([0.0]).shows(days + 0.4)
    never = ways_to_merge.WAYS["never merged"].shows(days + 0.4)
    assert (plain[0] == never[0]).mean() > 0.999


def test_the_suspicion_of_the_table_is_the_products_and_its_level_matters() -> None:
    scenario = Scenario(spread=1.0, requests_per_block=430, runs=300, seed=2)
    rule = QualityRule(Decide.UNLESS_WORSE)
    product = Simulation(scenario).power(rule, -0.5).promoted
    by_level = {
        level: suspicions.Suspecting(scenario, level).power(rule, -0.5).promoted
        for level in suspicions.LEVELS
    }
    assert by_level[suspicions.SUSPICION] == product
    assert sorted(by_level.values(), reverse=True) == list(by_level.values())
    assert by_level[0.0] > by_level[0.5]


def test_plain_means_of_a_bandit_are_too_low_and_weighted_ones_are_not() -> None:
    table = bandit_means.bandit_means(150)
    greedy = {name: float(value) for name, value, _ in table.rows}
    assert greedy["plain mean of the arm that was asked less"] < greedy["plain mean, truth 0"] < -0.015
    assert abs(greedy["augmented, as the product does"]) < 0.015
