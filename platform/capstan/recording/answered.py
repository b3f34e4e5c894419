"""SQL of answered requests and their inputs, whichever version answered: a canary must not look like drift."""

from __future__ import annotations

from collections.abc import Sequence

from capstan.recording.outputs import INPUT_PREFIX

ANSWERED = """
from stored_payloads
where role <> 'shadow' and status = 200 and not nonfinite
  and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
"""
LAST_ATTEMPT = """
qualify row_number() over (partition by request_id, row order by attempt desc, version, boot, sequence) = 1
"""


def input_columns(columns: Sequence[str]) -> str:
    """The columns of a select clause."""
    return ", ".join('"' + INPUT_PREFIX + column.replace('"', '""') + '"' for column in columns)
