"""How many cases got a label in a span of time: what a training now would know more than the last one."""

from __future__ import annotations

from datetime import datetime

from capstan.recording.reading import PayloadReader

_COUNTED = """
select count(distinct coalesce('i' || entity_id, 'r' || request_id)) from stored_labels
where not no_label and epoch_us(available_at) > $start and epoch_us(available_at) <= $as_of
"""


def count_labels(reader: PayloadReader, *, since: datetime, as_of: datetime) -> int:
    """Cases whose label became known in (since, as_of], each once; raises UnavailableError."""
    found = reader.fetch(_COUNTED, start=since, end=as_of, as_of=as_of)
    return int(found.column(0)[0].as_py())
