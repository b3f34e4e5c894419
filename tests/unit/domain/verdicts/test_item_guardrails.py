"""Whether unwanted events fall on the challenger's items of interleaved lists."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import integrate, stats

from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.confidence import mixture_scale
from capstan.domain.verdicts.item_guardrails import ItemGuardrail, judge_item_guardrail
from capstan.domain.verdicts.preference import PreferenceCounts, PreferenceDay, PreferenceEvidence

START = datetime(2026, 1, 5, tzinfo=UTC)
RULE = ItemGuardrail("return", margin=0.05)


def judged(*counts, rule=RULE, latched=None, **others):
    days = [
        PreferenceDay(START + timedelta(days=day), PreferenceCounts(*one)) for day, one in enumerate(counts)
    ]
    return judge_item_guardrail(PreferenceEvidence(tuple(days), **others), rule, latched=latched)


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2])
@pytest.mark.parametrize(("above", "below"), [(0, 0), (7, 2), (30, 30), (3, 40)])
def test_the_e_value_is_the_mean_likelihood_ratio_of_shares_above_the_bound(margin, above, below):
    rule = ItemGuardrail("return", margin)
    strength = 1 / mixture_scale(rule.planned_units, rule.alpha)
    prior = stats.beta(strength * rule.bound, strength * (1 - rule.bound))

    def ratio(share):
        log = above * math.log(share / rule.bound) + below * math.log((1 - share) / (1 - rule.bound))
        return math.exp(log) * prior.pdf(share) / prior.sf(rule.bound)

    expected, _ = integrate.quad(ratio, rule.bound, 1, epsabs=1e-13)
    assert math.exp(rule.log_e(PreferenceCounts(above, below, 5))) == pytest.approx(expected, rel=1e-6)


def alarms(rule, share, units):
    """Exactly: how likely it alarms within so many units that have more of the events on one side."""
    broken, reached, least = 0.0, np.ones(1), 0
    for number in range(1, units + 1):
        above = np.concatenate([[0.0], reached * share])
        above[:-1] += reached * (1 - share)
        while least <= number and not rule.is_broken(PreferenceCounts(least, number - least)):
            least += 1
        broken += above[least:].sum()
        above[least:] = 0.0
        reached = above
    return broken


@pytest.mark.parametrize("margin", [0.0, 0.05])
@pytest.mark.parametrize("comparisons", [1, 3])
def test_an_alarm_at_the_margin_is_as_rare_as_alpha_with_a_look_after_every_unit(margin, comparisons):
    rule = ItemGuardrail("return", margin, comparisons=comparisons)
    at_the_margin = alarms(rule, rule.bound, 400)
    assert 0.1 * rule.alpha / comparisons < at_the_margin <= rule.alpha / comparisons
    assert alarms(rule, rule.bound - 0.1, 400) < at_the_margin / 5


def test_a_challenger_whose_items_are_returned_twice_as_often_is_found():
    assert alarms(ItemGuardrail("return"), 2 / 3, 200) > 0.95


def test_events_on_the_challengers_items_alarm_for_good_and_say_how_many():
    result = judged((10, 4, 90), (40, 10, 200))
    assert (result.verdict, result.reason) == (Verdict.FAILED, "GuardrailAlarm")
    assert result.message == (
        "guardrail at 0.05: shown at unit 354 to fall on the challenger's items; of 354 units 50 had more return on "
        "the challenger's items and 14 on the champion's (78.1% of these, at most 55.0% may)"
    )
    later = judged((10, 4, 90), (40, 10, 200), (0, 60, 0), latched=result.latch)
    assert (later.verdict, later.latch) == (Verdict.FAILED, result.latch)
    # A look that came late sees the same crossing.
    assert judged((10, 4, 90), (40, 10, 200), (0, 60, 0)).latch == result.latch


def test_events_on_the_champions_items_never_alarm():
    result = judged((14, 50, 290))
    assert (result.verdict, result.reason) == (Verdict.SUCCESSFUL, "GuardrailHolds")


def test_a_guardrail_that_holds_says_what_it_may_have_missed():
    few = judged((3, 2, 195))
    assert few.verdict is Verdict.SUCCESSFUL
    assert "no alarm; of 200 units 3 had more return" in few.message
    could_be = RULE.could_be(PreferenceCounts(3, 2, 195))
    assert f"the true share may be as large as {could_be:.1%}" in few.message
    assert could_be > RULE.could_be(PreferenceCounts(300, 200)) > 0.6
    assert RULE.could_be(PreferenceCounts(0, 0, 500)) == 1.0


def test_a_guardrail_without_any_uneven_unit_does_not_hold():
    result = judged((0, 0, 500))
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)
    assert "no unit has more such events on one side" in result.message


def test_what_could_be_covers_the_truth_as_often_as_it_says():
    rng, rule = np.random.default_rng(5), ItemGuardrail("return")
    wins = rng.binomial(60, 0.6, 400)
    covered = sum(rule.could_be(PreferenceCounts(int(one), 60 - int(one))) >= 0.6 for one in wins)
    assert covered >= 0.95 * 400


def test_an_alarm_does_not_wait_for_the_minimum_of_units_and_a_pass_does():
    assert judged((40, 3, 0)).verdict is Verdict.FAILED
    result = judged((4, 3, 50))
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)


def test_lost_payloads_withhold_alarm_and_pass():
    for counts in ((40, 3, 0), (3, 3, 300)):
        result = judged(counts, lost_share=0.02)
        assert (result.verdict, result.reason, result.latch) == (Verdict.INCONCLUSIVE, "EvidenceLost", None)


def test_what_is_no_count_is_no_evidence():
    assert judged((40, -3, 0)).reason == "InvalidEvidence"
    assert judged((40, 3, 0), lost_share=math.nan).reason == "InvalidEvidence"
