"""The detectors on worlds whose drift is known: what each finds, how late, and how often it alarms without drift.

`--write` puts the table into the page of drift; without it it is printed. The same seeds give the same shares.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from scipy.stats import kstwobign

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.experiments.simulated.table import Table, put_between  # noqa: E402

from capstan.monitoring.drift import fitted_detectors  # noqa: E402
from capstan.monitoring.drift.kinds import DETECTORS  # noqa: E402
from capstan.monitoring.drift.reference import FeatureReference  # noqa: E402
from capstan.recording.payloads import Kind  # noqa: E402
from capstan.spec import parse  # noqa: E402

PAGE = ROOT / "platform" / "docs" / "drift.md"
BEGIN, END = "<!-- injected: begin -->", "<!-- injected: end -->"
WORLDS = 30
PER_WEEK = 1000
TRAINED, QUIET, DRIFTED = 26, 52, 12
"""Weeks of reference, of a year without drift, and in which a drift may be found."""
SINCE = datetime(2026, 1, 5, tzinfo=UTC)
SHARES = np.array([0.35, 0.25, 0.18, 0.12, 0.08, 0.02, 0.0])
"""Of the categories; training never saw the last one."""

MANY = (1, 10, 30, 100)
"""Features beside each other."""
MANY_WORLDS = 6
LOW_EFFECT = 0.01
"""A `minEffect` that hides nothing, so that the calibrated thresholds alone decide."""
MONTHS = QUIET * 7 / (365.25 / 12)

Week = Callable[[np.random.Generator, int, int], NDArray[Any]]
"""Values of one week: the randomness, the rows, and the number of the week since the drift began; -1: there is none."""


def _wandering(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """No two weeks have quite the same mean."""
    return rng.normal(rng.normal(0, 0.1), 1, rows)


def _some(
    rng: np.random.Generator, values: NDArray[np.float64], share: float, by: float
) -> NDArray[np.float64]:
    return values + by * (rng.random(len(values)) < share)


def _drawn(rng: np.random.Generator, rows: int, moved: float, to: int) -> NDArray[np.int64]:
    """Codes, with that share of rows moved from the first category to another."""
    wandered = SHARES * np.exp(rng.normal(0, 0.1, len(SHARES)))
    shares = wandered / wandered.sum()
    shares[0] -= moved
    shares[to] += moved
    return rng.choice(len(SHARES), rows, p=shares)


def _on(week: int) -> bool:
    """Two weeks there, two weeks gone."""
    return week >= 0 and week % 4 < 2


NUMBERS: Mapping[str, Week] = {
    "none": lambda rng, rows, _: _wandering(rng, rows),
    "sudden: +0.4": lambda rng, rows, _: _wandering(rng, rows) + 0.4,
    "gradual: +0.06 a week": lambda rng, rows, week: _wandering(rng, rows) + 0.06 * (week + 1),
    "recurring: +0.5, two weeks of four": lambda rng, rows, week: _wandering(rng, rows) + 0.5 * _on(week),
    "spread: x 1.5": lambda rng, rows, _: 1.5 * _wandering(rng, rows),
    "one row in five: +1.5": lambda rng, rows, _: _some(rng, _wandering(rng, rows), 0.2, 1.5),
    "one row in 50: +10": lambda rng, rows, _: _some(rng, _wandering(rng, rows), 0.02, 10),
}
CATEGORIES: Mapping[str, Week] = {
    "none": lambda rng, rows, _: _drawn(rng, rows, 0, 4),
    "sudden: 15 points": lambda rng, rows, _: _drawn(rng, rows, 0.15, 4),
    "gradual: 2 points a week": lambda rng, rows, week: _drawn(rng, rows, 0.02 * (week + 1), 4),
    "recurring: 20 points, two weeks of four": lambda rng, rows, week: _drawn(rng, rows, 0.2 * _on(week), 4),
    "a rare one: from 2 to 10 points": lambda rng, rows, _: _drawn(rng, rows, 0.08, 5),
    "a new one: 5 points": lambda rng, rows, _: _drawn(rng, rows, 0.05, 6),
}
WEEKS: Mapping[Kind, Mapping[str, Week]] = {"numeric": NUMBERS, "categorical": CATEGORIES}


@dataclass
class Found:
    """What one detector did over all worlds."""

    false_alarms: int = 0
    delays: dict[str, list[int]] = field(default_factory=dict)
    """By drift: weeks until the alert, of the worlds in which there was one."""


def reference_of(reads: Kind, name: str, rng: np.random.Generator) -> FeatureReference:
    """The reference that training leaves, from 26 weeks without drift."""
    still = WEEKS[reads]["none"]
    values = np.concatenate([still(rng, PER_WEEK, -1) for _ in range(TRAINED)])
    column = values if reads == "numeric" else [f"c{code}" for code in values]
    [feature] = references_of({"x": column}, reads, name)
    return feature


def references_of(columns: Mapping[str, Any], reads: Kind, name: str) -> tuple[FeatureReference, ...]:
    """Those of several columns of one kind, of `TRAINED` weeks."""
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "injected"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "label"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "label", "availableAt": "at"},
            },
            "features": [{"name": one, reads: {}} for one in columns],
            "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            "monitoring": {"drift": {reads: name}},
        },
    }
    step = timedelta(days=7) / PER_WEEK
    times = [SINCE + step * number for number in range(TRAINED * PER_WEEK)]
    table = pd.DataFrame({"at": pd.to_datetime(times), **columns})
    return fitted_detectors.fit(table, parse(document, base_dir=Path())).features


def alerts(feature: FeatureReference, week: Week, weeks: int, rng: np.random.Generator) -> list[int]:
    """Numbers of the weeks in which the alert begins: the second in a row above the threshold."""
    detector = fitted_detectors.OwnDetector(feature)
    above = []
    for number in range(weeks):
        values = week(rng, PER_WEEK, number)
        if feature.kind == "categorical":
            values = feature.codes([f"c{code}" for code in values])
        effect = detector.compare(values).effect
        above.append(effect > feature.distance_threshold(PER_WEEK, 0.1))
    return _begun(above)


def judged(reads: Kind, name: str, worlds: int, tell: Callable[[], object]) -> Found:
    """One detector in all worlds."""
    found = Found(delays={drift: [] for drift in WEEKS[reads] if drift != "none"})
    for seed in range(worlds):
        rng = np.random.default_rng([seed, len(reads)])
        feature = reference_of(reads, name, rng)
        found.false_alarms += len(alerts(feature, WEEKS[reads]["none"], QUIET, rng))
        for drift, delays in found.delays.items():
            begun = alerts(feature, WEEKS[reads][drift], DRIFTED, rng)
            delays += begun[:1]
        tell()
    return found


def table_of(reads: Kind, found: Mapping[str, Found], worlds: int) -> Table:
    """One row for each drift, one column for each detector."""
    drifts = [drift for drift in WEEKS[reads] if drift != "none"]
    rows = (
        ("alerts in a year without drift", *(f"{one.false_alarms / worlds:.2f}" for one in found.values())),
        *((drift, *(delay_cell(one.delays[drift], worlds) for one in found.values())) for drift in drifts),
    )
    return Table(
        "Numbers" if reads == "numeric" else "Categories",
        ("drift", *found),
        rows,
        f"{worlds} worlds of {PER_WEEK:,} rows a week; {TRAINED} weeks of reference. Of a drift: weeks until the alert "
        f"(median), and the share of worlds in which there was one within {DRIFTED} weeks if it was not all. Two is "
        "the least, since two windows in a row must be above the threshold.",
    )


def delay_cell(delays: list[int], worlds: int) -> str:
    """The median of the weeks until an alert, and the share of worlds in which there was one if it was not all."""
    if not delays:
        return "never"
    median = f"{statistics.median(delays):g}"
    return median if len(delays) == worlds else f"{median} ({100 * len(delays) / worlds:.0f} %)"


@dataclass
class Many:
    """What KS did beside so many features of numbers, over all worlds."""

    false_alarms: int = 0
    """With the `minEffect` that a file has by default."""
    calibrated_false_alarms: int = 0
    """With thresholds alone."""
    weeks: int = 0
    """Without drift, over all worlds."""
    above: int = 0
    """Of them, those with a feature above its threshold."""
    bonferroni: int = 0
    """Those that p-values call drift at 5 %, corrected by Bonferroni."""
    hochberg: int = 0
    """The same by Benjamini-Hochberg."""
    delays: list[int] = field(default_factory=list)
    """Weeks until the alert after one of them moved by 0.4."""


def many(features: int, worlds: int, tell: Callable[[], object]) -> Many:
    """KS on that many features that wander by themselves; an alert is two weeks in a row with any above."""
    found = Many()
    for seed in range(worlds):
        rng = np.random.default_rng([seed, features])
        trained = {
            f"x{n}": np.concatenate([_wandering(rng, PER_WEEK) for _ in range(TRAINED)])
            for n in range(features)
        }
        references = references_of(trained, "numeric", "KS")
        ordered = [np.sort(one.sample) for one in references]
        by_effect: dict[float, list[bool]] = {0.1: [], LOW_EFFECT: []}
        moved: list[bool] = []
        for week in range(QUIET + DRIFTED):
            values = [_wandering(rng, PER_WEEK) for _ in range(features)]
            if week >= QUIET:
                values[0] = values[0] + 0.4
            effects = [_ks(*pair) for pair in zip(ordered, values, strict=True)]
            for least, above in by_effect.items():
                breach = any(
                    effect > one.distance_threshold(PER_WEEK, least)
                    for effect, one in zip(effects, references, strict=True)
                )
                if week < QUIET:
                    above.append(breach)
                elif least == 0.1:
                    moved.append(breach)
            if week < QUIET:
                values_of = np.sort([_p_value(effect, TRAINED * PER_WEEK) for effect in effects])
                found.bonferroni += bool(values_of[0] <= 0.05 / features)
                found.hochberg += bool((values_of <= 0.05 * np.arange(1, features + 1) / features).any())
            tell()
        found.weeks += QUIET
        found.above += sum(by_effect[0.1])
        found.false_alarms += len(_begun(by_effect[0.1]))
        found.calibrated_false_alarms += len(_begun(by_effect[LOW_EFFECT]))
        found.delays += _begun(moved)[:1]
    return found


def _ks(ordered: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Of a sorted sample, which is much sooner than sorting it for every week."""
    window = np.sort(values)
    ranks = np.arange(len(window) + 1) / len(window)
    below, until = (np.searchsorted(ordered, window, side=side) / len(ordered) for side in ("left", "right"))
    return float(max(np.max(ranks[1:] - below), np.max(until - ranks[:-1])))


