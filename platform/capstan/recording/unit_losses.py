"""Outcomes of units by a loss of the task: rows come unit by unit, the metric judges, one unit is open at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.recording.arm_tally import Units
from capstan.recording.exact_sums import ExactSums, Floats, Indices
from capstan.recording.judged import judged_groups, truth_of
from capstan.recording.outcomes import ARM, UNIT_KEY
from capstan.recording.outputs import predictions_of
from capstan.tasks import Metric, Task
from capstan.tasks.metric import first_of_each, numbered

Mask = npt.NDArray[np.bool_]
_NEVER = 2**62

_ROWS = """
with asked as (
  select UNIT_KEY as key, request_id, row, attempt, ASSIGNED as arm, entity_id, outputs, epoch_us(event_time) as time,
    status = 200 and not nonfinite as is_sound SHARES
  from stored_payloads
  where role not in ('shadow', 'batch') and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
    and case when epoch_us(event_time) < $since then unit is not null else list_contains($versions, ASSIGNED) end
), retried as (
  select request_id, row, max(attempt) filter (is_sound) as last,
    min(min(time)) over (partition by request_id) as time
  from asked where request_id in (select request_id from asked where attempt > 1) group by request_id, row
), known as (
  select key, request_id, row, arm, coalesce(retried.time, asked.time) as time,
    is_sound and (retried.last is null or attempt = retried.last) as counts,
    case when counts then outputs end as outputs,
    case when counts then request_id end as labelled_request,
    case when counts then entity_id end as labelled_entity SHARES
  from asked left join retried using (request_id, row)
), told as (
  select entity_id, request_id, {'at': epoch_us(available_at), 'none': no_label, 'value': LABEL} as label
  from stored_labels where epoch_us(available_at) <= $as_of and (no_label or LABEL is not null)
), labelled as (
  select known.*, coalesce(by_request.label, by_entity.label) as found
  from known
  left join (select * from told where request_id is not null) as by_request
    on by_request.request_id = labelled_request
  left join (select * from told where request_id is null) as by_entity on by_entity.entity_id = labelled_entity
)
select key, time, request_id, row, counts, outputs, coalesce(list_position($versions, arm), 0)::bigint - 1 as arm,
  found is not null and found.none as is_without, case when not found.none then found.value end as label SHARES
from labelled
order by key, time, request_id, row, counts, found nulls first
"""
"""One row for each row, attempt, label and delivery; of those of one request's row the last counts.

