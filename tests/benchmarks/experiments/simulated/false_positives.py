"""How often equal arms are called different: A/A experiments, looked at again and again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from benchmarks.experiments.simulated.looks import (
    always_valid_decides,
    arms,
    proportions_decide,
    welch_decides,
)
from benchmarks.experiments.simulated.outcomes import CAP, SCENARIOS, Scenario
from benchmarks.experiments.simulated.table import Table, percent

from capstan.domain.verdicts.experiments import ExperimentRule

SEED = 101
UNITS, UNITS_PER_DAY, EVERY = 20_000, 1000, 10
_CHUNK = 50
"""Runs at once: a million units, which fit into the processor's caches and any memory."""

Advance = Callable[[int], None]


def false_positives(runs: int, advance: Advance = lambda _: None) -> Table:
    """Every scenario by the product's test, at every unit too, and by naive practice, at ten units and at every day."""
    rows = []
    for place, scenario in enumerate(SCENARIOS):
        rates = alarm_rates(scenario, runs, seed=SEED + place, advance=advance)
        rows.append((scenario.name, *map(percent, rates)))
    rule = ExperimentRule()
    return Table(
        "Equal arms that are called different",
        (
            "outcome",
            "AlwaysValid, every unit",
            f"AlwaysValid, every {EVERY} units",
            "AlwaysValid, every day",
            f"naive, every {EVERY} units",
            "naive, every day",
            "one look at the end",
        ),
        tuple(rows),
        f"{runs:,} experiments of {UNITS:,} units, {UNITS_PER_DAY:,} a day, alpha {rule.alpha:g}, planned for "
        f"{rule.planned_units:,} units; looks from unit {rule.least_units} on; seeds {SEED} and following. Naive is "
        "Welch's test (of shares the pooled z-test) whose p-value is looked at again and again; the last column is the "
        "same test at the end alone. 5 % of units bring revenue, log-normal with sigma 1.5 (skewness about 150); the "
        f"cap of {CAP:g} is its 99.9 % quantile. With 2,000 runs a rate of 5 % is known to about one point.",
    )


def alarm_rates(
    scenario: Scenario, runs: int, *, seed: int, advance: Advance = lambda _: None
) -> list[float]:
    """Share of runs with an alarm: always valid at every unit, at ten and by day, naive at ten and by day, one look."""
    rng = np.random.default_rng(seed)
    rule = ExperimentRule()
    every = np.arange(rule.least_units, UNITS + 1)
    looks = np.arange(rule.least_units, UNITS + 1, EVERY)
    days = looks % UNITS_PER_DAY == 0
    alarms = np.zeros(6)
    for begin in range(0, runs, _CHUNK):
        shape = (min(_CHUNK, runs - begin), UNITS)
        treated = rng.random(shape) < scenario.treated / 100
        values = scenario.draw(rng, shape)
        always = always_valid_decides(
            *arms(values, treated, every), every, alpha=rule.alpha, planned_units=rule.planned_units
        )
        control, treatment = arms(values, treated, looks)
        valid = always_valid_decides(
            control, treatment, looks, alpha=rule.alpha, planned_units=rule.planned_units
        )
        test = proportions_decide if scenario.is_share else welch_decides
        naive = test(control, treatment, alpha=rule.alpha)
        ways = (always, valid, valid[:, days], naive, naive[:, days], naive[:, -1:])
        for place, found in enumerate(ways):
            alarms[place] += found.any(axis=1).sum()
        advance(shape[0])
    return [float(one) for one in alarms / runs]
