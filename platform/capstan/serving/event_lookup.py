"""Completes the rows of a request by the features that are made of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from capstan.errors import InvalidRequestError
from capstan.features.values import ColumnType, moment_of_text
from capstan.online.lookup import AskedEvents, look_up, names_of, values_of
from capstan.ports.online_events import FindsEvents
from capstan.serving.familiarity import Mark
from capstan.serving.manifest import Manifest
from capstan.serving.schema import MAX_ROWS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StaleEventsError(Exception):
    """The events of a row are stale, and the file says `stale: Refuse`."""

    def __init__(self, error: InvalidRequestError) -> None:
        self.error = error
        super().__init__(str(error))


class EventLookup:
    """Looks up what a row does not carry itself. A row that carries a feature of events keeps it."""

    def __init__(self, manifest: Manifest, store: FindsEvents | None, count: Callable[[str], None]) -> None:
        """`store` None: events are always stale; `count` gets the table of each row that is."""
        self._store, self._count = store, count
        self._events = manifest.events
        self._time = manifest.keys.get("time")
        self._zone = manifest.time_zone
        self._written = None if self._time is None else manifest.written.get(self._time)
        self._names = names_of(manifest.events)
        self._texts = {
            column.name
            for column in manifest.columns
            if not column.numeric and column.type is not ColumnType.NUMBER
        }

    def complete(self, parsed: Any, *, v2: bool, now: float) -> dict[int, list[Mark]]:
        """Add features to the rows of a body in place; gives marks of what is stale, by row.

        `now`: seconds since 1970. Raises InvalidRequestError for a row that says not whose events count, and
        StaleEventsError. What is no row is left to the schema.
        """
        if v2:
            return self._complete_tensors(parsed, now)
        if type(parsed) is not dict:
            return {}
        rows = parsed["rows"] if type(parsed.get("rows")) is list else [parsed]
        if len(rows) > MAX_ROWS:
            # The schema refuses them; so many look-ups would keep all others waiting.
            return {}
        marks = {}
        for index, row in enumerate(rows):
            where = "" if row is parsed else f"rows[{index}]."
            if type(row) is dict and (found := self._complete(row, where, now)):
                marks[index] = found
        return marks

    def _complete_tensors(self, parsed: Any, now: float) -> dict[int, list[Mark]]:
        try:
            tensors = {tensor["name"]: list(tensor["data"]) for tensor in parsed["inputs"]}
            count = len(next(iter(tensors.values())))
            if count > MAX_ROWS:
                return {}
            rows: list[dict[str, Any]] = [
                {name: values[index] for name, values in tensors.items()} for index in range(count)
            ]
        except (TypeError, KeyError, IndexError, StopIteration):
            return {}
        marks = {}
        for index, row in enumerate(rows):
            if found := self._complete(row, f"rows[{index}]." if count > 1 else "", now):
                marks[index] = found
        for name in self._names:
            if name not in tensors and all(name in row for row in rows):
                kind = "BYTES" if name in self._texts else "FP64"
                parsed["inputs"].append(
                    {"name": name, "shape": [count], "datatype": kind, "data": [row[name] for row in rows]}
                )
        return marks

    def _complete(self, row: dict[str, Any], where: str, now: float) -> list[Mark]:
        marks: list[Mark] = []
        for events in self._events:
            lacking = [one.name for one in events.aggregates if one.name not in row]
            if lacking:
                marks += self._look_up(row, events, lacking, where, now)
        return marks

    def _look_up(
        self, row: dict[str, Any], events: AskedEvents, lacking: Sequence[str], where: str, now: float
    ) -> list[Mark]:
        if events.entity not in row:
            rule = (
                f"is missing, and {lacking[0]!r} is looked up by it; send it, or null where it is not known"
            )
            raise InvalidRequestError(f"{where}{events.entity}", None, rule)
        key = row[events.entity]
        if key is not None and type(key) not in (str, int):
            return []
        entity = None if key in (None, "") else str(key)
        asked = int(now * 1e6)
        if self._store is None:
            late, values = "that nobody looks up here", dict.fromkeys(lacking)
        else:
            looked = look_up(self._store, events, entity, moment=self._moment(row, asked), now=asked)
            late, values = looked.late, dict(values_of(looked, events.stale))
        if late:
            self._count(events.table)
            if events.stale == "Refuse":
                rule = f"is of events {late}; load them, or write `stale: Missing` or `Use`"
                raise StaleEventsError(InvalidRequestError(f"{where}{lacking[0]}", None, rule))
        row.update({name: values[name] for name in lacking})
        if not late:
            return []
        return [{"field": name, "value": values[name], "rule": f"is of events {late}"} for name in lacking]

    def _moment(self, row: Mapping[str, Any], now: int) -> int:
        """That of the row, where it says one; what is none is refused by the schema."""
        told = None if self._time is None else row.get(self._time)
        if type(told) is not str:
            return now
        found = moment_of_text(told.strip(), self._zone, self._written)
        return now if found is None else (found - _EPOCH) // timedelta(microseconds=1)
