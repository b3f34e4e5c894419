"""Reads the rows that came since the last look into cells of time, in memory that does not grow with them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from capstan.monitoring.drift.column_values import values_of
from capstan.monitoring.drift.online.lots import CellSums
from capstan.monitoring.drift.online.watched_rows import RowsWatch, cell_at, start_of
from capstan.monitoring.drift.reference import Reference
from capstan.monitoring.windows import OnlineDrift
from capstan.recording.answered import ANSWERED, input_columns
from capstan.recording.outputs import INPUT_PREFIX
from capstan.recording.reading import PayloadReader

_CELL = "epoch_us(event_time) // $cell"
# An attempt counts in its own cell, so that how far a look reaches makes no difference.
_LAST_ATTEMPT = f"""
qualify row_number() over (
  partition by request_id, row, {_CELL} order by attempt desc, version, boot, sequence) = 1
"""


def watch_rows(
    watch: RowsWatch, before: OnlineDrift, until: datetime, reader: PayloadReader, reference: Reference
) -> OnlineDrift:
    """With the rows of the next cells that ended by `until`, those of a window at most.

    None of them ended: it is `before`. Raises UnavailableError.
    """
    known = watch.reference
    first = cell_at(before.reached, known.cell)
    cells = min(cell_at(until, known.cell) - first, max(known.sizes))
    if cells <= 0 or known.level is None:
        return before
    features = {one.name: one for one in reference.features}
    columns = [features[one.feature] for one in known.columns]
    readers = [values_of(one) for one in columns]
    names = sorted({one.column for one in columns})
    query = f"select {_CELL} as cell, {input_columns(names)} {ANSWERED} {_LAST_ATTEMPT}"
    sums = CellSums(first, cells, len(columns))
    start, end = start_of(first, known.cell), start_of(first + cells, known.cell)
    microseconds = known.cell // timedelta(microseconds=1)
    for batch in reader.batches(query, start=start, end=end, inputs=names, cell=microseconds):
        places = sums.add(batch.column("cell").to_numpy())
        for place, (feature, one) in enumerate(zip(columns, known.columns, strict=True)):
            read = readers[place].present(batch.column(INPUT_PREFIX + feature.column))
            values = read.values if one.category is None else read.values == one.category
            sums.add_column(place, places, np.asarray(values, dtype=np.float64), read.is_there)
    return watch.after(before, sums.lots(), end)
