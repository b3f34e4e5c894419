"""Which ranker users prefer, read from interleaved lists and from the clicks on their items.

The combiner has logged each list row by row, with who gave the item and where each ranker had it; the champion's
payloads of the same requests name the items. A list that came too late, so that the gateway asked the champion once
more, was seen by nobody. A click names the item and the request, or the item alone: then it is of
the latest answered request before it that held the item, and counts if that one was interleaved. A unit counts once its
window and the delay of clicks are over, on the day of its first list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from capstan.domain.steps.questions import Interleaving
from capstan.domain.verdicts.interleaving import (
    Credit,
    Method,
    Ranker,
    balanced_credit,
    team_draft_credit,
    unit_outcome,
)
from capstan.domain.verdicts.preference import ListClicks, PreferenceCounts, PreferenceDay, PreferenceEvidence
from capstan.domain.versions import VersionName
from capstan.ports.combining import COMBINER
from capstan.recording.lost import lost_payloads
from capstan.recording.moments import from_microseconds, microseconds
from capstan.recording.outcomes import UNIT_KEY
from capstan.recording.reading import PayloadReader, day_starts

_TOLD = frozenset({"rank", "team", "championRank", "challengerRank", "champion", "challenger", "method"})
_COUNTED = """
select count(distinct {'boot': boot, 'sequence': sequence}) as stored,
  count(distinct request_id) filter (status <> 200) as alone
from stored_payloads
where version = $combiner and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
"""
_OUTPUTS = "select outputs from stored_payloads where version = $combiner limit 1"
_LISTS = f"""
with answered as (
  select request_id, max(attempt) as attempt from stored_payloads
  where role not in ('shadow', 'batch') and status = 200 and not nonfinite
    and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
  group by all
), made as (
  select request_id, row, max({{'attempt': attempt, 'time': epoch_us(event_time), 'key': {UNIT_KEY},
                                'outputs': outputs}}) as list
  from stored_payloads
  where version = $combiner and status = 200 and outputs.champion = $champion and outputs.challenger = $challenger
    and outputs.method = $method and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
  group by request_id, row
), lists as (
  select made.* from made join answered using (request_id) where list.attempt >= answered.attempt
), firsts as (
  select list.key as key, min(list.time) as first from lists group by all
), units as (
  select firsts.*, blocks.start as day, first + $window as until, first + $closes <= $as_of as closed
  from firsts asof join blocks on firsts.first >= blocks.start
)"""  # noqa: S608 - texts of this package alone
_UNITS = f"""{_LISTS}
select units.day as day, count(distinct units.key) filter (closed) as units,
  count(distinct units.key) filter (not closed) as waiting, count(distinct lists.request_id) as requests
from units join lists on lists.list.key = units.key and lists.list.time < units.until
group by units.day order by units.day
"""  # noqa: S608
_CLICKS = f"""{_LISTS}, held as (
  select request_id, row, entity_id, min(epoch_us(event_time)) as time from stored_payloads
  where role not in ('shadow', 'batch') and status = 200 and not nonfinite and entity_id is not null
    and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
  group by all
), clicks as (
  select event_id, request_id, entity_id, epoch_us(event_time) as time from stored_events
  where event = $event and not retracted and unit is null and entity_id is not null
), placed as (
  select held.request_id, held.row, clicks.time from clicks join held using (request_id, entity_id)
  where clicks.request_id is not null
  union all
  select held.request_id, held.row, clicks.time
  from (select * from clicks where request_id is null) as clicks
  asof join held on clicks.entity_id = held.entity_id and clicks.time >= held.time
)
select distinct units.day as day, units.key as key, request_id, row, list.outputs.rank as rank,
  list.outputs.team as team, list.outputs.championRank as champion_rank,
  list.outputs.challengerRank as challenger_rank
from placed join lists using (request_id, row) join units on units.key = list.key
where units.closed and lists.list.time < units.until and placed.time >= lists.list.time
  and placed.time < units.until
