"""The units that an interleaved comparison is told to need are those of simulations of its own test."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from capstan.domain.verdicts.interleaving import coins, team_draft, team_draft_credit
from capstan.domain.verdicts.preference import (
    ListClicks,
    PreferenceCounts,
    PreferenceDay,
    PreferenceEvidence,
    PreferenceRule,
)
from capstan.domain.verdicts.preference_size import against_ab, preference_size
from capstan.domain.verdicts.sample_size import ExperimentDesign, sample_size, tuned


@pytest.mark.parametrize(("preference", "ties"), [(0.08, 0.2), (-0.06, 0.5)])
def test_the_size_has_the_power_that_was_asked_for(preference: float, ties: float) -> None:
    rule = PreferenceRule()
    size = preference_size(preference, ties, rule)
    assert size is not None
    rng = np.random.default_rng(5)
    win = (1 - ties) / 2 + preference
    found_by_half = found = 0
    runs = 250
    for _ in range(runs):
        drawn = rng.random(size.units)
        wins, losses = np.cumsum(drawn < win), np.cumsum((drawn >= win) & (drawn < 1 - ties))
        first = math.inf
        for units in range(rule.min_units, size.units + 1, 5):
            counts = PreferenceCounts(int(wins[units - 1]), int(losses[units - 1]))
            right = (counts.wins > counts.losses) is (preference > 0)
            if right and rule.log_e(counts) >= -math.log(rule.alpha):
                first = units
                break
        found += first <= size.units
        found_by_half += first <= size.median_units
    assert found / runs == pytest.approx(0.8, abs=0.08)
    assert found_by_half / runs == pytest.approx(0.5, abs=0.1)


def test_no_preference_is_never_found() -> None:
    assert preference_size(0.0, 0.3, PreferenceRule()) is None
    assert preference_size(0.4, 0.5, PreferenceRule()) is None


def test_large_preference_waits_for_the_least_units_alone() -> None:
    size = preference_size(0.45, 0.0, PreferenceRule())
    assert size is not None
    assert (size.units, size.median_units) == (100, 100)


def lists(units: int = 3000, better: float = 0.5) -> tuple[PreferenceEvidence, float]:
    """Users who click by relevance and place, and the units that an A/B test of the true clicks would need."""
    rng = np.random.default_rng(units)
    seen, clicks, counts, true = 1 / np.log2(np.arange(6) + 2), ListClicks(), Counter[int](), []
    for request in range(units):
        relevance = rng.standard_normal(6)
        orders = [
            np.argsort(-(relevance + noise * rng.standard_normal(6))).tolist() for noise in (1.0, better)
        ]
        attraction = 1 / (1 + np.exp(1.5 - 1.5 * relevance))
        true.append([float((attraction[order] * seen).sum()) for order in orders])
        shown = team_draft(*orders, coins("r", str(request)))
        hit = [place for place in range(6) if rng.random() < attraction[shown.items[place]] * seen[place]]
        places = [(place + 1, *(order.index(shown.items[place]) + 1 for order in orders)) for place in hit]
        clicks = clicks.of_unit(places)  # type: ignore[arg-type]
        counts[team_draft_credit(shown.rankers[place] for place in hit).outcome] += 1
    day = PreferenceDay(datetime(2026, 1, 1, tzinfo=UTC), PreferenceCounts(counts[1], counts[-1], counts[0]))
    champion, challenger = np.mean(true, axis=0)
    spread = clicks.squares / units - (clicks.clicks / units) ** 2
    size = sample_size(tuned(ExperimentDesign(effect=challenger - champion, variance=spread)))
    assert size is not None
    return PreferenceEvidence((day,), clicked=clicks), size.units


def test_an_ab_test_of_the_clicks_takes_as_many_units_as_the_lists_of_each_ranker_alone_would() -> None:
    evidence, true = lists()
    told = against_ab(evidence, PreferenceRule())
    found = re.fullmatch(
        r"to find as much again with a power of 80 %, interleaving takes about ([\d,]+) units and "
        r"an A/B test of clicks per unit about ([\d,]+)",
        told,
    )
    assert found, told
    interleaved, apart = (int(one.replace(",", "")) for one in found.groups())
    assert true / 2 < apart < 2 * true
    assert apart > 5 * interleaved


def test_nothing_is_told_of_an_ab_test_before_the_least_units_and_without_clicks_or_a_preference() -> None:
    evidence, _ = lists(300)
    assert against_ab(evidence, PreferenceRule(min_units=300))
    assert not against_ab(evidence, PreferenceRule(min_units=301))
    assert not against_ab(replace(evidence, clicked=ListClicks()), PreferenceRule())
    even = (replace(evidence.days[0], counts=PreferenceCounts(100, 100, 100)),)
    assert not against_ab(replace(evidence, days=even), PreferenceRule())


@pytest.mark.parametrize("units", [999, 9_999, 999_999])
def test_rare_clicks_are_told_of_and_break_nothing(units: int) -> None:
    """Of so many units four have a click: the share that ties is one to all digits that are told."""
    day = PreferenceDay(datetime(2026, 1, 1, tzinfo=UTC), PreferenceCounts(3, 1, units - 4))
    evidence = PreferenceEvidence((day,), clicked=ListClicks(4, 4, 3.0, 4.0))
    told = against_ab(evidence, PreferenceRule())
    assert re.search(
        r"interleaving takes about [1-9][\d,]+ units and an A/B test .* about [1-9][\d,]+", told
    ), told


def test_a_click_counts_by_the_place_that_each_ranker_gave_the_item() -> None:
    found = ListClicks().of_unit([(3, 1, 7)]).of_unit([]).of_unit([(1, 1, 1), (1, 1, 1)])
    assert (found.clicks, found.squares) == (3, 5)
    assert (found.champion, found.challenger) == pytest.approx((2 + 2.0, 2 + 2 / 3))
