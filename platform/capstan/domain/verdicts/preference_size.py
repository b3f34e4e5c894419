"""How many units an interleaved comparison needs, told before it begins; while it runs, an A/B test's beside them."""

from __future__ import annotations

import math
from functools import lru_cache

from scipy.special import ndtri

from capstan.domain.verdicts.experiments import ExperimentRule
from capstan.domain.verdicts.first_passage import first_passage
from capstan.domain.verdicts.preference import PreferenceEvidence, PreferenceRule
from capstan.domain.verdicts.sample_size import ExperimentDesign, SampleSize, sample_size, tuned

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


def against_ab(evidence: PreferenceEvidence, rule: PreferenceRule) -> str:
    """How many units find as large a preference again, interleaved and by an A/B test of clicks per unit.

    In words; empty while nothing is preferred or `min_units` are not in. Both tests may be looked at all the time.
    """
    counts, clicked = evidence.counts, evidence.clicked
    gain = clicked.challenger - clicked.champion
    if counts.units < rule.min_units or not counts.preference or not gain:
        return ""
    spread = math.sqrt(clicked.squares / counts.units - (clicked.clicks / counts.units) ** 2)
    # Of rare clicks nearly all units tie: the few that do not are what is rounded.
    interleaved = _interleaved(_rough(counts.preference), _rough(counts.decided / counts.units), rule)
    apart = _apart(_rough(gain / counts.units / spread), rule.alpha) if spread else None
    if interleaved is None or apart is None:
        return ""
    return (
        f"to find as much again with a power of 80 %, interleaving takes about {_rough(interleaved):,.0f} units and an "
        f"A/B test of clicks per unit about {_rough(apart):,.0f}"
    )


@lru_cache(maxsize=256)
def _interleaved(preference: float, decided: float, rule: PreferenceRule) -> int | None:
    found = preference_size(preference, 1 - decided, rule)
    return None if found is None else found.units


@lru_cache(maxsize=256)
def _apart(effect: float, alpha: float) -> int | None:
    """`effect` in standard deviations of a unit."""
    design = tuned(ExperimentDesign(effect=effect, variance=1.0, rule=ExperimentRule(alpha=alpha)))
    found = sample_size(design)
    return None if found is None else found.units


def _rough(value: float) -> float:
    """Two digits: more is not known, and every look asks."""
    return float(f"{value:.2g}")