order by day, key, request_id, row
"""  # noqa: S608


@dataclass(frozen=True)
class Preferences:
    """Evidence from interleaved lists in the folder of one system."""

    reader: PayloadReader
    zone: ZoneInfo

    def preferred(
        self,
        champion: VersionName,
        challenger: VersionName,
        asked: Interleaving,
        *,
        since: datetime,
        as_of: datetime,
    ) -> PreferenceEvidence:
        """Units with their first list of both in [since, as_of), as known at `as_of`; raises UnavailableError."""
        if as_of <= since:
            return PreferenceEvidence()
        [counted] = self.reader.fetch(_COUNTED, start=since, end=as_of, combiner=COMBINER).to_pylist()
        lost = lost_payloads(self.reader.folder, (champion, challenger, COMBINER), since, as_of)
        lost_share = lost / (lost + counted["stored"]) if lost else 0.0
        outputs = self.reader.fetch(_OUTPUTS, start=since, end=as_of, combiner=COMBINER)["outputs"].type
        if not _TOLD.issubset(field.name for field in outputs):
            # The files hold no list, since the combiner has answered none.
            return PreferenceEvidence(alone=counted["alone"], lost_share=lost_share)
        whole: Mapping[str, Any] = {
            "start": since,
            "end": as_of,
            "as_of": as_of,
            "tables": {
                "blocks": pa.table(
                    {"start": [microseconds(one) for one in day_starts(since, as_of, self.zone)]}
                )
            },
            "combiner": COMBINER,
            "champion": champion,
            "challenger": challenger,
            "method": str(asked.method),
            "window": int(asked.window.total_seconds() * 1e6),
            "closes": int((asked.window + asked.maximum_delay).total_seconds() * 1e6),
        }
        days = self.reader.fetch(_UNITS, **whole).to_pylist()
        clicked = self.reader.batches(_CLICKS, **whole, event=asked.event)
        decided, clicks = _outcomes(asked.method, (row for batch in clicked for row in batch.to_pylist()))
        return PreferenceEvidence(
            days=tuple(
                _day(row, decided.get(row["day"], PreferenceCounts())) for row in days if row["units"]
            ),
            waiting=sum(row["waiting"] for row in days),
            requests=sum(row["requests"] for row in days),
            alone=counted["alone"],
            lost_share=lost_share,
            clicked=clicks,
        )


def _outcomes(
    method: Method, clicked: Iterable[Mapping[str, Any]]
) -> tuple[dict[int, PreferenceCounts], ListClicks]:
    """By day the units that have clicks, and all clicks; rows come unit by unit, and request by request."""
    found: dict[int, PreferenceCounts] = defaultdict(PreferenceCounts)
    clicks = ListClicks()
    for day, requests in _by_unit(clicked):
        outcome = unit_outcome(_credit(method, rows) for rows in requests.values())
        found[day] += PreferenceCounts(int(outcome > 0), int(outcome < 0), int(outcome == 0))
        clicks = clicks.of_unit(_places(row) for rows in requests.values() for row in rows)
    return found, clicks


def _by_unit(
    clicked: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[int, dict[str, list[Mapping[str, Any]]]]]:
    """Day and clicked rows by request of each unit."""
    unit: tuple[int, str] | None = None
    requests: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in clicked:
        if (row["day"], row["key"]) != unit:
            if unit is not None:
                yield unit[0], requests
            unit, requests = (row["day"], row["key"]), defaultdict(list)
        requests[row["request_id"]].append(row)
    if unit is not None:
        yield unit[0], requests


def _credit(method: Method, rows: Iterable[Mapping[str, Any]]) -> Credit:
    if method is Method.TEAM_DRAFT:
        return team_draft_credit(Ranker(row["team"]) for row in rows)
    return balanced_credit(_places(row) for row in rows)


def _places(row: Mapping[str, Any]) -> tuple[int, int, int]:
    return int(row["rank"]), int(row["champion_rank"]), int(row["challenger_rank"])


def _day(row: Mapping[str, Any], clicked: PreferenceCounts) -> PreferenceDay:
    without = PreferenceCounts(ties=row["units"] - clicked.units)
    return PreferenceDay(from_microseconds(row["day"]), clicked + without)
