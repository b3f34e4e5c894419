"""Detectors of concept drift beside the alert by single windows, on labels that come otherwise in a known way.

`--write` puts the table into the page of drift; without it it is printed. The same seeds give the same rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.drift.injected import delay_cell  # noqa: E402
from benchmarks.experiments.simulated.table import Table, put_between  # noqa: E402

from capstan.monitoring.concept.calibrating import fit_losses  # noqa: E402
from capstan.monitoring.concept.detectors import ConceptKind  # noqa: E402
from capstan.monitoring.concept.losses import losses_in_order  # noqa: E402
from capstan.monitoring.concept.watched_losses import LossReference, watch_losses  # noqa: E402
from capstan.monitoring.drift.calibration import false_breach_probability  # noqa: E402
from capstan.monitoring.quality import QualityReference, judge_drop, measure  # noqa: E402
from capstan.monitoring.windows import Concept, WindowOutcome  # noqa: E402
from capstan.tasks import TASKS, Predictions  # noqa: E402

PAGE = ROOT / "platform" / "docs" / "drift.md"
BEGIN, END = "<!-- losses: begin -->", "<!-- losses: end -->"
WORLDS, PER_DAY = 4, 143
TEST_DAYS, QUIET, BEFORE, DRIFTED = 14, 26, 4, 12
"""Days of the test window; weeks without drift, before a drift, and in which it may be found."""
BUDGET = 0.025
"""False alarms a month of each: a quarter of the usual `falseAlarmsPerMonth`."""
MOST_DROP = 0.05
WEEK = timedelta(days=7)
MONTH_OF_WEEKS = 365.25 / 12 / 7
METRICS = TASKS["BinaryClassification"].metrics
KINDS: tuple[ConceptKind, ...] = get_args(ConceptKind)
SINGLE = "QualityDropped"


@dataclass(frozen=True)
class Labels:
    """How labels come true; the model believes in those of the training."""

    holds: float = 1.0
    """How much of the relation between input and label is left."""
    base: float = 0.0
    """By how much the logit of all rows rose."""
    share: float = 1.0
    """Rows of which this is so."""
    inputs: float = 0.0
    """By how much the input moved; the model knows what that means."""


DRIFTS: Mapping[str, Callable[[int], Labels]] = {
    "sudden: a third of the relation is lost": lambda _: Labels(0.67),
    "sudden: all of it is": lambda _: Labels(0.0),
    "gradual: a tenth more each week": lambda week: Labels(max(0.0, 1 - 0.1 * (week + 1))),
    "recurring: all of it, two weeks of four": lambda week: Labels(0.0 if week % 4 < 2 else 1.0),
    "one segment: all of it in a fifth of the rows": lambda _: Labels(0.0, share=0.2),
    "labels alone: from 27 to 35 % true": lambda _: Labels(base=0.5),
    "inputs alone: the relation holds": lambda _: Labels(inputs=1.0),
}


def days_of(rng: np.random.Generator, days: int, labels: Labels) -> tuple[NDArray[np.bool_], Predictions]:
    """What came and what the model said; no two days are quite as hard."""
    rows = days * PER_DAY
    place = rng.normal(labels.inputs, 1.2, rows)
    believed = place - 1.3
    touched = rng.random(rows) < labels.share
    true = np.where(touched, labels.holds * place - 1.3 + labels.base, believed)
    true += np.repeat(rng.normal(0, 0.15, days), PER_DAY)
    return rng.random(rows) < 1 / (1 + np.exp(-true)), Predictions(
        {"probability": 1 / (1 + np.exp(-believed))}
    )


@dataclass
class Found:
    false_alarms: int = 0
    delays: dict[str, list[int]] = field(default_factory=dict)


def losses_of(kind: ConceptKind, truth: NDArray[np.bool_], said: Predictions) -> NDArray[np.float64]:
    metric = METRICS["brierScore" if kind == "DDM" else "logLoss"]
    return losses_in_order(metric, truth, said, None, np.arange(len(truth)))[0]


def breaches(
    world: int,
    references: Mapping[ConceptKind, LossReference],
    test: QualityReference,
    labels: Iterator[Labels],
) -> Iterator[dict[str, bool]]:
    """Of each week, who alarms."""
    rng = np.random.default_rng(world)
    before: dict[str, Concept | None] = dict.fromkeys(references)
    allowed = min(0.05, false_breach_probability(BUDGET, WEEK, 1, 1))
    for number, one in enumerate(labels):
        truth, said = days_of(rng, 7, one)
        moments = (number * 7 * PER_DAY + np.arange(len(truth))).astype(np.int64)
        found = {}
        for kind, reference in references.items():
            told = watch_losses(reference, before[kind], losses_of(kind, truth, said), moments)
            before[kind] = told
            found[kind] = told.outcome is WindowOutcome.BREACH
        quality = measure(METRICS["logLoss"], truth, said, np.repeat(np.arange(7), PER_DAY))
        drop = judge_drop(
            METRICS["logLoss"].facts, quality, test, max_drop=MOST_DROP, error_probability=allowed
        )
        yield {SINGLE: drop is not None and drop.is_breach, **found}


def run(worlds: int) -> tuple[dict[str, Found], dict[str, float]]:
    """What each found, and CPU seconds of a calibration."""
    found = {name: Found() for name in (SINGLE, *KINDS)}
    seconds: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for world in range(worlds):
        truth, said = days_of(np.random.default_rng([1, world]), TEST_DAYS, Labels())
        days = np.repeat(np.arange(TEST_DAYS), PER_DAY)
        references: dict[ConceptKind, LossReference] = {}
        for kind in KINDS:
            begun = time.process_time()
            references[kind] = fit_losses(
                kind,
                "loss",
                losses_of(kind, truth, said),
                days,
                window=WEEK,
                alarms_per_month=BUDGET,
                rng=np.random.default_rng(0),
            )
            seconds[kind] += (time.process_time() - begun) / worlds
        quality = measure(METRICS["logLoss"], truth, said, days)
        assert quality.value is not None
        test = QualityReference(quality.value, quality.standard_error or 0.0)
        quiet = (Labels() for _ in range(QUIET))
        last: dict[str, bool] = {}
        for week in breaches(world, references, test, quiet):
            for name, is_so in week.items():
                found[name].false_alarms += is_so and not last.get(name, False)
            last = week
        for number, (drift, labels) in enumerate(DRIFTS.items()):
            weeks = [Labels()] * BEFORE + [labels(week) for week in range(DRIFTED)]
            told = list(breaches(1000 + 100 * world + number, references, test, iter(weeks)))
            for name, one in found.items():
                at = next((week + 1 for week, who in enumerate(told[BEFORE:]) if who[name]), None)
                # An alert that holds already says nothing about the drift.
                if at is not None and not told[BEFORE - 1][name]:
                    one.delays.setdefault(drift, []).append(at)
    return found, seconds


def table_of(found: Mapping[str, Found], seconds: Mapping[str, float], worlds: int) -> Table:
    months = worlds * QUIET / MONTH_OF_WEEKS
    rows = [
        ("false alarms a month", *(f"{one.false_alarms / months:.2f}" for one in found.values())),
        *(
            (drift, *(delay_cell(one.delays.get(drift, []), worlds) for one in found.values()))
            for drift in DRIFTS
        ),
        ("CPU seconds of a calibration", "-", *(f"{seconds[kind]:.1f}" for kind in KINDS)),
    ]
    note = (
        f"{worlds} worlds of {7 * PER_DAY:,} labelled rows a week, a test window of {TEST_DAYS} days, {QUIET} weeks "
        f"without drift; the budget of each is {BUDGET} false alarms a month. QualityDropped is by log loss and "
        f"`maxDrop: {MOST_DROP}`. Of a drift: weeks until the alert (median), and the share of worlds in which there "
        f"was one within {DRIFTED} weeks if it was not all."
    )
    return Table("", ("drift", *found), tuple(rows), note)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true", help="put the table into the page")
    arguments.add_argument("--worlds", type=int, default=WORLDS)
    chosen = arguments.parse_args()
    found, seconds = run(chosen.worlds)
    table = table_of(found, seconds, chosen.worlds).markdown()
    if chosen.write:
        PAGE.write_text(put_between(PAGE.read_text(), BEGIN, END, f"{BEGIN}\n\n{table}\n{END}"))
    else:
        print(table)


if __name__ == "__main__":
    main()
