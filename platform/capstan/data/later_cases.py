"""Cases that a training of today leaves out because their time is yet to come, and labels older than their case."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.extraction import LABEL_AVAILABLE_AT
from capstan.data.mapped_tables import filtered
from capstan.spec.system import MLSystem

_SHOWN = 3


def without_later_cases(table: pa.Table, system: MLSystem, now: datetime) -> tuple[pa.Table, str | None]:
    """The cases up to `now` of an extracted table of all times, and what to say of the others; None: there are none."""
    keys = system.spec.data.keys
    if keys.time is None:
        return table, None
    later = pc.greater(table[keys.time], pa.scalar(now, table[keys.time].type))
    count = pc.sum(later).as_py() or 0
    if not count:
        return table, None
    shown = _pairs(table.select([keys.id_column, keys.time]).filter(later), keys.id_column, keys.time)
    zone = system.spec.data.time_zone
    return filtered(table, pc.invert(later)), (
        f"data.keys.time: {count:,} of {table.num_rows:,} cases are left out, because their {keys.time!r} is after "
        f"now, {_moment(now)} ({shown}); nothing learns from a case before its time. If these are past, correct "
        f"them: times without offset are of data.timeZone, {zone}"
    )


def early_labels(table: pa.Table, system: MLSystem) -> str | None:
    """What to say of labels that were known before their case, None if there are none."""
    data = system.spec.data
    if data.keys.time is None or data.label.available_at is None:
        return None
    early = pc.fill_null(pc.less(table[LABEL_AVAILABLE_AT], table[data.keys.time]), False)
    count = pc.sum(early).as_py() or 0
    if not count:
        return None
    labels = table.num_rows - table[LABEL_AVAILABLE_AT].null_count
    (first,) = (
        table.select([data.keys.id_column, data.keys.time, LABEL_AVAILABLE_AT])
        .filter(early)
        .slice(0, 1)
        .to_pylist()
    )
    return (
        f"data.label.availableAt: {count:,} of {labels:,} labels were known before their case "
        f"({first[data.keys.id_column]!r} is of {_moment(first[data.keys.time])}, its label of "
        f"{_moment(first[LABEL_AVAILABLE_AT])}). Where the answer is known there is nothing to predict: look "
        f"whether data.keys.time is when it is predicted, and {data.label.available_at!r} when the label came"
    )


def _pairs(table: pa.Table, key: str, time: str) -> str:
    rows = table.slice(0, _SHOWN).select([key, time]).to_pylist()
    told = [f"{row[key]!r} of {_moment(row[time])}" for row in rows]
    return ", ".join(told) + (", …" if table.num_rows > len(rows) else "")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
