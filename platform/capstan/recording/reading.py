"""Payloads, labels and events read back from Parquet: by key, so that no duplicate and no order of delivery counts.

Labels are as of a moment: of those with `availableAt` up to it the latest counts, and one that is later does not exist.
A label is looked for from a week before the requests; one that became known earlier belongs to another case.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from capstan.duckdb_bars import without_bar
from capstan.errors import UnavailableError
from capstan.ports.combining import COMBINER
from capstan.recording.events import EVENT_COLUMNS
from capstan.recording.held_rows import HeldRows
from capstan.recording.labels import LABEL_COLUMNS
from capstan.recording.moments import microseconds
from capstan.recording.outputs import INPUT_PREFIX, OUTPUT_PREFIX
from capstan.recording.payloads import OPTIONAL_COLUMNS, PAYLOAD_COLUMNS
from capstan.recording.segments import dated_files, payload_files
from capstan.tasks import Task

logger = logging.getLogger(__name__)

LABEL_SLACK = timedelta(days=7)
ATTEMPT_SLACK = timedelta(minutes=1)
"""Live, the arms of one request tell its time a little differently."""
_READS = 4
_NO_OUTPUT = '"-" := null::double'
"""A struct must have a member and a member a name; this is no task's."""
_Result = TypeVar("_Result")

SERVED = """
select request_id, row, max({'attempt': attempt, 'version': version, 'outputs': outputs,
                             'entity': entity_id, 'time': epoch_us(event_time)}) as answer
from stored_payloads
where role <> 'shadow' and status = 200 and not nonfinite
  and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
group by request_id, row
"""
"""Answers that count: those of the last attempt that was answered soundly, by the version that was asked for them."""
LISTS = f"""
select request_id, row, max({{'attempt': attempt, 'outputs': outputs}}) as list from stored_payloads
where version = '{COMBINER}' and status = 200 group by request_id, row
"""  # noqa: S608 - texts of this package alone
"""What interleaved requests were answered, in place of the champion's answer of no later attempt."""
SEEN = f"""
select request_id, row, {{
    'attempt': answer.attempt, 'version': answer.version,
    'outputs': case when list.attempt >= answer.attempt then list.outputs else answer.outputs end,
    'entity': answer.entity, 'time': answer.time}} as answer
from ({SERVED}) left join ({LISTS}) using (request_id, row)
"""  # noqa: S608 - texts of this module alone
"""What users got: the same, with the list of both rankers in place of the champion's where one was made."""

STORED_EVENTS = """
create or replace temp view stored_events as
select * from posted_events where epoch_us(available_at) <= $as_of
qualify row_number() over (partition by event_id order by available_at desc, received_at desc,
  retracted desc, event, entity_id, request_id, unit, value, event_time) = 1
"""
"""Each event once, as it was last told up to the moment; those that were taken back are there, as retracted."""


def labels_by(key: str, task: Task) -> str:
    """SQL of one label per case. At one instant the content decides, never the order in which two deliveries came."""
    value = task.label.column
    return f"""
select {key} as key, max({{'at': epoch_us(available_at), 'none': no_label, 'value': {value}}}) as label
from stored_labels
where {key} is not null and epoch_us(available_at) <= $as_of and (no_label or {value} is not null) group by {key}
"""  # noqa: S608


def day_starts(start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """The local midnights, in UTC, that begin the days of [start, end); the first may be before `start`."""
    day = start.astimezone(zone).date()
    starts = []
    while (midnight := datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)) < end:
        starts.append(midnight)
        day += timedelta(days=1)
    return starts


