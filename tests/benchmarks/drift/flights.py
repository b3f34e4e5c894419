"""The detectors on real flights with drifts put in, and on the year as it was: delay, false alarms, speed, memory.

`--write` puts the table into the page of drift; without it it is printed. The same seeds give the same weeks.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import tracemalloc
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.drift.injected import delay_cell  # noqa: E402
from benchmarks.drift.online import speed as speed_of_lots  # noqa: E402
from benchmarks.experiments.simulated.table import Table, put_between  # noqa: E402

from capstan.monitoring.drift import fitted_detectors  # noqa: E402
from capstan.monitoring.drift.joint_rows import Encoding, Place  # noqa: E402
from capstan.monitoring.drift.kinds import DETECTORS  # noqa: E402
from capstan.monitoring.drift.kinds.detector import Stream  # noqa: E402
from capstan.monitoring.drift.online.lots import CellSums  # noqa: E402
from capstan.monitoring.drift.online.watched_rows import RowsWatch, cell_at  # noqa: E402
from capstan.monitoring.drift.reference import Reference  # noqa: E402
from capstan.monitoring.drift.slices import SlicedWindow  # noqa: E402
from capstan.spec import MLSystem, parse  # noqa: E402

PAGE = ROOT / "platform" / "docs" / "drift.md"
BEGIN, END = "<!-- flights: begin -->", "<!-- flights: end -->"
DATA = ROOT / "examples" / "flight-delays" / "data"
PER_WEEK = 1000
"""Rows of a week, drawn evenly; a real one has 6,400."""
TRAINED, QUIET = 26, 8
"""Weeks of reference, and of live weeks before the drift begins."""
SINCE = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
MIN_EFFECT = 0.1
WEEKS_A_MONTH = 365.25 / 12 / 7
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure", "visib")
NUMBERS = ("distance", "day_of_week", "sched_dep_minute", "sched_arr_minute", "block_minutes", *WEATHER)
CATEGORIES = ("carrier", "origin", "dest")

Week = dict[str, NDArray[Any]]
Drift = Callable[[Week, int], Week]
"""A week with the drift in it; the number of the week since the drift began."""


def _moved(week: Week, name: str, by: float, where: NDArray[np.bool_] | None = None) -> Week:
    moved = week[name] + by
    return {**week, name: moved if where is None else np.where(where, moved, week[name])}


def _later(week: Week, minutes: float, where: NDArray[np.bool_] | None = None) -> Week:
    return _moved(_moved(week, "sched_dep_minute", minutes, where), "sched_arr_minute", minutes, where)


def _warmer(week: Week, degrees: float) -> Week:
    """Fahrenheit, as the file has them."""
    return _moved(week, "temp", degrees)


def _parted(week: Week, _: int) -> Week:
    """Each feature alone is as it was: distances go to other destinations and durations."""
    return {**week, "distance": np.roll(week["distance"], PER_WEEK // 2)}


DRIFTS: Mapping[str, Drift] = {
    "sudden: all flights 90 minutes later": lambda week, _: _later(week, 90),
    "gradual: 10 minutes later each week": lambda week, number: _later(week, 10.0 * (number + 1)),
    "recurring: 120 minutes, two weeks of four": lambda week, number: _later(week, 120.0 * (number % 4 < 2)),
    "one segment: from EWR two hours later": lambda week, _: _later(week, 120, week["origin"] == "EWR"),
    "one segment: from EWR four hours later": lambda week, _: _later(week, 240, week["origin"] == "EWR"),
    "sudden: 8 °F warmer": lambda week, _: _warmer(week, 8),
    "sudden: 20 °F warmer": lambda week, _: _warmer(week, 20),
    "gradual: 1 °F warmer each week": lambda week, number: _warmer(week, number + 1.0),
    "recurring: 20 °F warmer, two weeks of four": lambda week, number: _warmer(week, 20.0 * (number % 4 < 2)),
    "one feature: distances 30 % longer": lambda week, _: {**week, "distance": week["distance"] * 1.3},
    "a relation: distances of other flights": _parted,
    "label only, concept only: inputs as they were": lambda week, _: week,
}


@dataclass(frozen=True)
class Way:
    """One way to compare: the words of `monitoring.drift`, and whether rows are compared as a whole."""

    title: str
    words: Mapping[str, Any]
    together: bool = False
    slices: tuple[str, ...] = ()
    """Columns whose values are compared by themselves too, with an alert of their own."""
    online: bool = False
    """Whether rows are looked at as they come, and not by weeks."""


WAYS = (
    Way("KS", {}),
    Way("CramerVonMises", {"numeric": "CramerVonMises"}),
    Way("Wasserstein", {"numeric": "Wasserstein"}),
    Way("KS by origin", {"slices": {"alert": True}}, slices=("origin",)),
    Way("JensenShannon", {"numeric": "JensenShannon", "categorical": "JensenShannon"}),
    Way("PSI", {"numeric": "PSI", "categorical": "PSI"}),
    *(Way(name, {"multivariate": name}, together=True) for name in DETECTORS["rows"]),
    Way("online", {"online": ["CramerVonMises", "FisherExact"]}, online=True),
)


@dataclass
class Found:
    """What one way did."""

    false_alarms: int = 0
    delays: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in DRIFTS})
    year: str = ""
    """First alert of the year as it was, and how many."""


def system_of(way: Way, left_out: Collection[str] = ()) -> MLSystem:
    numbers = [name for name in NUMBERS if name not in left_out]
    features: list[dict[str, Any]] = [{"name": name, "numeric": {}} for name in numbers]
    features += [{"name": name, "categorical": {}} for name in CATEGORIES]
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "flights"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "label"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "label", "availableAt": "at"},
            },
            "features": features,
            "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            "evaluation": {"slices": list(way.slices)},
            "monitoring": {"drift": dict(way.words)},
        },
    }
    return parse(document, base_dir=Path())


def weeks_of_the_year() -> list[Week]:
    """52 weeks of the same number of rows each, in order."""
    flights = pl.read_parquet(DATA / "flights.parquet").join(
        pl.read_parquet(DATA / "weather.parquet"), on=["origin", "time_hour"], how="left"
    )
    flights = flights.select("scheduled_departure", *NUMBERS, *CATEGORIES).sort("scheduled_departure")
    first = flights["scheduled_departure"][0]
    number = (flights["scheduled_departure"] - first).dt.total_days() // 7
    weeks = []
    for week in range(52):
        rows = flights.filter(number == week)
        chosen = rows[np.linspace(0, len(rows) - 1, PER_WEEK).round().astype(int).tolist()]
        weeks.append(
            {name: chosen[name].cast(pl.Float64).to_numpy() for name in NUMBERS}
            | {name: chosen[name].to_numpy().astype(object) for name in CATEGORIES}
        )
    return weeks


def reference_of(weeks: list[Week], way: Way, left_out: Collection[str] = ()) -> Reference:
    """The reference that training on these weeks leaves."""
    table = {name: np.concatenate([week[name] for week in weeks]) for name in weeks[0]}
    step = timedelta(days=7) / PER_WEEK
    times = np.array(
        [np.datetime64((SINCE + step * n).replace(tzinfo=None), "us") for n in range(len(table["temp"]))]
    )
    return fitted_detectors.fit({"at": times, **table}, system_of(way, left_out))


def breaches(reference: Reference, way: Way, week: Week) -> bool:
    """Whether anything is above its threshold in the week."""
    read = []
    for feature in reference.features:
        values = week[feature.column]
        codes = feature.codes(values.tolist()) if feature.kind == "categorical" else values
        is_there = codes >= 0 if feature.kind == "categorical" else np.isfinite(codes)
        if not way.together:
            effect = feature.detector.effect(feature.sample, codes[is_there])
            if effect > feature.distance_threshold(int(is_there.sum()), MIN_EFFECT):
                return True
        read.append((codes, is_there))
    if reference.slices is not None:
        sliced = SlicedWindow(
            reference.slices, [(one.name, one.detector) for one in reference.features], PER_WEEK, PER_WEEK
        )
        sliced.add(read, PER_WEEK)
        return sliced.result(MIN_EFFECT, is_asked=True).moved > 0
    together = reference.together
    if together is None or together.distance_threshold(PER_WEEK, MIN_EFFECT) >= 1:
        # No distance is above 1, so none needs to be computed.
        return False
    effect = together.detector.compare(together.sample, together.encoding.matrix(read, PER_WEEK)).effect
    return effect > together.distance_threshold(PER_WEEK, MIN_EFFECT)


def alerts(reference: Reference, way: Way, weeks: list[Week]) -> list[float]:
    """Weeks after which an alert begins: of windows with the second in a row above a threshold."""
    if way.online:
        return as_rows_come(reference, weeks)
    begun, row = [], 0
    for number, week in enumerate(weeks, 1):
        row = row + 1 if breaches(reference, way, week) else 0
        if row == 2:
            begun.append(number)
    return begun


def as_rows_come(reference: Reference, weeks: list[Week]) -> list[float]:
    """The same of online detectors, which are asked after each of their lots."""
    known = reference.online
    assert known is not None
    watch, features = RowsWatch(known, by_alibi=False), {one.name: one for one in reference.features}
    in_week = WEEK // known.cell
    places = np.arange(PER_WEEK) * in_week // PER_WEEK
    begun: list[float] = []
    found = watch.begin(SINCE)
    for number, week in enumerate(weeks):
        first = cell_at(SINCE + number * WEEK, known.cell)
        sums = CellSums(first, in_week, len(known.columns))
        sums.add(first + places)
        for column, one in enumerate(known.columns):
            feature = features[one.feature]
            values = week[feature.column]
            if one.category is None:
                sums.add_column(column, places, values, np.isfinite(values))
            else:
                codes = feature.codes(values.tolist())
                sums.add_column(column, places, (codes == one.category).astype(np.float64), codes >= 0)
        for lot in sums.lots():
            before, found = found.since, watch.after(found, [lot], SINCE)
            if before is None and found.since is not None:
                begun.append(round((found.since - SINCE) / WEEK, 1))
    return begun


def after_the_drift(reference: Reference, way: Way, quiet: list[Week], drifted: list[Week]) -> list[float]:
    """The first alert of the drifted weeks, if any; one that holds already says nothing of the drift."""
    if not way.online:
        return alerts(reference, way, drifted)[:1]
    # What online detectors saw last is part of their answer.
    return [at - QUIET for at in alerts(reference, way, [*quiet, *drifted]) if at > QUIET][:1]


def judged(way: Way, year: list[Week], worlds: int, left_out: Collection[str] = ()) -> Found:
    """In worlds of shuffled weeks, which know no season; then in the year."""
    found = Found()
    for seed in range(worlds):
        order = np.random.default_rng(seed).permutation(len(year))
        trained, live = ([year[n] for n in part] for part in np.split(order, [TRAINED]))
        reference = reference_of(trained, way, left_out)
        quiet = alerts(reference, way, live)
        found.false_alarms += len(quiet)
        for name, drift in DRIFTS.items():
            drifted = [drift(week, number) for number, week in enumerate(live[QUIET:])]
            found.delays[name] += after_the_drift(reference, way, live[:QUIET], drifted)
    in_order = alerts(reference_of(year[:TRAINED], way, left_out), way, year[TRAINED:])
    found.year = f"{len(in_order)}, first in week {math.ceil(in_order[0])}" if in_order else "0"
    return found


def speed(way: Way) -> tuple[float, float]:
    """Rows of 20 numbers per CPU second, and MiB that are held while they are counted."""
    if way.online:
        return speed_of_lots()
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=65_536) for _ in range(20)]
    there = np.ones(65_536, dtype=bool)
    streams: list[Stream | None]
    if way.together:
        encoding = Encoding(tuple(Place.of(f"c{n}", "numeric", one) for n, one in enumerate(columns)))
        sample = encoding.matrix([(one[:10_000], there[:10_000]) for one in columns], 10_000)
        detector = DETECTORS["rows"][way.title]
        streams = [detector.stream(sample)]
    else:
        if way.slices:
            # Slices come beside the columns, whose speed is told already.
            return 0.0, 0.0
        detector = DETECTORS["numeric"][way.words.get("numeric", "KS")]
        streams = [detector.stream(one[:20_000]) for one in columns]
    if None in streams:
        return 0.0, 0.0

    def counted() -> None:
        values = [encoding.matrix([(one, there) for one in columns], 65_536)] if way.together else columns
        for stream, part in zip(streams, values, strict=True):
            assert stream is not None
            stream.add(part)

    counted()
    begun = time.process_time()
    for _ in range(6):
        counted()
    rate = 6 * 65_536 / (time.process_time() - begun)
    tracemalloc.start()
    counted()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return rate, peak


def table_of(found: Mapping[str, Found], speeds: Mapping[str, tuple[float, float]], worlds: int) -> Table:
    months = worlds * (52 - TRAINED) / WEEKS_A_MONTH
    rows: list[tuple[str, ...]] = [
        ("false alarms a month", *(f"{one.false_alarms / months:.2f}" for one in found.values()))
    ]
    rows += [(name, *(delay_cell(one.delays[name], worlds) for one in found.values())) for name in DRIFTS]
    rows.append(("the year as it was: alerts", *(one.year for one in found.values())))
    rows.append(
        (
            "thousand rows a CPU second",
            *(f"{rate / 1000:,.0f}" if rate else "-" for rate, _ in speeds.values()),
        )
    )
    rows.append(("MiB beside the batch", *(f"{held:.0f}" if rate else "-" for rate, held in speeds.values())))
    return Table(
        "On flights",
        ("drift", *found),
        tuple(rows),
        f"{worlds} orders of the weeks of 2013, {PER_WEEK:,} rows each: {TRAINED} weeks of reference, the other "
        f"{52 - TRAINED} live, so that no season is left. Of a drift that begins after {QUIET} live weeks: weeks until "
        "the alert (median), and the share of orders in which there was one if it was not all. The year as it was: the "
        "first half trained, the second live. Speed and memory: 20 numbers a row; `-`: of a large window an even "
        "selection of rows is compared.",
    )


def _found(
    year: list[Week], ways: list[Way], worlds: int, left_out: Collection[str]
) -> Iterator[tuple[str, Found]]:
    for way in ways:
        print(way.title, file=sys.stderr)
        yield way.title, judged(way, year, worlds, left_out)


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=3, help="Orders of the weeks.")
    parser.add_argument("--only", help="Ways to compare, with commas between them; without it all.")
    parser.add_argument(
        "--without-weather", action="store_true", help="Leave the weather out; not for the page."
    )
    parser.add_argument("--write", action="store_true", help="Put the table into the page of drift.")
    options = parser.parse_args()
    if options.write and options.without_weather:
        parser.error("--without-weather: the page's table is of all features; print it without --write")
    if options.worlds < 1:
        parser.error(f"--worlds: {options.worlds} must be at least 1")
    known = [way.title for way in WAYS]
    chosen = known if options.only is None else options.only.split(",")
    if unknown := [title for title in chosen if title not in known]:
        parser.error(f"--only: {unknown[0]!r} is none of {', '.join(known)}")
    if not (DATA / "flights.parquet").exists():
        parser.error(
            "examples/flight-delays/data is empty; `python examples/flight-delays/prepare.py` writes it"
        )
    ways = [way for way in WAYS if way.title in chosen]
    speeds = {way.title: speed(way) for way in ways}
    found = dict(
        _found(weeks_of_the_year(), ways, options.worlds, WEATHER if options.without_weather else ())
    )
    text = table_of(found, speeds, options.worlds).markdown()
    if not options.write:
        print(text)
        return 0
    PAGE.write_text(put_between(PAGE.read_text(), BEGIN, END, f"{BEGIN}\n\n{text}\n{END}"))
    print(f"written to {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
