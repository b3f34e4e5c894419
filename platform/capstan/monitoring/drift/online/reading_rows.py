"""Reads the rows that came since the last look into cells of time, in memory that does not grow with them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from capstan.monitoring.drift.column_values import output_of, values_of
from capstan.monitoring.drift.online.lots import CellSums
from capstan.monitoring.drift.online.watched_rows import RowsWatch, cell_at, start_of
from capstan.monitoring.drift.reference import Reference
from capstan.monitoring.windows import OnlineDrift
from capstan.recording.answered import ANSWERED, input_columns
from capstan.recording.outputs import INPUT_PREFIX, predictions_of
from capstan.recording.reading import PayloadReader
from capstan.tasks import Task

_CELL = "epoch_us(event_time) // $cell"
# An attempt counts in its own cell, so that how far a look reaches makes no difference.
_LAST_ATTEMPT = f"""
qualify row_number() over (
  partition by request_id, row, {_CELL} order by attempt desc, version, boot, sequence) = 1
"""


def watch_rows(
    watch: RowsWatch,
    before: OnlineDrift,
    until: datetime,
    reader: PayloadReader,
    reference: Reference,
    *,
    task: Task,
    version: str,
) -> OnlineDrift:
    """With the rows of the next cells that ended by `until`, those of a window at most.

    Inputs are those of all requests, whichever version answered; predictions those of `version` alone. None of the
    cells ended: it is `before`. Raises UnavailableError.
    """
    known = watch.reference
    first = cell_at(before.reached, known.cell)
    cells = min(cell_at(until, known.cell) - first, max(known.sizes))
    if cells <= 0 or known.level is None:
        return before
    features = {one.name: one for one in (*reference.features, *reference.outputs)}
    columns = [features[one.feature] for one in known.columns]
    readers = [values_of(one) for one in columns]
    answers = [one.is_output for one in known.columns]
    names = sorted({one.column for one, is_answer in zip(columns, answers, strict=True) if not is_answer})
    chosen = [f"{_CELL} as cell", *([input_columns(names)] if names else [])]
    chosen += ["version = $version as is_own", "outputs"] if any(answers) else []
    query = f"select {', '.join(chosen)} {ANSWERED} {_LAST_ATTEMPT}"
    sums = CellSums(first, cells, len(columns))
    start, end = start_of(first, known.cell), start_of(first + cells, known.cell)
    microseconds = known.cell // timedelta(microseconds=1)
    batches = reader.batches(query, start=start, end=end, inputs=names, cell=microseconds, version=version)
    for batch in batches:
        places = sums.add(batch.column("cell").to_numpy())
        if any(answers):
            said = predictions_of(batch.column("outputs"), task)
            is_own = batch.column("is_own").to_numpy(zero_copy_only=False)
        for place, (feature, one) in enumerate(zip(columns, known.columns, strict=True)):
            read = readers[place].present(
                output_of(said, feature) if one.is_output else batch.column(INPUT_PREFIX + feature.column)
            )
            values = read.values if one.category is None else read.values == one.category
            is_there = read.is_there & is_own if one.is_output else read.is_there
            sums.add_column(place, places, np.asarray(values, dtype=np.float64), is_there)
    return watch.after(before, sums.lots(), end)
