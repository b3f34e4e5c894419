"""Outcomes of units by an online metric: what they did after the requests that assigned them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.recording.arm_tally import Units
from capstan.recording.outcomes import ARM, UNIT_KEY, outcome_sql
from capstan.spec.online import OnlineMetric

LARGEST_PART = 500_000
"""Payloads of units that are joined with their events at once; more would not fit into a reader's memory."""
PAYLOADS = """
select count(*) as payloads from stored_payloads
where role not in ('shadow', 'batch') and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
"""
_UNITS = """
with asked as (
  select {key} as key, request_id, entity_id, status, nonfinite, epoch_us(event_time) as time,
    list_position($versions, {arm}) - 1 as arm{shares}
  from stored_payloads
  where role not in ('shadow', 'batch') and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
    and hash({key}) % $parts = $part
    and case when epoch_us(event_time) < $since then unit is not null else list_contains($versions, {arm}) end
), assigned as (
  select key, time as first, arm{shares},
    min(arm) over (partition by key) <> max(arm) over (partition by key) as crossed
  from asked where time >= $since
  qualify row_number() over (partition by key order by time, request_id, arm) = 1
), answered as (
  select distinct key, request_id, entity_id, time < $since as is_past from asked
  where status = 200 and not nonfinite
), during as (
  with units as (select key, first, first + $window as until from assigned),
    unit_requests as (select key, request_id, entity_id from answered where not is_past)
  select key, outcome from ({outcome})
), past as (
  with units as (
      select distinct key, $start as first, $since as until from answered where is_past and key in (
        select key from assigned)
    ), unit_requests as (select key, request_id, entity_id from answered where is_past)
  select key, outcome from ({outcome})
)
select first, arm, crossed, during.outcome as outcome, past.outcome as covariate{shares}
from assigned join during using (key) left join past using (key)
"""


def units_sql(metric: OnlineMetric, *, by_shares: bool = False, arm: str = ARM) -> str:
    """SQL of one row for each unit of a part, in any order; the metric's own cap is left to the tally."""
    plain = metric.model_copy(update={"cap": None})
    return _UNITS.format(
        key=UNIT_KEY, arm=arm, outcome=outcome_sql(plain), shares=", shares" if by_shares else ""
    )


def units_by_events(batches: Iterable[pa.RecordBatch]) -> Iterator[Units]:
    """The units of the rows of `units_sql`."""
    for batch in batches:
        outcome, covariate = (
            batch[name].fill_null(np.nan).to_numpy(zero_copy_only=False) for name in ("outcome", "covariate")
        )
        yield Units(
            first=batch["first"].to_numpy(zero_copy_only=False),
            arm=batch["arm"].cast(pa.int64()).to_numpy(zero_copy_only=False),
            crossed=batch["crossed"].to_numpy(zero_copy_only=False),
            outcome=outcome,
            covariate=covariate,
            shares=shares_column(batch),
        )


def shares_column(batch: pa.RecordBatch) -> npt.NDArray[np.object_] | None:
    """The texts, empty where a request says no shares; None where they were not asked for."""
    if "shares" not in batch.schema.names:
        return None
    texts: npt.NDArray[np.object_] = batch["shares"].fill_null("").to_numpy(zero_copy_only=False)
    return texts
