"""The verdict on interleaved lists."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from capstan.domain.verdicts.analysis import Latch, Verdict
from capstan.domain.verdicts.preference import (
    PreferenceCounts,
    PreferenceDay,
    PreferenceEvidence,
    PreferenceRule,
    judge_preference,
)
from capstan.domain.verdicts.quality import LOOKS_WORSE, Decide
from capstan.domain.verdicts.sample_ratio import log_mismatch
from capstan.errors import InvalidSpecError

START = datetime(2026, 1, 5, tzinfo=UTC)
RULE = PreferenceRule(min_units=50)


def evidence(*counts, **others):
    days = [
        PreferenceDay(START + timedelta(days=day), PreferenceCounts(*one)) for day, one in enumerate(counts)
    ]
    return PreferenceEvidence(tuple(days), **others)


def judged(*counts, rule=RULE, latched=None, **others):
    return judge_preference(evidence(*counts, **others), rule, latched=latched)


def test_the_test_is_the_dirichlet_test_of_the_sample_ratio_on_units_that_did_not_tie():
    for ties in (0, 500):
        found = RULE.log_e(PreferenceCounts(120, 80, ties))
        shares = {"champion": 0.5, "challenger": 0.5}
        assert found == log_mismatch({"champion": 80, "challenger": 120}, shares, strength=RULE.strength)


def test_a_preferred_challenger_is_successful_and_says_that_it_is_a_direction():
    result = judged((120, 60, 200))
    assert (result.verdict, result.reason) == (Verdict.SUCCESSFUL, "ChallengerPreferred")
    assert result.latch == Latch(Verdict.SUCCESSFUL, 380)
    assert result.message == (
        "Better: users prefer the challenger, shown at unit 380; of 380 units the challenger won 120, lost 60 and tied "
        "200: preference +0.0789, 95% bounds [+0.0187, +0.1323] at any look (positive favours the challenger); a "
        "direction alone: how much is gained, an A/B test says"
    )


def test_a_preferred_champion_is_failed_under_either_rule():
    for decide in (Decide.BETTER, Decide.UNLESS_WORSE):
        result = judged((60, 120, 200), rule=PreferenceRule(decide, min_units=50))
        assert (result.verdict, result.reason) == (Verdict.FAILED, "ChampionPreferred")


def test_no_preference_promotes_under_unless_worse_alone():
    assert judged((60, 62, 200)).verdict is Verdict.INCONCLUSIVE
    result = judged((60, 62, 200), rule=PreferenceRule(Decide.UNLESS_WORSE, min_units=50))
    assert (result.verdict, result.reason) == (Verdict.SUCCESSFUL, "ChampionNotPreferred")
    assert "a choice of risk, not a proof" in result.message


@pytest.mark.parametrize(("losses", "waits"), [(72, False), (76, True)])
def test_unless_worse_waits_while_users_seem_to_prefer_the_champion(losses, waits):
    p_value = stats.binomtest(60, 60 + losses, alternative="less").pvalue
    assert (p_value < 0.1) == waits
    result = judged((60, losses, 200), rule=PreferenceRule(Decide.UNLESS_WORSE, min_units=50))
    if waits:
        assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, LOOKS_WORSE)
        assert (
            "seem to prefer the champion, not yet shown (an ordinary sign test at 10% says so)"
            in result.message
        )
    else:
        assert result.reason == "ChampionNotPreferred"


@pytest.mark.parametrize("decide", [Decide.BETTER, Decide.UNLESS_WORSE])
@pytest.mark.parametrize(
    "counts",
    [
        pytest.param((), id="none"),
        pytest.param(((20, 0, 0),), id="few"),
        pytest.param(((0, 0, 0),), id="an empty day"),
    ],
)
def test_too_few_units_are_premature(counts, decide):
    result = judged(*counts, rule=PreferenceRule(decide, min_units=50))
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize("decide", [Decide.BETTER, Decide.UNLESS_WORSE])
def test_clicks_that_name_no_item_never_promote(decide):
    result = judged((0, 0, 5_000), rule=PreferenceRule(decide, min_units=50))
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "NoPreference")


@pytest.mark.parametrize("decide", [Decide.BETTER, Decide.UNLESS_WORSE])
def test_lost_payloads_withhold_a_promotion(decide):
    result = judged((120, 60, 200), rule=PreferenceRule(decide, min_units=50), lost_share=0.02)
    assert (result.verdict, result.reason, result.latch) == (Verdict.INCONCLUSIVE, "EvidenceLost", None)


def test_a_share_or_a_count_that_is_none_is_no_evidence():
    assert judged((120, 60, 200), lost_share=math.nan).reason == "InvalidEvidence"
    assert judged((120, -60, 200)).reason == "InvalidEvidence"


def test_the_first_crossing_stands_whatever_comes_later():
    won = judged((120, 60, 200))
    later = judged((120, 60, 200), (0, 80, 0), latched=won.latch)
    assert (later.verdict, later.latch) == (Verdict.SUCCESSFUL, won.latch)
    # A look that came late sees the same crossing.
    assert judged((120, 60, 200), (0, 80, 0)).latch == won.latch


def test_enough_units_under_unless_worse_are_not_latched():
    rule = PreferenceRule(Decide.UNLESS_WORSE, min_units=50)
    early = judged((120, 60, 200), rule=rule)
    assert (early.verdict, early.latch) == (Verdict.SUCCESSFUL, None)
    assert judged((120, 60, 200), (0, 200, 0), rule=rule).verdict is Verdict.FAILED


@pytest.mark.parametrize("counts", [(120, 60, 200), (101, 99, 0), (30, 0, 40), (0, 30, 40), (260, 200, 3)])
def test_the_bounds_leave_out_no_preference_exactly_when_the_test_rejects(counts):
    units = PreferenceCounts(*counts)
    lower, upper = RULE.bounds(units)
    assert lower <= units.preference <= upper
    assert (lower > 0 or upper < 0) == (RULE.log_e(units) >= math.log(1 / RULE.alpha))


def test_bounds_without_a_unit_are_all_that_a_preference_can_be():
    assert RULE.bounds(PreferenceCounts()) == (-0.5, 0.5)


def test_ties_of_all_units_halve_nothing_but_the_preference():
    alone, diluted = PreferenceCounts(60, 40, 0), PreferenceCounts(60, 40, 100)
    assert diluted.preference == alone.preference / 2
    assert RULE.log_e(alone) == RULE.log_e(diluted)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"alpha": 0.6}, "alpha"),
        ({"min_units": 5}, "minUnits"),
        ({"decide": Decide.NOT_WORSE}, "decide"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(fields, named):
    with pytest.raises(InvalidSpecError, match=named):
        PreferenceRule(**fields)


@pytest.mark.parametrize("ties", [0.0, 0.7])
def test_a_look_after_every_unit_names_a_preference_that_is_none_in_at_most_five_percent(ties):
    rng = np.random.default_rng(5)
    runs, units = 2_000, 2_000
    rule = PreferenceRule(min_units=20)
    # The statistic needs the counts alone, so that all runs are judged at once from a table of what rejects.
    rejects = np.zeros((units + 1, units + 1), dtype=bool)
    for decided in range(1, units + 1):
        wins = next(
            (w for w in range(decided // 2, decided + 1) if _rejects(rule, w, decided - w)), decided + 1
        )
        rejects[decided, wins : decided + 1] = True
        rejects[decided, : max(decided - wins + 1, 0)] = True
    outcome = rng.choice([0, 1, -1], p=[ties, (1 - ties) / 2, (1 - ties) / 2], size=(runs, units))
    decided, won = np.cumsum(outcome != 0, axis=1), np.cumsum(outcome == 1, axis=1)
    late = np.arange(1, units + 1) >= rule.min_units
    share = (rejects[decided, won] & late).any(axis=1).mean()
    assert share <= 0.05
    assert share > 0.005


def _rejects(rule, wins, losses):
    return rule.log_e(PreferenceCounts(wins, losses)) >= -math.log(rule.alpha)
