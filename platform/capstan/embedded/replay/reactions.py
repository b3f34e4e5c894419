"""What users do with the answers of a replay: events by a query of the file over what they were answered.

At each boundary the query runs over the answers of the last stretch again, and those of its rows are posted that happen
between the two boundaries. Ids are made from content, so that a replay which was killed posts nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from capstan.data.sql_errors import in_words
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.errors import InvalidDataError
from capstan.recording.reading import LISTS, PayloadReader
from capstan.spec import MLSystem

_MEMORY = 512 * 2**20
_COLUMNS = ("event_id", "event", "id", "request_id", "unit", "value", "at")
"""Of the query's rows; `event` and `at` must be there, and one of those that say whose the event is."""
_NEEDED = ("event", "at")
_SUBJECTS = ("id", "request_id", "unit")

_ANSWERS = f"""
select answer.entity as id, request_id, answer.unit as unit, answer.arm as arm, answer.version as version,
  make_timestamptz(answer.time) as time,
  case when list.attempt >= answer.attempt then list.outputs else answer.outputs end as outputs
from (
  select request_id, row, max({{'attempt': attempt, 'version': version, 'outputs': outputs, 'entity': entity_id,
                               'unit': unit, 'arm': arm, 'time': epoch_us(event_time)}}) as answer
  from stored_payloads
  where role <> 'shadow' and status = 200 and not nonfinite
    and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
  group by request_id, row
) left join ({LISTS}) using (request_id, row)
order by answer.time, request_id, row
"""  # noqa: S608 - texts of this package alone


class Reactions:
    """Of the users of one replay."""

    def __init__(self, system: MLSystem, traffic: RecordedTraffic, folder: Path) -> None:
        """`folder` is the system's, with `payloads/`; the file has `replay.events`."""
        assert system.spec.replay is not None
        assert system.spec.replay.events is not None
        self._system = system
        self._events = system.spec.replay.events
        self._traffic = traffic
        self._reader = PayloadReader(folder)

    def close(self) -> None:
        self._reader.close()

    def between(self, start: datetime, end: datetime) -> list[dict[str, object]]:
        """Events that happen in (start, end], as a client posts them; all answers up to `end` are stored.

        Raises InvalidDataError where the query fails, UnavailableError where payloads cannot be read.
        """
        since = start - self._events.within
        answers = self._reader.fetch(_ANSWERS, start=since, end=end)
        if not answers.num_rows:
            return []
        cases = self._cases(since, end)
        zone = self._system.spec.data.time_zone
        with workspace(threads=1, memory=_MEMORY, zone=zone) as connection:
            connection.register("stored", answers)
            connection.register("cases", cases)
            try:
                rows = self._ask(connection)
            except duckdb.Error as error:
                raise InvalidDataError(f"replay.events.query: {in_words(error)}") from error
        first, last = _microseconds(start), _microseconds(end)
        events = [_event(row) for row in rows if row["at"] is not None and first < row["at"] <= last]
        return list({str(event["eventId"]): event for event in events}.values())

    def _ask(self, connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
        # The file's query reads what it is given, and no files.
        connection.execute("set enable_external_access = false")
        connection.execute("create view answers as select * exclude (outputs), outputs.* from stored")
        query = self._events.query.strip().rstrip(";")
        names = [row[0] for row in connection.execute(f"describe {query}").fetchall()]
        missing = [name for name in _NEEDED if name not in names]
        if missing or not set(names) & set(_SUBJECTS):
            wanted = missing[0] if missing else ", ".join(_SUBJECTS)
            raise InvalidDataError(
                f"replay.events.query: gives no column {wanted}; select event, at, one of id, request_id and unit, "
                "and value where a metric needs one"
            )
        items = ", ".join(
            _as_written(name) if name in names else f"null as {quote(name)}" for name in _COLUMNS
        )
        chosen = f"select {items} from ({query}\n) where event is not null"  # noqa: S608 - the person's own query
        table = connection.sql(chosen).to_arrow_table()
        return sorted(table.to_pylist(), key=lambda row: (row["at"] or 0, orjson.dumps(row)))

    def _cases(self, start: datetime, end: datetime) -> pa.Table:
        """The recorded rows of the requests in [start, end) with their labels."""
        traffic, label = self._traffic, self._system.spec.data.label.column
        requests = traffic.requests_between(start, end)
        rows: list[Mapping[str, Any]] = []
        for request in requests:
            first, last = int(traffic.cases[request]), int(traffic.cases[request + 1])
            body = orjson.loads(traffic.bodies[request])
            written = [body] if last - first == 1 else body["rows"]
            rows += [
                {**row, label: traffic.labels[case]}
                for case, row in zip(range(first, last), written, strict=True)
            ]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _as_written(name: str) -> str:
    if name == "at":
        return 'epoch_us("at"::timestamptz) as "at"'
    return "value::double as value" if name == "value" else f"{quote(name)}::varchar as {quote(name)}"


def _column(values: Sequence[Any]) -> pa.Array:
    """Booleans and numbers as they are, anything else as text."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in present):
        return pa.array(values, pa.bool_())
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return pa.array(values, pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _event(row: Mapping[str, Any]) -> dict[str, object]:
    at = datetime.fromtimestamp(row["at"] / 1e6, tz=UTC).isoformat()
    written = {
        "event": row["event"], "id": row["id"], "requestId": row["request_id"], "unit": row["unit"],
        "value": row["value"], "at": at, "availableAt": at,
    }  # fmt: skip
    event: dict[str, object] = {name: value for name, value in written.items() if value is not None}
    content = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    event["eventId"] = row["event_id"] or hashlib.blake2b(content, digest_size=16).hexdigest()
    return event


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
