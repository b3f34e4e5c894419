"""What users got and whether it was right: the answers of a stretch of time with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstan.recording.outputs import predictions_of
from capstan.recording.payloads import TIMESTAMP
from capstan.recording.reading import SEEN, SERVED, PayloadReader, labels_by
from capstan.tasks import Predictions, Task
from capstan.tasks.metric import Groups, Truth, numbered

_FOREVER = datetime(2199, 1, 1, tzinfo=UTC)

_SERVED_WITH_LABELS = """
with served as (SERVED), by_entity as (BY_ENTITY), by_request as (BY_REQUEST)
select request_id, row, answer.entity as entity_id, answer.time as event_time, answer.version as version,
  answer.outputs as outputs, known.none as no_label, case when known.none then null else known.value end as label
from (
  select served.*, coalesce(by_request.label, by_entity.label) as known
  from served left join by_request on by_request.key = request_id
    left join by_entity on by_entity.key = answer.entity
) where $version is null or answer.version = $version
order by event_time, request_id, row
"""


@dataclass(frozen=True)
class Served:
    """Answered rows with what is known of their labels, in event order."""

    task: Task
    table: pa.Table
    """request_id, row, entity_id, event_time, version, outputs (a struct), no_label (null where nothing is known yet),
    label (null where none is known, or none will come)."""

    @cached_property
    def labelled(self) -> Served:
        """Those with a label alone; in a task of groups, of requests of which every row has one or never will."""
        kept = pc.is_valid(self.table["label"])
        groups = self.groups
        if groups is not None and len(groups):
            is_open = pc.is_null(self.table["no_label"]).to_numpy()
            rows = self.table["row"].to_numpy()
            last = np.zeros(int(groups.max()) + 1, dtype=np.int64)
            np.maximum.at(last, groups, rows)
            whole = (np.bincount(groups, weights=~is_open) == last + 1)[groups]
            kept = pc.and_(kept, pa.chunked_array([whole]))
        return Served(self.task, self.table.filter(kept))

    @cached_property
    def truth(self) -> Truth:
        """Of labelled rows."""
        return self.task.label.truth(self.table["label"].to_numpy())

    @cached_property
    def predictions(self) -> Predictions:
        return predictions_of(self.table["outputs"], self.task)

    @cached_property
    def groups(self) -> Groups | None:
        """Rows of one request are one group; None where the task has no groups."""
        if "group" not in self.task.facts.keys:
            return None
        ids = self.table["request_id"].to_numpy(zero_copy_only=False).astype(str)
        return numbered(ids)

    def __len__(self) -> int:
        return int(self.table.num_rows)


def served_with_labels(
    reader: PayloadReader,
    task: Task,
    start: datetime,
    end: datetime,
    *,
    as_of: datetime | None = None,
    version: str | None = None,
) -> Served:
    """One row per answered request row in [start, end); raises UnavailableError.

    Labels are those known at `as_of`, None: all. `version`: what that one answered; None: what users got, whoever
    answered.
    """
    query = (
        _SERVED_WITH_LABELS.replace("SERVED", SEEN if version is None else SERVED)
        .replace("BY_ENTITY", labels_by("entity_id", task))
        .replace("BY_REQUEST", labels_by("request_id", task))
    )
    table = reader.fetch(query, start=start, end=end, as_of=as_of or _FOREVER, version=version)
    moments = table["event_time"].cast(TIMESTAMP)
    return Served(task, table.set_column(table.column_names.index("event_time"), "event_time", moments))
