"""How unlike the training lots may be without an alarm, found on whole days of it drawn again and again.

A stream is training rows and the months after them, both of days drawn with replacement from the training data, so that
nothing changed in it: each alarm is false. Rows of one day stay together, because they are alike. One level holds for
all columns together, whose days are drawn together. Days that are drawn know no season: so the level is never below the
largest score of the training data in its own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.calibration import FACTOR, MONTH, inputs_budget
from capstan.monitoring.drift.online.detectors import Floats, OnlineDetector, OnlineKind, of_usual
from capstan.monitoring.drift.online.lots import (
    BEGUN,
    CellSums,
    as_fed,
    both,
    cell_of,
    joined,
    sizes_of,
    value_of,
)
from capstan.monitoring.drift.online.reference import OnlineColumn, OnlineReference
from capstan.monitoring.drift.stretches import Column
from capstan.monitoring.windows import Lot
from capstan.spec import MLSystem

LEAST_DAYS = 14
"""Fewer days say too little about how days differ."""
STREAMS = 100
MONTHS = 3
"""Of a stream after its training: a version serves for longer than a month."""
MOST_MEANS = 200
"""Lots of a number that are kept."""
FULL = 0.5
"""Of the rows that lots of usual traffic have: hours with fewer are joined to the next."""
LEAST_USUAL = 1.0
"""A column that never moves must not set the scale of the others: a standard deviation, or a p-value of 0.1."""
DIGITS = 6


class _Drawn(NamedTuple):
    """Days that a reference and a stream after it are made of."""

    known: list[int]
    after: list[int]


class _Watched(NamedTuple):
    """A column before its reference."""

    feature: str
    detector: OnlineKind
    category: int | None

    def reference(self, lots: Floats, usual: tuple[float, ...] = ()) -> OnlineColumn:
        values = lots[~np.isnan(lots)]
        if self.detector == "FisherExact":
            return OnlineColumn(
                self.feature, self.detector, self.category, (), len(values), round(values.sum()), usual
            )
        ordered = np.sort(values)
        few = ordered[np.linspace(0, len(ordered) - 1, min(MOST_MEANS, len(ordered))).round().astype(int)]
        return OnlineColumn(self.feature, self.detector, None, tuple(few.tolist()), len(values), 0, usual)

    def scores(self, detector: OnlineDetector, lots: Floats) -> Floats:
        """The largest of each size over a whole stream."""
        fed, _ = as_fed(self.detector, lots[~np.isnan(lots)].tolist(), BEGUN)
        found = detector.scores(np.array(fed))
        largest: Floats = np.max(np.where(np.isnan(found), -np.inf, found), axis=0, initial=-np.inf)
        return largest


def fit_online(
    columns: Sequence[Column], moments: NDArray[np.int64], system: MLSystem, *, rng: np.random.Generator
) -> OnlineReference | None:
    """What lots are compared with; None: the file names no online detector.

    `columns` are the features and watched outputs in order of time, `moments` the (rows,) microseconds of their rows.
    """
    spec = system.spec
    wanted: tuple[OnlineKind, ...] = spec.monitoring.drift.online
    if not wanted:
        return None
    window = spec.monitoring.window.duration
    cell, sizes = cell_of(window), sizes_of(window)
    watched, left_out = _watched(columns, wanted)
    nothing = OnlineReference(wanted, cell, 1, sizes, (), None, left_out=left_out)
    if spec.data.keys.time is None:
        return _without(
            nothing,
            "rows of the training have no time (data.keys.time), so that none of its days can be drawn",
        )
    days, least = _days(columns, watched, moments, cell)
    if len(days) < LEAST_DAYS:
        return _without(
            nothing, f"the training data has {len(days)} days, {LEAST_DAYS} are needed; train on more"
        )
    if not watched:
        return _without(nothing, f"no feature is read by {' or '.join(wanted)}: {'; '.join(left_out)}")
    whole = np.concatenate(days)
    streams = [_draw(len(days), rng) for _ in range(STREAMS)]
    largest = np.empty((STREAMS, len(watched), len(sizes)))
    history = np.empty((len(watched), len(sizes)))
    for place, one in enumerate(watched):
        of_days = [day[:, place] for day in days]
        history[place] = one.scores(one.reference(whole[:, place]).begin(sizes), whole[:, place])
        for number, drawn in enumerate(streams):
            known, after = (np.concatenate([of_days[day] for day in part]) for part in drawn)
            largest[number, place] = one.scores(one.reference(known).begin(sizes), after)
    usual = np.maximum(np.median(largest, axis=0), LEAST_USUAL).round(DIGITS)
    of_streams, of_training = (of_usual(one, usual).max(axis=-1) for one in (largest, history))
    allowed = int(inputs_budget(spec.monitoring) * MONTHS * STREAMS)
    # Where not even one stream may alarm, the largest of them says too little.
    strict = float(np.sort(of_streams)[::-1][min(allowed, STREAMS - 1)]) * (FACTOR if not allowed else 1.0)
    level = max(round(strict, DIGITS), float(of_training))
    return OnlineReference(
        wanted,
        cell,
        least,
        sizes,
        tuple(
            one.reference(whole[:, place], tuple(usual[place].tolist())) for place, one in enumerate(watched)
        ),
        level,
        alarms=round(float((of_streams > level).mean()) / MONTHS, DIGITS),
        left_out=left_out,
    )


def _without(nothing: OnlineReference, why: str) -> OnlineReference:
    return replace(nothing, why_not=why)


def _draw(days: int, rng: np.random.Generator) -> _Drawn:
    """As many days of training as there are, and those of the months after it."""
    after = round(MONTHS * MONTH / timedelta(days=1))
    return _Drawn(rng.integers(0, days, days).tolist(), rng.integers(0, days, after).tolist())


def _watched(
    columns: Sequence[Column], wanted: Sequence[OnlineKind]
) -> tuple[list[_Watched], tuple[str, ...]]:
    """The features and outputs that the detectors read, and why the others are not watched."""
    found, left_out = [], []
    for one in columns:
        detector: OnlineKind = "CramerVonMises" if one.kind == "numeric" else "FisherExact"
        values = one.values[one.present]
        if detector not in wanted:
            left_out.append(f"{one.name}: monitoring.drift.online lacks {detector}")
        elif not len(values):
            left_out.append(f"{one.name}: training saw no value")
        elif detector == "FisherExact" and len(one.vocabulary) < 2:
            left_out.append(f"{one.name}: training saw one category alone")
        else:
            category = int(np.bincount(values).argmax()) if detector == "FisherExact" else None
            found.append(_Watched(one.name, detector, category))
    return found, tuple(left_out)


def _days(
    columns: Sequence[Column], watched: Sequence[_Watched], moments: NDArray[np.int64], cell: timedelta
) -> tuple[list[Floats], int]:
    """(lots, columns) of each day, and the least rows of a lot."""
    size = cell // timedelta(microseconds=1)
    cells = moments // size
    first = int(cells[0])
    sums = CellSums(first, int(cells[-1]) - first + 1, len(watched))
    places = sums.add(cells)
    by_name = {one.name: one for one in columns}
    for place, one in enumerate(watched):
        column = by_name[one.feature]
        values = column.values if one.category is None else column.values == one.category
        sums.add_column(place, places, values.astype(np.float64), column.present)
    in_day = timedelta(days=1) // cell
    of_days = [list(day) for _, day in groupby(sums.lots(), key=lambda lot: (lot.end - 1) // in_day)]
    least = max(1, round(FULL * len(moments) / len(of_days) / in_day))
    found = []
    for day in of_days:
        lots, rest = joined(None, day, least)
        if rest is not None:
            # The end of a day that was drawn is not followed by the next day.
            lots = [*lots[:-1], both(lots[-1], rest)] if lots else [rest]
        found.append(np.array([_values(lot, len(watched)) for lot in lots]))
    return found, least


def _values(lot: Lot, columns: int) -> list[float]:
    means = (value_of(lot, column) for column in range(columns))
    return [np.nan if mean is None else mean for mean in means]
