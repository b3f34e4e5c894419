"""Paired losses of champion and challenger in closed blocks, read from stored payloads and labels.

A pair is a request row that the champion answered (its last answered attempt) and for which the challenger's
mirrored prediction is stored; for a metric of groups, all rows of one request, and only if every one of them is stored
for both versions. A group has a label when each of its rows has one or never will, and at least one has. A group that
the metric does not judge counts as one that can have no label. A block, one day in the system's zone or so many
requests in a row,
closes when 98 % of its pairs that can have a label have one, or at its end plus the maximum label delay; closed blocks
are told in event order up to the first open one.

SQL pairs, the metric judges: aligned rows come in batches. Sums are of whole numbers of 1e-12, so that no order of
files or rows changes a bit of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capstan.domain.verdicts.evidence import CLOSED_COVERAGE, LossBlock, PairedEvidence
from capstan.domain.verdicts.quality import OWN_LOSS
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.recording.judged import any_of, judged_groups, truth_of
from capstan.recording.lost import lost_payloads
from capstan.recording.moments import from_microseconds, microseconds
from capstan.recording.outputs import predictions_of
from capstan.recording.reading import PayloadReader, day_starts, labels_by
from capstan.spec import MLSystem
from capstan.tasks import Metric, Predictions, Task, task_of
from capstan.tasks.metric import Groups, first_of_each, numbered

_UNIT = 1e-12

ANSWERED_BY_BOTH = """
champion as (
  select request_id, row, max({'attempt': attempt, 'outputs': outputs, 'entity': entity_id,
                               'time': epoch_us(event_time) INPUTS}) as answer
  from stored_payloads
  where version = $champion and role not in ('shadow', 'batch') and status = 200 and not nonfinite
    and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
  group by request_id, row
), challenger as (
  select request_id, row, max({'attempt': attempt, 'outputs': outputs}) as answer
  from stored_payloads
  where version = $challenger and role = 'shadow' and status = 200 and not nonfinite
  group by request_id, row
)
"""
"""The last sound answer of each version to each row; INPUTS are further members of the champion's."""
PAIRED_ROWS = "from champion join challenger using (request_id, row)"
PAIRED_REQUESTS = f"""
{PAIRED_ROWS}
where request_id in (
  select request_id from champion full join challenger using (request_id, row)
  group by request_id
  having count(*) filter (champion.answer is not null and challenger.answer is not null) = max(row) + 1
)
"""  # noqa: S608
"""Rows of requests that both versions answered whole."""
IS_FIRST = "row = min(row) over (partition by request_id) as is_first"
_PAIRS = """
with ANSWERED_BY_BOTH, pairs as (
  select request_id, row, champion.answer.entity as entity, champion.answer.time as time,
    champion.answer.outputs as champion, challenger.answer.outputs as challenger
  PAIRED
), by_entity as (BY_ENTITY), by_request as (BY_REQUEST), known as (
  select pairs.*, coalesce(by_request.label, by_entity.label) as label
  from pairs left join by_request on by_request.key = request_id left join by_entity on by_entity.key = entity
)
select blocks.start as start, request_id, IS_FIRST, champion, challenger,
  label is not null and label.none as is_without, case when not label.none then label.value end as label
from known asof join blocks on known.time >= blocks.start
ORDER
"""
_BLOCKS_OF_REQUESTS = """
with ANSWERED_BY_BOTH, paired as (
  select request_id, min(champion.answer.time) as time PAIRED group by request_id
), numbered as (
  select time, row_number() over (order by time, request_id) - 1 as place from paired
)
select distinct time as start from numbered where place % $size = 0 order by start
"""
_REFUSED = """
select count(distinct request_id) as requests
from stored_payloads
where version = $challenger and role = 'shadow' and status >= 400 and status < 500 and request_id in (
  select request_id from stored_payloads
  where version = $champion and role not in ('shadow', 'batch') and status = 200 and not nonfinite
    and epoch_us(event_time) >= $start and epoch_us(event_time) < $end)
"""
_PRODUCED = """
select count(distinct {'boot': boot, 'sequence': sequence}) as stored,
  count(distinct {'request': request_id, 'row': row, 'role': role, 'attempt': attempt}) filter (
    version = $challenger and nonfinite) as nonfinite,
  count(*) filter (version = $challenger and role = 'shadow' and status >= 400 and status < 500) as refused
from stored_payloads
where version in ($champion, $challenger) and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
"""


@dataclass
class _Block:
    """What is known of one day; differences in whole numbers of 1e-12."""

    pairs: int = 0
    requests: int = 0
    labelled: int = 0
    without: int = 0
    difference: int = 0
    clipped: int = 0
    disagreeing: int = 0