A retry is of the moment of the first attempt, so that waiting for an arm that fails moves no answer out of a window. A
request before `since` is of no arm.
"""


def rows_sql(task: Task, *, by_shares: bool = False, arm: str = ARM) -> str:
    """SQL of the rows of all units, one unit after another."""
    query = _ROWS.replace("UNIT_KEY", UNIT_KEY).replace("ASSIGNED", arm).replace("LABEL", task.label.column)
    return query.replace(" SHARES", ", shares" if by_shares else "")


@dataclass
class _Open:
    """What is known of the units of a batch so far; all arrays have an element for each."""

    first: Indices
    arm: Indices
    crossed: Mask
    count: Indices
    losses: ExactSums
    past_count: Indices
    past: ExactSums
    shares: npt.NDArray[np.object_] | None
    """None: they are not asked for."""

    @classmethod
    def units(cls, number: int, *, by_shares: bool) -> _Open:
        return cls(
            first=np.full(number, _NEVER, dtype=np.int64),
            arm=np.full(number, -1, dtype=np.int64),
            crossed=np.zeros(number, dtype=np.bool_),
            count=np.zeros(number, dtype=np.int64),
            losses=ExactSums(number),
            past_count=np.zeros(number, dtype=np.int64),
            past=ExactSums(number),
            shares=np.full(number, "", dtype=np.object_) if by_shares else None,
        )

    def go_on(self, last: _Open) -> None:
        """The first unit is the last one of the batch before."""
        for name in ("first", "arm", "crossed", "count", "past_count"):
            getattr(self, name)[0] = getattr(last, name)[-1]
        self.losses.pieces[:, 0] = last.losses.pieces[:, -1]
        self.past.pieces[:, 0] = last.past.pieces[:, -1]
        if self.shares is not None and last.shares is not None:
            self.shares[0] = last.shares[-1]

    def finished(self, units: slice) -> Units:
        """Those of the slice that were assigned to an arm."""
        assigned = self.arm[units] >= 0
        return Units(
            first=self.first[units][assigned],
            arm=self.arm[units][assigned],
            crossed=self.crossed[units][assigned],
            outcome=_means(self.losses, self.count)[units][assigned],
            covariate=_means(self.past, self.past_count)[units][assigned],
            shares=None if self.shares is None else self.shares[units][assigned],
        )


def units_by_loss(
    batches: Iterable[pa.RecordBatch], task: Task, metric: Metric, *, since: int, window: int
) -> Iterator[Units]:
    """Units of the rows of `rows_sql` with the means of their losses; `since` and `window` are microseconds.

    A request counts in the window of its unit if it is at most `window` after the first; one of the first moment always
    does. Those before `since` make the covariate.
    """
    last: tuple[str, _Open] | None = None
    for table in _whole_requests(batches):
        key = table["key"]
        unit = np.cumsum(_changes(key)) - 1
        found = _Open.units(int(unit[-1]) + 1, by_shares="shares" in table.column_names)
        if last is not None:
            if last[0] == key[0].as_py():
                found.go_on(last[1])
            else:
                yield last[1].finished(slice(-1, None))
        _assign(found, unit, table, since)
        place, losses = _losses(table, task, metric)
        of, time = unit[place], table["time"].to_numpy()[place]
        is_past = time < since
        during = ~is_past & (time - found.first[of] <= window)
        for mask, sums, count in (
            (during, found.losses, found.count),
            (is_past, found.past, found.past_count),
        ):
            sums.add(of[mask], losses[mask])
            count += np.bincount(of[mask], minlength=len(count))
        yield found.finished(slice(0, -1))
        last = key[-1].as_py(), found
    if last is not None:
        yield last[1].finished(slice(-1, None))


def _assign(found: _Open, unit: Indices, table: pa.Table, since: int) -> None:
    """The first request since the beginning assigns the unit; a later one in another arm has crossed."""
    time, arm = table["time"].to_numpy(), table["arm"].to_numpy()
    inside = np.flatnonzero((time >= since) & (arm >= 0))
    units, position = np.unique(unit[inside], return_index=True)
    is_new = found.arm[units] < 0
    firsts = inside[position[is_new]]
    found.first[units[is_new]] = time[firsts]
    found.arm[units[is_new]] = arm[firsts]
    if found.shares is not None:
        texts = table["shares"].fill_null("").to_numpy(zero_copy_only=False)
        found.shares[units[is_new]] = texts[firsts]
    met = unit[inside]
    found.crossed[met[arm[inside] != found.arm[met]]] = True


def _losses(table: pa.Table, task: Task, metric: Metric) -> tuple[Indices, Floats]:
    """Positions of rows, each that of a labelled row or the first of a group, and their losses."""
    assert metric.losses is not None
    label, outputs = table["label"].combine_chunks(), table["outputs"].combine_chunks()
    used = label.is_valid().to_numpy(zero_copy_only=False)
    groups, place = None, np.flatnonzero(used)
    if metric.facts.unit == "group":
        groups = np.cumsum(_changes(table["key"], table["time"], table["request_id"])) - 1
        is_without = table["is_without"].to_numpy()
        units, _ = judged_groups(metric, task, label, is_without, groups)
        rows = table["row"].to_numpy()
        largest = np.zeros(len(units), dtype=np.int64)
        np.maximum.at(largest, groups, rows)
        units &= np.bincount(groups) == largest + 1
        used &= units[groups]
        place = first_of_each(groups)[units]
        groups = numbered(groups[used])
    if not used.any():
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    predictions = predictions_of(outputs.filter(pa.array(used)), task)
    return place, metric.losses(truth_of(task, label, used), predictions, groups)


def _whole_requests(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows with one of each that counts; a request is never cut."""
    left: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if left is not None:
            table = pa.concat_tables([left, table])
        table = table.combine_chunks()
        starts = np.flatnonzero(_changes(table["key"], table["time"], table["request_id"]))
        whole, left = table.slice(0, int(starts[-1])), table.slice(int(starts[-1]))
        if whole.num_rows:
            yield _last_of_each(whole)
    if left is not None:
        yield _last_of_each(left)


def _last_of_each(table: pa.Table) -> pa.Table:
    begins = _changes(table["key"], table["time"], table["request_id"], table["row"])
    return table.filter(pa.array(np.append(begins[1:], True))).combine_chunks()


def _changes(*columns: pa.ChunkedArray) -> Mask:
    """Rows that differ from the one before in any of the columns; the first does."""
    found = np.ones(len(columns[0]), dtype=np.bool_)
    differs: Any = np.zeros(len(found) - 1, dtype=np.bool_)
    for column in columns:
        differs |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    found[1:] = differs
    return found


def _means(sums: ExactSums, count: Indices) -> Floats:
    means: Floats = np.divide(sums.totals(), count, out=np.full(len(count), np.nan), where=count > 0)
    return means
