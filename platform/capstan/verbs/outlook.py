"""What the rows that are there say of a file: how they are parted, and which windows could be watched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from capstan.verbs.verdict_times import in_days

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from capstan.spec import MLSystem
    from capstan.spec.monitoring import MonitoringWindow


@dataclass(frozen=True)
class WatchPlanned:
    """How often the monitor could judge a window, by the rows that are there."""

    windows: int | None
    """Whole windows in the data; None: the data could not be read."""
    judged: int | None
    """Of them with at least `monitoring.window.minRows` rows."""
    message: str
    problem: str | None
    """What would go unseen, and what to write; None: nearly all windows could be judged."""


def data_planned(
    system: MLSystem, secrets: Path, now: datetime
) -> tuple[WatchPlanned, tuple[str, ...], str | None]:
    """What the file's own rows say up to `now`; a table that cannot be read is told and stops nothing here."""
    from capstan.data import extract, part_cases
    from capstan.data.inspection import what_is_lost
    from capstan.data.later_cases import early_labels, without_later_cases
    from capstan.errors import CapstanError

    try:
        every = extract(system, as_of=None, labels_as_of=None, secrets=secrets, features=False)
    except CapstanError as error:
        return WatchPlanned(None, None, f"the data cannot be read: {error}", None), (), None
    table, left_out = without_later_cases(every, system, now)
    lost = what_is_lost(system)
    watched = _watch_planned(system, table)
    early = early_labels(table, system)
    first = (*lost, *(() if early is None else (early,)))
    try:
        return watched, (*first, *part_cases(table, system, as_of=now).warnings), left_out
    except CapstanError as error:
        return watched, (*first, str(error)), left_out


def _planned_by_rows(times: NDArray[np.datetime64], window: MonitoringWindow, rows: int) -> WatchPlanned:
    from capstan.monitoring.prospects import ENOUGH, windows_by_rows

    cut = windows_by_rows(times, rows, window.duration)
    judged = sum(count >= window.min_rows for count, _ in cut)
    if not cut:
        message = f"the data has fewer than {rows:,} rows and is shorter than {in_days(window.duration)}"
        return WatchPlanned(0, 0, message, None)
    middle = sorted(length for _, length in cut)[len(cut) // 2]
    message = (
        f"windows of {rows:,} rows, or of {in_days(window.duration)} at most: {judged} of {len(cut)} have at least "
        f"{window.min_rows:,}; the one in the middle takes {middle / timedelta(days=1):.3g} days"
    )
    if judged >= ENOUGH * len(cut):
        return WatchPlanned(len(cut), judged, message, None)
    unjudged = (
        f"{len(cut) - judged} of {len(cut)} windows would have too few rows to be judged: lengthen "
        "monitoring.window.duration, or lower minRows"
    )
    return WatchPlanned(len(cut), judged, message, unjudged)


def _watch_planned(system: MLSystem, table: pa.Table) -> WatchPlanned:
    from capstan.monitoring.prospects import ENOUGH, prospect

    window = system.spec.monitoring.window
    if system.spec.data.keys.time is None:
        message = (
            f"windows of {in_days(window.duration)} of requests; how many rows each will have, no row tells, for rows "
            f"have no time. A window with fewer than {window.min_rows:,} rows is not judged"
        )
        if window.rows is not None:
            most = in_days(window.duration)
            message = (
                f"windows of {window.rows:,} rows, or of {most} at most; how long each takes, no row tells"
            )
        return WatchPlanned(None, None, message, None)
    times = table[system.spec.data.keys.time].to_numpy()
    if window.rows is not None:
        return _planned_by_rows(times, window, window.rows)
    found = prospect(times, window.duration, window.min_rows)
    length = in_days(window.duration)
    if not found.windows:
        message = f"the data is shorter than one window of {length}"
        return WatchPlanned(0, 0, message, None)
    message = (
        f"{found.judged} of {found.windows} windows of {length} have at least {window.min_rows:,} rows; "
        f"the one in the middle has {found.rows:,}"
    )
    if found.judged >= ENOUGH * found.windows:
        return WatchPlanned(found.windows, found.judged, message, None)
    ways = []
    if found.between is not None:
        ways.append(f"duration: {_written(found.between[0])}, minRows: {found.between[1]}")
    if found.longer is not None:
        ways.append(f"duration: {_written(found.longer)}")
    if found.fewer is not None:
        ways.append(f"minRows: {found.fewer}")
    way = " or ".join(f"`monitoring: {{window: {{{one}}}}}`" for one in ways)
    out_of = (
        f"write {way}"
        if ways
        else "more rows are needed, or a minRows below 100, with which only coarse drift shows"
    )
    unjudged = found.windows - found.judged
    where = f"the other {unjudged}" if found.judged else "all of them"
    problem = f"drift and quality would go unseen in {where}; {out_of}"
    return WatchPlanned(found.windows, found.judged, message, problem)


def _written(duration: timedelta) -> str:
    """As the file writes it."""
    day, hour = timedelta(days=1), timedelta(hours=1)
    if not duration % day:
        return f"{duration // day}d"
    return f"{duration // hour}h" if not duration % hour else f"{duration // timedelta(minutes=1)}m"