@dataclass(frozen=True)
class _Rows:
    """A batch of aligned rows; every group of rows is whole."""

    start: npt.NDArray[np.int64]
    request_id: pa.Array
    is_first: npt.NDArray[np.bool_]
    champion: Predictions
    challenger: Predictions
    is_without: npt.NDArray[np.bool_]
    label: pa.Array

    @classmethod
    def of(cls, table: pa.Table, task: Task) -> _Rows:
        plain = {name: table[name].combine_chunks() for name in table.column_names}
        return cls(
            start=plain["start"].to_numpy(zero_copy_only=False),
            request_id=plain["request_id"],
            is_first=plain["is_first"].to_numpy(zero_copy_only=False),
            champion=predictions_of(plain["champion"], task),
            challenger=predictions_of(plain["challenger"], task),
            is_without=plain["is_without"].to_numpy(zero_copy_only=False),
            label=plain["label"],
        )


class Pairing:
    """Paired evidence of one system."""

    def __init__(
        self,
        reader: PayloadReader,
        task: Task,
        *,
        zone: ZoneInfo,
        maximum_delay: timedelta,
        block_requests: int | None = None,
    ) -> None:
        """`block_requests`: paired requests in a block; None: a block is a day."""
        self._reader = reader
        self._task = task
        self._zone = zone
        self._maximum_delay = maximum_delay
        self._block_requests = block_requests

    @classmethod
    def of(cls, system: MLSystem, reader: PayloadReader) -> Pairing:
        """With the system's task, days of its zone and its labels' delay."""
        spec = system.spec
        return cls(
            reader,
            task_of(spec),
            zone=ZoneInfo(spec.data.time_zone),
            maximum_delay=spec.data.label.maximum_delay,
            block_requests=spec.requests_per_block,
        )

    @property
    def losses(self) -> tuple[str, ...]:
        """Metrics by which two versions can be paired."""
        return self._task.facts.paired_names

    def paired(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        metric: str,
        since: datetime,
        as_of: datetime,
    ) -> PairedEvidence:
        """Pairs with event time in [since, as_of), labels known at `as_of`, compared by the losses of the metric.

        OWN_LOSS is the loss that the task itself names. Raises UnavailableError, also for a metric without
        losses: no evidence is better than that of another question.
        """
        known = self._task.metrics.get(self._task.facts.compared_by if metric == OWN_LOSS else metric)
        if known is None or known.losses is None:
            raise UnavailableError("evidence", f"{metric!r} is not a loss of a single prediction")
        if as_of <= since:
            return PairedEvidence()
        blocks: dict[int, _Block] = defaultdict(_Block)
        in_groups = known.facts.unit == "group"
        starts = self._starts(champion, challenger, since, as_of, in_groups=in_groups)
        for rows in self._rows(champion, challenger, since, as_of, starts, in_groups=in_groups):
            _add(blocks, rows, self._task, known)
        produced = self._reader.fetch(
            _PRODUCED, start=since, end=as_of, champion=champion, challenger=challenger
        ).to_pylist()[0]
        refused = 0
        if produced["refused"]:
            refused = self._reader.fetch(
                _REFUSED, start=since, end=as_of, champion=champion, challenger=challenger
            ).to_pylist()[0]["requests"]
        lost = lost_payloads(self._reader.folder, (champion, challenger), since, as_of)
        pairs = sum(block.pairs for block in blocks.values())
        labelled = sum(block.labelled for block in blocks.values())
        return PairedEvidence(
            blocks=self._closed(blocks, starts, as_of),
            paired_requests=sum(block.requests for block in blocks.values()),
            labelled_pairs=labelled,
            disagreement=sum(block.disagreeing for block in blocks.values()) / pairs if pairs else None,
            clipped_share=sum(block.clipped for block in blocks.values()) / labelled if labelled else 0.0,
            lost_share=lost / (lost + produced["stored"]) if lost else 0.0,
            nonfinite_answers=produced["nonfinite"],
            refused_answers=refused,
        )

    def _starts(
        self, champion: str, challenger: str, since: datetime, as_of: datetime, *, in_groups: bool
    ) -> list[int]:
        """Where blocks begin, in microseconds; the last one of requests is open, for it is not full."""
        if self._block_requests is None:
            return [microseconds(start) for start in day_starts(since, as_of, self._zone)]
        query = _BLOCKS_OF_REQUESTS.replace("ANSWERED_BY_BOTH", ANSWERED_BY_BOTH.replace("INPUTS", ""))
        found: list[int] = self._reader.fetch(
            query.replace("PAIRED", PAIRED_REQUESTS if in_groups else PAIRED_ROWS),
            start=since,
            end=as_of,
            champion=champion,
            challenger=challenger,
            size=self._block_requests,
        )["start"].to_pylist()
        return found

    def _rows(
        self,
        champion: str,
        challenger: str,
        since: datetime,
        as_of: datetime,
        starts: list[int],
        *,
        in_groups: bool,
    ) -> Iterator[_Rows]:
        query = (
            _PAIRS.replace("ANSWERED_BY_BOTH", ANSWERED_BY_BOTH.replace("INPUTS", ""))
            .replace("IS_FIRST", IS_FIRST)
            .replace("BY_ENTITY", labels_by("entity_id", self._task))
            .replace("BY_REQUEST", labels_by("request_id", self._task))
            .replace("ORDER", "order by request_id, row" if in_groups else "")
            .replace("PAIRED", PAIRED_REQUESTS if in_groups else PAIRED_ROWS)
        )
        batches = self._reader.batches(
            query,
            start=since,
            end=as_of,
            as_of=as_of,
            tables={"blocks": pa.table({"start": pa.array(starts, pa.int64())})},
            champion=champion,
            challenger=challenger,
        )
        for table in in_whole_groups(batches, in_groups=in_groups):
            yield _Rows.of(table, self._task)

    def _end(self, start: datetime, starts: list[int]) -> datetime | None:
        """None: the block is not full."""
        if self._block_requests is None:
            return day_starts(start, start + timedelta(days=2), self._zone)[1]
        following = bisect_right(starts, microseconds(start))
        return from_microseconds(starts[following]) if following < len(starts) else None

    def _closed(self, found: dict[int, _Block], starts: list[int], as_of: datetime) -> tuple[LossBlock, ...]:
        blocks: list[LossBlock] = []
        for at, block in sorted(found.items()):
            start = from_microseconds(at)
            end = self._end(start, starts)
            if end is None:
                break
            candidates = block.pairs - block.without
            coverage = block.labelled / candidates if candidates else 1.0
            if as_of < end or (coverage < CLOSED_COVERAGE and as_of < end + self._maximum_delay):
                break
            if candidates:
                blocks.append(LossBlock(start, block.labelled, block.difference * _UNIT, coverage))
        return tuple(blocks)


