"""How many units an interleaved comparison needs, told before it begins."""

from __future__ import annotations

import math

from scipy.special import ndtri

from capstan.domain.verdicts.first_passage import first_passage
from capstan.domain.verdicts.preference import PreferenceRule
from capstan.domain.verdicts.sample_size import SampleSize

_PASSAGES = (4.0, 16.0, 64.0)
"""Times the units of one look until which the test is followed."""


def preference_size(
    preference: float, ties: float, rule: PreferenceRule, *, power: float = 0.8
) -> SampleSize | None:
    """Units until a preference is found with this power at any look; None: no number of units finds it.

    `preference` is (wins + ties / 2) / units - 1/2, and `ties` the share of units that preferred neither. A unit that
    did not tie is a coin, whose sum passes the bound of a mixture as wide as the t-mixture's (`PreferenceRule`).
    `pair_units` counts the units that did not tie. Within 5 points of simulated power.
    """
    drift = 2 * abs(preference) / (1 - ties)
    if not 0 < drift <= 1:
        return None
    one_look = ((float(ndtri(1 - rule.alpha / 2)) + float(ndtri(power))) / drift) ** 2
    least = rule.min_units * (1 - ties)
    for times in _PASSAGES:
        passage = first_passage(
            drift,
            first=max(least, 2.0),
            last=max(one_look * times, 2 * least),
            planned_units=rule.planned_units,
            alpha=rule.alpha,
        )
        found, half = passage.reaches(power), passage.reaches(0.5)
        if found is not None and half is not None:
            units, median = (math.ceil(one / (1 - ties)) for one in (found, half))
            return SampleSize(units=units, pair_units=math.ceil(found), median_units=median)
    return None
