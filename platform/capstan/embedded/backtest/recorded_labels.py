"""Recorded labels as a collector stores them, whole columns at once."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from capstan.domain.payload_limits import id_rule
from capstan.embedded.replay.replaying import Labels
from capstan.recording.labels import LABEL_COLUMNS, form_of
from capstan.tasks.labels import LabelValue


def label_columns(labels: Labels, received: datetime, read_as: list[str]) -> pa.Table | None:
    """The table that `recording.labels` makes of the same labels; None: one of them is to be refused."""
    traffic, form = labels.traffic, form_of(read_as)
    cases = labels.cases[np.argsort(traffic.label_times[labels.cases], kind="stable")]
    ids = [traffic.entity_ids[case] for case in cases.tolist()]
    given = [traffic.labels[case] for case in cases.tolist()]
    if any(id_rule(identity) is not None for identity in ids):
        return None
    known: dict[tuple[type, object], LabelValue | None] = {
        (type(value), value): form.parse(value) for value in {*given} if value is not None
    }
    if None in known.values():
        return None
    values = [None if value is None else known[type(value), value] for value in given]
    found = {
        "entity_id": ids,
        "available_at": pa.array(traffic.label_times[cases], pa.int64()).cast(pa.timestamp("us", tz="UTC")),
        "received_at": [received] * len(ids),
        "no_label": [value is None for value in values],
        form.column: values,
    }
    return pa.table(
        [
            pa.array(found[field.name], field.type) if field.name in found else pa.nulls(len(ids), field.type)
            for field in LABEL_COLUMNS
        ],
        schema=LABEL_COLUMNS,
    )