def _add(blocks: dict[int, _Block], rows: _Rows, task: Task, metric: Metric) -> None:
    """Count the rows of a batch into their days, and add their differences of losses."""
    labelled = rows.label.is_valid().to_numpy(zero_copy_only=False)
    clipped = _clipped(metric, task, rows, labelled)
    groups = groups_of(rows.request_id) if metric.facts.unit == "group" else None
    disagreeing = task.disagree(rows.champion, rows.challenger, groups)
    units, without, start = labelled, rows.is_without, rows.start
    if groups is not None:
        units, without = judged_groups(metric, task, rows.label, rows.is_without, groups)
        clipped, disagreeing = any_of(groups, clipped) & units, any_of(groups, disagreeing)
        start = rows.start[first_of_each(groups)]
    differences = _differences(metric, task, rows, labelled, groups, units)
    counted = {
        "pairs": np.ones(len(units), dtype=np.bool_),
        "labelled": units,
        "without": without,
        "clipped": clipped,
        "disagreeing": disagreeing,
    }
    for at in np.unique(start):
        block = blocks[int(at)]
        of_day = start == at
        block.requests += int((rows.is_first & (rows.start == at)).sum())
        for name, mask in counted.items():
            setattr(block, name, getattr(block, name) + int((mask & of_day).sum()))
        block.difference += sum(map(int, differences[of_day[units]].tolist()))


def _clipped(
    metric: Metric, task: Task, rows: _Rows, labelled: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Labelled rows of which a loss was bounded."""
    clipped = np.zeros(len(labelled), dtype=np.bool_)
    if metric.clipped is not None:
        truth = truth_of(task, rows.label, labelled)
        found = [metric.clipped(truth, one.rows(labelled)) for one in (rows.champion, rows.challenger)]
        clipped[labelled] = found[0] | found[1]
    return clipped


def _differences(
    metric: Metric,
    task: Task,
    rows: _Rows,
    labelled: npt.NDArray[np.bool_],
    groups: Groups | None,
    units: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Loss of the champion minus that of the challenger of each labelled row or group, in whole numbers of 1e-12."""
    assert metric.losses is not None
    used = labelled if groups is None else labelled & units[groups]
    truth = truth_of(task, rows.label, used)
    inner = None if groups is None else numbered(groups[used])
    losses = [
        metric.losses(truth, predictions.rows(used), inner)
        for predictions in (rows.champion, rows.challenger)
    ]
    differences: npt.NDArray[np.float64] = np.rint((losses[0] - losses[1]) / _UNIT)
    return differences


def in_whole_groups(batches: Iterable[pa.RecordBatch], *, in_groups: bool) -> Iterator[pa.Table]:
    """The same rows, no request torn where they come `in_groups`: ordered by it."""
    left: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if in_groups:
            # The last request may go on in the next batch.
            table = table if left is None else pa.concat_tables([left, table])
            last = table["request_id"][-1].as_py()
            whole = int(pc.sum(pc.not_equal(table["request_id"], last)).as_py())
            table, left = table.slice(0, whole), table.slice(whole)
        if table.num_rows:
            yield table
    if left is not None and left.num_rows:
        yield left


def groups_of(request_id: pa.Array) -> Groups:
    """The group of each row: rows of one request."""
    groups: Groups = request_id.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return groups
