"""What users got and whether it was right: the answers of a stretch of time with their labels."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from capstan.recording.payloads import TIMESTAMP
from capstan.recording.reading import LABELS, SERVED, PayloadReader

_FOREVER = datetime(2199, 1, 1, tzinfo=UTC)

_SERVED_WITH_LABELS = f"""
with served as ({SERVED}), by_entity as ({LABELS.format(key="entity_id")}
), by_request as ({LABELS.format(key="request_id")}
)
select request_id, row, answer.entity as entity_id, answer.time as event_time, answer.version as version,
  answer.prediction as prediction, known.none as no_label, case when known.none then null else known.value end as label
from (
  select served.*, coalesce(by_request.label, by_entity.label) as known
  from served left join by_request on by_request.key = request_id
    left join by_entity on by_entity.key = answer.entity
) where $version is null or answer.version = $version
order by event_time, request_id, row
"""  # noqa: S608


def served_with_labels(
    reader: PayloadReader,
    start: datetime,
    end: datetime,
    *,
    as_of: datetime | None = None,
    version: str | None = None,
) -> pa.Table:
    """One row per answered request row in [start, end), in event order; raises UnavailableError.

    Columns: request_id, row, entity_id, event_time, version, prediction, no_label (null where nothing is known yet),
    label (null where none is known at `as_of`, or none will come). `version` None: whoever answered.
    """
    table = reader.fetch(_SERVED_WITH_LABELS, start=start, end=end, as_of=as_of or _FOREVER, version=version)
    moments = table["event_time"].cast(TIMESTAMP)
    return table.set_column(table.column_names.index("event_time"), "event_time", moments)
