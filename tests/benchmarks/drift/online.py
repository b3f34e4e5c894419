"""Online detectors beside windows of a week, on rows whose days differ: what each finds, after how many days.

`--write` puts the table into the page of drift; without it it is printed. The same seeds give the same rows.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.experiments.simulated.table import Table, put_between  # noqa: E402

from capstan.monitoring.drift import fitted_detectors  # noqa: E402
from capstan.monitoring.drift.online.lots import CellSums  # noqa: E402
from capstan.monitoring.drift.online.watched_rows import RowsWatch  # noqa: E402
from capstan.monitoring.drift.reference import Reference  # noqa: E402
from capstan.spec import MLSystem, parse  # noqa: E402

PAGE = ROOT / "platform" / "docs" / "drift.md"
BEGIN, END = "<!-- online: begin -->", "<!-- online: end -->"
WORLDS, PER_DAY = 6, 144
TRAINED, QUIET, BEFORE, DRIFTED = 182, 182, 14, 84
"""Days of the training, without drift, before a drift, and in which it may be found."""
SINCE, DAY, WEEK = datetime(2012, 1, 2, tzinfo=UTC), timedelta(days=1), 7
MONTH = 365.25 / 12
WANDER = 0.2
"""Standard deviations of a row by which the means of days differ."""
BUDGET = 0.1
LARGE_ROWS, LARGE_FEATURES = 1_000_000, 20

Day = tuple[NDArray[np.float64], NDArray[np.bool_]]


@dataclass(frozen=True)
class Moved:
    """How a day is not as it was."""

    shift: float = 0.0
    spread: float = 1.0
    some: float = 0.0
    """Share of rows that are moved by `by`."""
    by: float = 0.0
    yes: float = 0.0


DRIFTS: Mapping[str, Callable[[int], Moved]] = {
    "number, sudden: +0.4": lambda _: Moved(0.4),
    "number, sudden: +1": lambda _: Moved(1.0),
    "number, gradual: +0.06 a week": lambda day: Moved(0.06 * (day // WEEK + 1)),
    "number, recurring: +0.5, two weeks of four": lambda day: Moved(0.5 * (day % 28 < 14)),
    "number, spread: x 1.5": lambda _: Moved(spread=1.5),
    "number, one row in five: +1.5": lambda _: Moved(some=0.2, by=1.5),
    "number, one row in 50: +10": lambda _: Moved(some=0.02, by=10.0),
    "yes or no, sudden: from 30 to 45 %": lambda _: Moved(yes=0.15),
    "yes or no, gradual: 2 points a week": lambda day: Moved(yes=0.02 * (day // WEEK + 1)),
}


def day_of(rng: np.random.Generator, moved: Moved) -> Day:
    number = rng.normal(rng.normal(0, WANDER), 1, PER_DAY) * moved.spread + moved.shift
    number += moved.by * (rng.random(PER_DAY) < moved.some)
    share = np.clip(0.3 + moved.yes + rng.normal(0, WANDER / 4), 0.01, 0.99)
    return number, rng.random(PER_DAY) < share


def system_of(online: bool, consecutive: int) -> MLSystem:
    drift: dict[str, object] = {"falseAlarmsPerMonth": BUDGET, "consecutive": consecutive}
    if online:
        drift["online"] = ["CramerVonMises", "FisherExact"]
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "online"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "label", "availableAt": "at"},
                },
                "features": [{"name": "number", "numeric": {}}, {"name": "flag", "categorical": {}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
                "monitoring": {"drift": drift},
            },
        },
        base_dir=Path(),
    )


def table_of_days(days: list[Day]) -> pd.DataFrame:
    times = [SINCE + n * DAY / PER_DAY for n in range(len(days) * PER_DAY)]
    flag = np.concatenate([flag for _, flag in days])
    return pd.DataFrame(
        {
            "at": pd.to_datetime(times),
            "number": np.concatenate([number for number, _ in days]),
            "flag": np.where(flag, "yes", "no"),
        }
    )


class Online:
    """An alert of online detectors, asked after each day."""

    def __init__(self, reference: Reference) -> None:
        assert reference.online is not None
        self._known = reference.online
        self._watch = RowsWatch(self._known, by_alibi=False)

    def alerts(self, days: list[Day]) -> Iterator[bool]:
        cells = np.arange(PER_DAY) * int(DAY / self._known.cell) // PER_DAY
        code = self._known.columns[1].category
        found = self._watch.begin(SINCE)
        for number, (values, flags) in enumerate(days):
            first = (SINCE - datetime(1970, 1, 1, tzinfo=UTC) + number * DAY) // self._known.cell
            sums = CellSums(first, int(DAY / self._known.cell), 2)
            places, there = sums.add(first + cells), np.ones(PER_DAY, dtype=np.bool_)
            sums.add_column(0, places, values, there)
            sums.add_column(1, places, (flags if code == 1 else ~flags).astype(np.float64), there)
            found = self._watch.after(found, sums.lots(), SINCE + (number + 1) * DAY)
            yield found.since is not None


class Windows:
    """DriftDetected by windows of a week."""

    def __init__(self, reference: Reference, consecutive: int) -> None:
        self._features, self._consecutive = reference.features, consecutive
        self._detectors = [fitted_detectors.OwnDetector(one) for one in self._features]

    def alerts(self, days: list[Day]) -> Iterator[bool]:
        run, fires = 0, False
        for number in range(len(days)):
            if (number + 1) % WEEK == 0:
                week = days[number + 1 - WEEK : number + 1]
                flags = np.concatenate([flag for _, flag in week])
                columns = (
                    np.concatenate([values for values, _ in week]),
                    self._features[1].codes(np.where(flags, "yes", "no").tolist()),
                )
                above = any(
                    detector.compare(values).effect > one.distance_threshold(len(values), 0.1)
                    for one, detector, values in zip(self._features, self._detectors, columns, strict=True)
                )
                run = run + 1 if above else 0
                fires = run >= self._consecutive
            yield fires


@dataclass
class Found:
    """What one way did over all worlds."""

    false_alarms: int = 0
    delays: dict[str, list[int]] = field(default_factory=dict)
    """By drift: days until the alert, of the worlds in which there was one."""
    seconds: float = 0.0
    """Of a training's fit."""