class PayloadReader:
    """Queries over the folder of one system, with bounded memory; may be used by several threads in turn."""

    def __init__(self, folder: Path, *, held: HeldRows | None = None, memory_limit: str = "192MB") -> None:
        """`folder` holds `payloads/`, `labels/` and `events/`; with `held`, payloads and labels are those instead."""
        self.folder = folder
        self._held = held
        self._lock = threading.Lock()
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": 1,
                "memory_limit": memory_limit,
                "temp_directory": str(folder / ".spill"),
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
            },
        )
        without_bar(self._connection)

    def close(self) -> None:
        self._connection.close()

    def fetch(
        self,
        query: str,
        *,
        start: datetime,
        end: datetime,
        as_of: datetime | None = None,
        tables: Mapping[str, pa.Table] | None = None,
        inputs: Sequence[str] = (),
        **parameters: object,
    ) -> pa.Table:
        """The answer to a query over `stored_payloads`, `stored_labels` and `stored_events` around [start, end).

        Labels and events are there with `as_of` alone. `$start`, `$end`, `$as_of` are microseconds. `inputs` are
        columns that the query reads, null where no segment has them. Raises UnavailableError if the files cannot be
        read.
        """
        values = _values(query, start, end, as_of, parameters)

        def answer() -> pa.Table:
            self._define(query, start, end, as_of, inputs)
            return self._connection.sql(query, params=values).to_arrow_table()

        with self._lock:
            self._register(tables)
            return self._patiently(answer)

    def batches(
        self,
        query: str,
        *,
        start: datetime,
        end: datetime,
        as_of: datetime | None = None,
        tables: Mapping[str, pa.Table] | None = None,
        inputs: Sequence[str] = (),
        rows: int = 65_536,
        **parameters: object,
    ) -> Iterator[pa.RecordBatch]:
        """As `fetch`, but a batch at a time, so that memory does not grow with the rows."""
        values = _values(query, start, end, as_of, parameters)

        def begin() -> tuple[pa.RecordBatchReader, pa.RecordBatch | None]:
            self._define(query, start, end, as_of, inputs)
            reader = self._connection.sql(query, params=values).to_arrow_reader(rows)
            return reader, next(reader, None)

        with self._lock:
            self._register(tables)
            reader, first = self._patiently(begin)
            try:
                if first is not None:
                    yield first
                    yield from reader
            except duckdb.Error as error:
                raise _unreadable(error) from error

    def _register(self, tables: Mapping[str, pa.Table] | None) -> None:
        for name, table in (tables or {}).items():
            self._connection.register(name, table)

    def _patiently(self, work: Callable[[], _Result]) -> _Result:
        for attempt in range(_READS):
            try:
                return work()
            except duckdb.IOException as error:
                # A merger may remove a segment between the listing and the reading: list again.
                if attempt + 1 == _READS:
                    raise _unreadable(error) from error
            except duckdb.Error as error:
                raise _unreadable(error) from error
        raise AssertionError("unreachable")

    def _define(
        self, query: str, start: datetime, end: datetime, as_of: datetime | None, inputs: Sequence[str]
    ) -> None:
        first, last = start - ATTEMPT_SLACK, end + ATTEMPT_SLACK
        payloads = (
            payload_files(self.folder / "payloads", first, last)
            if self._held is None
            else self._held.payloads(first, last)
        )
        self._view(
            "stored_payloads",
            payloads,
            PAYLOAD_COLUMNS,
            inputs,
            with_outputs=bool(re.search(r"\boutputs\b", query)),
            optional=[name for name in OPTIONAL_COLUMNS if re.search(rf"\b{name}\b", query)],
        )
        if as_of is not None and re.search(r"\bstored_events\b", query):
            # Nothing is known before it happened, and what is looked for happened after the requests.
            events = dated_files(self.folder / "events", start - ATTEMPT_SLACK, as_of)
            self._view("posted_events", events, EVENT_COLUMNS)
            self._connection.execute(STORED_EVENTS.replace("$as_of", str(microseconds(as_of))))
        if as_of is not None:
            labels = (
                dated_files(self.folder / "labels", start - LABEL_SLACK, as_of)
                if self._held is None
                else self._held.labels(start - LABEL_SLACK, as_of)
            )
            self._view("stored_labels", labels, LABEL_COLUMNS)

    def _view(
        self,
        name: str,
        stored: list[str] | pa.Table | None,
        columns: pa.Schema,
        inputs: Sequence[str] = (),
        *,
        with_outputs: bool = False,
        optional: Sequence[str] = (),
    ) -> None:
        """`outputs` is one struct of all columns `output.<name>` that any of the files has."""
        present = set(columns.names)
        if isinstance(stored, pa.Table):
            source, present = f"held_{name}", set(stored.column_names)
            self._connection.register(source, stored)
        elif stored:
            paths = ", ".join(f"'{path.replace(chr(39), chr(39) * 2)}'" for path in stored)
            is_open = bool(inputs) or with_outputs or bool(optional)
            source = f"read_parquet([{paths}], hive_partitioning=false, union_by_name={is_open})"
            if is_open:
                described = self._connection.execute(f"describe select * from {source}").fetchall()  # noqa: S608
                present = {row[0] for row in described}
        else:
            source = f"no_{name}"
            self._connection.register(source, columns.empty_table())
        chosen = [
            _quoted(column) if column in present else f"null::varchar as {_quoted(column)}"
            for column in (*columns.names, *optional, *(INPUT_PREFIX + column for column in inputs))
        ]
        if with_outputs:
            found = sorted(column for column in present if column.startswith(OUTPUT_PREFIX))
            packed = [
                f"{_quoted(column.removeprefix(OUTPUT_PREFIX))} := {_quoted(column)}" for column in found
            ]
            chosen.append(f"struct_pack({', '.join(packed) or _NO_OUTPUT}) as outputs")
        view = f"create or replace temp view {name} as select {', '.join(chosen)} from {source}"  # noqa: S608
        self._connection.execute(view)


def _values(
    query: str, start: datetime, end: datetime, as_of: datetime | None, parameters: Mapping[str, object]
) -> dict[str, object]:
    values: dict[str, object] = {"start": microseconds(start), "end": microseconds(end), **parameters}
    if as_of is not None:
        values["as_of"] = microseconds(as_of)
    return {name: value for name, value in values.items() if re.search(rf"\${name}\b", query)}


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _unreadable(error: duckdb.Error) -> UnavailableError:
    logger.warning("stored payloads: %s: %s", type(error).__name__, error)
    if isinstance(error, duckdb.OutOfMemoryException):
        reason = "they need more memory than they may take"
    elif isinstance(error, duckdb.IOException | duckdb.InvalidInputException):
        reason = "a file of them cannot be read or is damaged; the log names it"
    else:
        reason = "they cannot be read; the log says more"
    return UnavailableError("stored payloads", reason)
