"""The units that an interleaved comparison is told to need are those of simulations of its own test."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capstan.domain.verdicts.preference import PreferenceCounts, PreferenceRule
from capstan.domain.verdicts.preference_size import preference_size


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