NAMES = ("KS and ChiSquared, `consecutive: 2`", "KS and ChiSquared, `consecutive: 1`", "`online`")


def ways(days: list[Day], found: Mapping[str, Found]) -> dict[str, Online | Windows]:
    """Each, fitted on the days; all with the same budget."""
    table, made = table_of_days(days), {}
    for name, online, consecutive in zip(NAMES, (False, False, True), (2, 1, 2), strict=True):
        begun = time.process_time()
        reference = fitted_detectors.fit(table, system_of(online, consecutive))
        found[name].seconds += time.process_time() - begun
        made[name] = Online(reference) if online else Windows(reference, consecutive)
    return made


def one_world(world: int, found: Mapping[str, Found]) -> None:
    rng = np.random.default_rng([1, world])
    made = ways([day_of(rng, Moved()) for _ in range(TRAINED)], found)
    quiet = [day_of(rng, Moved()) for _ in range(QUIET)]
    for name, way in made.items():
        told = list(way.alerts(quiet))
        found[name].false_alarms += sum(
            now and not before for before, now in zip([False, *told], told, strict=False)
        )
    for drift, moved in DRIFTS.items():
        days = [day_of(rng, Moved()) for _ in range(BEFORE)] + [
            day_of(rng, moved(day)) for day in range(DRIFTED)
        ]
        for name, way in made.items():
            told = list(way.alerts(days))
            # An alert that holds already says nothing about the drift.
            if not told[BEFORE - 1] and any(told[BEFORE:]):
                found[name].delays.setdefault(drift, []).append(told[BEFORE:].index(True) + 1)


def speed() -> tuple[float, float]:
    """Rows a second of CPU that are counted into lots, and MiB beside the batch."""
    rng = np.random.default_rng(0)
    batch = 65_536
    columns = [rng.normal(size=batch) for _ in range(LARGE_FEATURES)]
    there, cells = np.ones(batch, dtype=np.bool_), rng.integers(0, 56, batch)
    sums = CellSums(0, 56, LARGE_FEATURES)

    def add() -> None:
        places = sums.add(cells)
        for place, values in enumerate(columns):
            sums.add_column(place, places, values, there)

    add()
    begun = time.process_time()
    for _ in range(LARGE_ROWS // batch):
        add()
    seconds = time.process_time() - begun
    tracemalloc.start()
    add()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return LARGE_ROWS // batch * batch / seconds, peak


def day_cell(delays: list[int], worlds: int) -> str:
    if not delays:
        return "never"
    median = f"{statistics.median(delays):g}"
    return median if len(delays) == worlds else f"{median} ({100 * len(delays) / worlds:.0f} %)"


def table_of(found: Mapping[str, Found], worlds: int) -> Table:
    months = worlds * QUIET / MONTH
    rate, memory = speed()
    rows = [
        ("false alarms a month", *(f"{one.false_alarms / months:.2f}" for one in found.values())),
        *(
            (drift, *(day_cell(one.delays.get(drift, []), worlds) for one in found.values()))
            for drift in DRIFTS
        ),
        ("CPU seconds of a training's fit", *(f"{one.seconds / worlds:.1f}" for one in found.values())),
    ]
    note = (
        f"{worlds} worlds of {PER_DAY} rows a day; the mean of a day differs by {WANDER} standard deviations of a row, "
        f"its share of yes by {100 * WANDER / 4:g} points. {TRAINED} days of training, {QUIET} without drift. The "
        f"budget of windows alone is {BUDGET / 2:g} false alarms a month, that of `online` {BUDGET / 4:g}. Of a drift: "
        "days until the alert (median), and the share of worlds in which there was one within "
        f"{DRIFTED} days if it was not all; an alert that held before the drift is none. "
        f"`online` counts {rate / 1e6:.1f} million rows of {LARGE_FEATURES} numbers a CPU second into lots, in "
        f"{memory:.1f} MiB beside the batch; DuckDB's reading of them comes on top, as for windows."
    )
    return Table("", ("days until the alert", *found), tuple(rows), note)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true", help="put the table into the page")
    arguments.add_argument("--worlds", type=int, default=WORLDS)
    chosen = arguments.parse_args()
    found = {name: Found() for name in NAMES}
    for world in range(chosen.worlds):
        one_world(world, found)
    table = table_of(found, chosen.worlds).markdown()
    if chosen.write:
        PAGE.write_text(put_between(PAGE.read_text(), BEGIN, END, f"{BEGIN}\n\n{table}\n{END}"))
    else:
        print(table)


if __name__ == "__main__":
    main()