def _p_value(effect: float, reference: int) -> float:
    return float(kstwobign.sf(effect * math.sqrt(PER_WEEK * reference / (PER_WEEK + reference))))


def _begun(above: list[bool]) -> list[int]:
    begun, row = [], 0
    for number, breach in enumerate(above, 1):
        row = row + 1 if breach else 0
        if row == 2:
            begun.append(number)
    return begun


def table_of_many(found: Mapping[int, Many], worlds: int) -> Table:
    months = worlds * MONTHS
    return Table(
        "Many features beside each other",
        ("", *(f"{features} feature{'s' * (features > 1)}" for features in found)),
        (
            ("alerts a month without drift", *(f"{one.false_alarms / months:.2f}" for one in found.values())),
            (
                f"the same with minEffect: {LOW_EFFECT}",
                *(f"{one.calibrated_false_alarms / months:.2f}" for one in found.values()),
            ),
            *(
                (title, *(f"{100 * count(one) / one.weeks:.0f} %" for one in found.values()))
                for title, count in (
                    ("weeks without drift with a feature above its threshold", lambda one: one.above),
                    ("the same by p-values, 5 % by Bonferroni", lambda one: one.bonferroni),
                    ("the same by p-values, 5 % by Benjamini-Hochberg", lambda one: one.hochberg),
                )
            ),
            ("one of them: +0.4", *(delay_cell(one.delays, worlds) for one in found.values())),
        ),
        f"{worlds} worlds of {PER_WEEK:,} rows a week, each feature KS with a mean that wanders by itself; {TRAINED} "
        f"weeks of reference, {QUIET} without drift. The budget of inputs is 0.05 alerts a month. Of the drift: as "
        "above.",
    )


def _made(worlds: int) -> Iterator[Table]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:16}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for reads in WEEKS:
            found = {}
            for name in DETECTORS[reads]:
                task = progress.add_task(name, total=worlds)
                found[name] = judged(reads, name, worlds, lambda task=task: progress.advance(task))
            yield table_of(reads, found, worlds)
        beside = {}
        worlds = min(worlds, MANY_WORLDS)
        for features in MANY:
            task = progress.add_task(f"{features} features", total=worlds * (QUIET + DRIFTED))
            beside[features] = many(features, worlds, lambda task=task: progress.advance(task))
        yield table_of_many(beside, worlds)


def main() -> int:
    """The tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=WORLDS, help="Worlds of each detector.")
    parser.add_argument("--write", action="store_true", help="Put the tables into the page of drift.")
    options = parser.parse_args()
    if options.worlds < 1:
        parser.error(f"--worlds: {options.worlds} must be at least 1")
    text = "\n".join(table.markdown() for table in _made(options.worlds))
    if not options.write:
        print(text)
        return 0
    PAGE.write_text(put_between(PAGE.read_text(), BEGIN, END, f"{BEGIN}\n\n{text}\n{END}"))
    print(f"written to {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
