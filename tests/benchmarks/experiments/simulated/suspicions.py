"""What looks worse waits: how often `UnlessWorse` promotes what is worse, by the level of the suspicion."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt

from benchmarks.experiments.simulated.table import Table, percent
from scipy.special import stdtrit

from capstan.domain.verdicts.confidence import SUSPICION
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.evaluation.power import Scenario, Simulation

Advance = Callable[[int], None]

SEED = 0
"""That of `capstan power shadow`, which prints the columns of today's rule."""
WORSE = (0.0, 0.5, 1.0, 2.0, 3.0)
"""In standard deviations of a day."""
LEVELS = (0.0, 0.05, SUSPICION, 0.2, 0.3, 0.5)
"""Of the ordinary test; at 0 nothing waits."""
NAMED = {0.0: "never waits", 0.5: "50 %: the mean must not be worse"}
LATE = (0.0, 0.2, 0.5, 1.0, 1.5, 2.0)


class Suspecting(Simulation):
    """Rollouts that wait for what an ordinary t test at this level calls worse."""

    def __init__(self, scenario: Scenario, level: float) -> None:
        super().__init__(scenario)
        self._level = level

    def suspicion_radius(self, units: int) -> float:
        if self._level == SUSPICION:
            return super().suspicion_radius(units)
        if not self._level or units < 2:
            return inf
        return float(stdtrit(units - 1, 1 - self._level)) / sqrt(units)


def looks_worse(runs: int, advance: Advance = lambda _: None) -> Table:
    """Promotions with and without the suspicion."""
    scenario = Scenario(spread=1.0, requests_per_block=430, runs=5 * runs, seed=SEED)
    before, now = Suspecting(scenario, 0.0), Suspecting(scenario, SUSPICION)
    rows = []
    for worse in WORSE:
        cells = [f"{worse:g}"]
        for least in (7, 14):
            rule = QualityRule(Decide.UNLESS_WORSE, min_blocks=least)
            cells += [percent(one.power(rule, -worse).promoted) for one in (before, now)]
        rows.append(tuple(cells))
        advance(runs)
    return Table(
        "",
        (
            "truly worse, in standard deviations of a day",
            "from 7 days on, before",
            "now",
            "from 14 days on, before",
            "now",
        ),
        tuple(rows),
        f'{5 * runs:,} rollouts of {scenario.blocks} days, margin 0, days independent, seed {SEED}; "before" is '
        "without the wait.",
    )


def suspicion_levels(runs: int, advance: Advance = lambda _: None) -> Table:
    """Promotions by the level of the ordinary test."""
    forty = Scenario(spread=1.0, requests_per_block=430, runs=2 * runs, seed=SEED)
    sixty = Scenario(spread=1.0, requests_per_block=430, runs=2 * runs, seed=SEED, blocks=60)
    soon = Scenario(spread=1.0, requests_per_block=430, runs=2 * runs, seed=SEED, blocks=14)
    rule, rows = QualityRule(Decide.UNLESS_WORSE), []
    for level in LEVELS:
        by_the_end, late = Suspecting(forty, level), Suspecting(sixty, level)
        passed = [by_the_end.power(rule, -worse).promoted for worse in WORSE[:4]]
        mark = "**" if level == SUSPICION else ""
        cells = [
            NAMED.get(level, f"{100 * level:g} %"),
            percent(Suspecting(soon, level).power(rule, 0.0).promoted),
            *map(percent, passed),
            percent(max(late.power(rule, -worse).undecided for worse in LATE)),
        ]
        rows.append(tuple(f"{mark}{cell}{mark}" for cell in cells))
        advance(runs)
    return Table(
        "",
        (
            "level of the test",
            "equal: passed by day 14",
            "by day 40",
            "worse by 0.5 sd",
            "worse by 1 sd",
            "worse by 2 sd",
            "most that are undecided after 60 days",
        ),
        tuple(rows),
        f"{2 * runs:,} rollouts of each, margin 0, days independent, first look on the 7th, seed {SEED}. The last "
        f"column is the largest over true differences of {', '.join(f'{one:g}' for one in LATE)} deviations.",
    )
