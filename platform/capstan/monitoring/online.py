"""Online metrics of every version that answered lately, from events: value, coverage and delay.

A unit counts for the version that answered its first request. The requests reach back over a monitoring window and the
time in which events are awaited besides, so that a whole window of units is complete; a unit whose time is not over
lowers the coverage and touches no value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from capstan.domain.versions import VersionName
from capstan.domain.watching import OnlineStanding
from capstan.recording.outcomes import key_sql, outcome_sql
from capstan.recording.reading import PayloadReader
from capstan.spec import MLSystem
from capstan.spec.online import OnlineMetric

LONGEST_REST = timedelta(hours=1)
_RESTS = 20
"""Measurements within one monitoring window."""
_ANSWERED = "role not in ('shadow', 'batch') and status = 200 and not nonfinite"

_BY_VERSION = """
with answered as (
  select request_id, max({'attempt': attempt, 'version': version, 'time': epoch_us(event_time), 'unit': unit}) as answer
  from stored_payloads where ANSWERED and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
  group by request_id
), asked as (
  select request_id, answer.version as version, answer.time as time, answer.unit as unit from answered
), keyed as (
  select KEY as key, request_id, version, time from asked
), firsts as (
  select key, min({'time': time, 'request': request_id, 'version': version}) as first from keyed group by key
), units as (
  select key, first.time as first, first.time + $window as until, first.version as version,
    first.time + $closes_after <= $end as is_closed
  from firsts
), unit_requests as (
  select distinct key, request_id, entity_id from keyed join stored_payloads using (request_id) where ANSWERED
), outcomes as (OUTCOMES)
select version, count(*) as assigned, count(*) filter (is_closed) as closed,
  count(outcome) filter (is_closed) as units,
  sum(round(outcome * 1e12)::hugeint) filter (is_closed) as total,
  stddev_samp(outcome) filter (is_closed) as deviation, median(seconds) filter (is_closed) as seconds
from units join outcomes using (key) group by version
"""


def rest(system: MLSystem) -> timedelta:
    """Time for which measured values are good enough."""
    return min(LONGEST_REST, system.spec.monitoring.window.duration / _RESTS)


def measure_online(reader: PayloadReader, system: MLSystem, now: datetime) -> tuple[OnlineStanding, ...]:
    """Of each online metric and each version, metrics in the order of the file; raises UnavailableError."""
    duration = system.spec.monitoring.window.duration
    return tuple(
        standing
        for metric in system.spec.evaluation.online
        for standing in _of_metric(reader, metric, now - metric.closes_after - duration, now)
    )


def _of_metric(
    reader: PayloadReader, metric: OnlineMetric, start: datetime, end: datetime
) -> list[OnlineStanding]:
    query = (
        _BY_VERSION.replace("ANSWERED", _ANSWERED)
        .replace("KEY", key_sql(metric))
        .replace("OUTCOMES", outcome_sql(metric))
    )
    rows = reader.fetch(
        query,
        start=start,
        end=end,
        as_of=end,
        window=_microseconds(metric.window),
        closes_after=_microseconds(metric.closes_after),
    ).to_pylist()
    return [_standing(metric, row, start, end) for row in sorted(rows, key=lambda row: str(row["version"]))]


def _standing(metric: OnlineMetric, row: Mapping[str, Any], start: datetime, end: datetime) -> OnlineStanding:
    units, deviation, seconds = int(row["units"]), row["deviation"], row["seconds"]
    error = deviation / math.sqrt(units) if deviation is not None and units > 1 else None
    return OnlineStanding(
        metric=metric.name,
        title=metric.facts.title,
        better=metric.better,
        version=VersionName(row["version"]),
        value=int(row["total"]) / units / 1e12 if units else None,
        # DuckDB adds in no fixed order here.
        standard_error=None if error is None else float(f"{error:.6g}"),
        units=units,
        closed=int(row["closed"]),
        assigned=int(row["assigned"]),
        delay=None if seconds is None else timedelta(seconds=seconds),
        start=start,
        end=end,
    )


def _microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
