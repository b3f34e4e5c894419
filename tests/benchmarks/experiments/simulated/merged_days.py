"""Days of a rollout that hang together: what merging them does to wrong verdicts, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.experiments.simulated.table import Table, percent

from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.evaluation.power import Power, Scenario, Simulation

Advance = Callable[[int], None]

SEED = 801
CORRELATIONS = (0.0, 0.1, 0.3, 0.6)
DAYS, SPREAD, MARGIN, GAIN = 40, 0.059, 0.01, 0.8
"""The gain is in standard deviations of a day."""


def merged_days(runs: int, advance: Advance = lambda _: None) -> Table:
    """Wrong verdicts and the delay of right ones, of single days and of merged ones."""
    rows = []
    for place, correlation in enumerate(CORRELATIONS):
        scenario = Scenario(
            spread=SPREAD, blocks=DAYS, runs=3 * runs, seed=SEED + place, autocorrelation=correlation
        )
        single, merged = (Simulation(scenario, merges=merges) for merges in (False, True))
        cells = [f"{correlation:g}"]
        for rule, difference, wrong in (
            (QualityRule(Decide.BETTER), 0.0, _either),
            (QualityRule(Decide.NOT_WORSE, margin=MARGIN), -MARGIN, _promoted),
            (QualityRule(Decide.NOT_WORSE, margin=MARGIN), -MARGIN, _rejected),
            (QualityRule(Decide.NOT_WORSE), GAIN * SPREAD, _days),
        ):
            cells += [wrong(one.power(rule, difference)) for one in (single, merged)]
        rows.append(tuple(cells))
        advance(runs)
    return Table(
        "",
        (
            "autocorrelation",
            "`Better`, single days",
            "merged",
            "`NotWorse` promotes, single days",
            "merged",
            "rejects, single days",
            "merged",
            f"median days to find a gain of {GAIN:g} sd, single",
            "merged",
        ),
        tuple(rows),
        f"{3 * runs:,} rollouts of {DAYS} days each, looked at after every day, alpha 0.05; effects of days are AR(1); "
        f"seeds {SEED} and following. `Better` calls equal models better or worse; `NotWorse` promotes or rejects a "
        f"challenger that sits exactly at its margin. A median counts all rollouts.",
    )


def _either(row: Power) -> str:
    return percent(row.promoted + row.rejected)


def _promoted(row: Power) -> str:
    return percent(row.promoted)


def _rejected(row: Power) -> str:
    return percent(row.rejected)


def _days(row: Power) -> str:
    return "-" if row.median_blocks is None else str(row.median_blocks)
