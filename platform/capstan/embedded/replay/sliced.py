"""What users got, by the slices of the file, for the report of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.evaluation.slices import slice_metrics
from capstan.evaluation.tables import slice_tables
from capstan.recording.served import Served


def tables_by_slice(
    columns: Sequence[str], served: Served, traffic: RecordedTraffic, entity_ids: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """A table of each column, and a note of each that requests do not carry.

    `entity_ids` are those of the labelled answers, in their order.
    """
    if not columns or not len(served):
        return [], []
    case_of = {entity_id: case for case, entity_id in enumerate(traffic.entity_ids)}
    rows = [traffic.row_of(case_of[entity_id]) for entity_id in entity_ids]
    # A request leaves out what is missing, so a column that no row has is one that requests do not carry.
    carried = [column for column in columns if any(column in row for row in rows)]
    found = slice_metrics(
        served.task,
        {column: [row.get(column) for row in rows] for column in carried},
        served.truth,
        served.predictions,
        served.groups,
    )
    notes = [
        f"slices by {column} are told by trainings alone: requests do not carry it"
        for column in columns
        if column not in carried
    ]
    return slice_tables(found, served.task.facts), notes
