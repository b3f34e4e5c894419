"""What units did after their answers: outcomes by an online metric, as SQL over the events of a `PayloadReader`.

The monitor measures versions by it and experiments compare arms by it, so that both speak of the same numbers.
"""

from __future__ import annotations

from capstan.spec.online import OnlineMetric

UNIT_KEY = "coalesce('u' || unit, 'r' || request_id)"
"""SQL of a unit's key: a sticky key and a request's id never meet."""
ARM = "arm"
"""SQL of the arm that a request says it was assigned to."""
ANSWERER = "version"
"""The same where the gateway tells none and nobody answers for another version: an arm is a client's own word there."""
REQUEST_KEY = "'r' || request_id"

_AGGREGATES = {
    "Count": "count(happened.event_id)::double",
    # In whole numbers of 1e-12, so that no order of adding changes a bit.
    "Sum": "coalesce(sum(round(happened.value * 1e12)::hugeint), 0)::double / 1e12",
    "Mean": "sum(round(happened.value * 1e12)::hugeint)::double / count(happened.value) / 1e12",
    "Rate": "(count(happened.event_id) > 0)::int::double",
}


def key_sql(metric: OnlineMetric) -> str:
    """SQL of the key of the unit that a payload is of, outside experiments, which have units of their own."""
    return REQUEST_KEY if metric.per == "Request" else UNIT_KEY


def outcome_sql(metric: OnlineMetric) -> str:
    """SQL of one row for each unit: key, events, seconds (median from `first` to an event), outcome, clipped.

    Reads `stored_events` and two tables of the caller: `units` (key, first, until; an event counts from `first` on and
    before `until`, both in microseconds) and `unit_requests` (key, request_id, entity_id: the answered requests that
    count for a unit, once or several times). An event that names a `unit` is of that key; one that names a request or
    an id is of every unit with such a request. The outcome is null where a Mean has no events; `clipped` where the
    metric's cap bounded it. No order of rows changes a bit.
    """
    named = f"""
      select key, event_id, event_time, value from found join unit_requests using (request_id)
      where found.unit is null
      union
      select key, event_id, event_time, value from found join unit_requests using (entity_id)
      where found.unit is null and found.request_id is null
      {"" if metric.per == "Request" else _BY_UNIT}"""  # noqa: S608 - texts of this module alone
    plain = _AGGREGATES[metric.aggregate]
    outcome, clipped = plain, "false"
    if metric.cap is not None:
        outcome = f"greatest({-metric.cap!r}::double, least({metric.cap!r}::double, {plain}))"
        clipped = f"coalesce(abs({plain}) > {metric.cap!r}::double, false)"
    return f"""
    with found as (
      select event_id, entity_id, request_id, unit, epoch_us(event_time) as event_time, value from stored_events
      where event = '{metric.event}' and not retracted
    ), happened as ({named})
    select units.key as key, count(happened.event_id) as events,
      median(happened.event_time - units.first) / 1e6 as seconds,
      {_null_without_events(metric, outcome)} as outcome, {clipped} as clipped
    from units left join happened on happened.key = units.key
      and happened.event_time >= units.first and happened.event_time < units.until
    group by units.key"""  # noqa: S608 - the name of an event has no quotes


_BY_UNIT = """
      union
      select 'u' || unit, event_id, event_time, value from found where unit is not null"""


def _null_without_events(metric: OnlineMetric, outcome: str) -> str:
    if metric.aggregate != "Mean":
        return outcome
    # `least` and `greatest` leave out what is null, so that a unit without events would get the cap.
    return f"case when count(happened.value) > 0 then {outcome} end"
