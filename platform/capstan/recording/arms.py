"""Evidence by arms: outcomes of units that the gateway assigned, each once and in the arm of its first request.

A unit is the key by which its requests stick, or a request by itself. It is assigned by its first payload since the
beginning, whatever became of that request, so that an arm which fails loses no unit; copies and retries assign nothing.
Its outcome is of the time after that request, and enters once that time, and the delay of what is waited for, is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from capstan.domain.steps.questions import Arms
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.verdicts.quality import OWN_LOSS
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.recording.arm_tally import ArmTally, Units
from capstan.recording.lost import lost_payloads
from capstan.recording.moments import microseconds
from capstan.recording.outcomes import ANSWERER, ARM
from capstan.recording.reading import PayloadReader, day_starts
from capstan.recording.unit_events import LARGEST_PART, PAYLOADS, units_by_events, units_sql
from capstan.recording.unit_losses import rows_sql, units_by_loss
from capstan.spec import MLSystem
from capstan.spec.online import OnlineMetric
from capstan.tasks import Metric, Task, task_of

_MICROSECOND = timedelta(microseconds=1)
_NONFINITE = """
select version, count(distinct {'request': request_id, 'row': row, 'attempt': attempt}) as answers
from stored_payloads
where nonfinite and role not in ('shadow', 'batch') and list_contains($versions, version)
  and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
group by version
"""
_STORED = """
select count(distinct hash(boot, sequence)) as stored from stored_payloads
where list_contains($versions, version) and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
"""


class ArmReading:
    """Evidence by arms of one system."""

    def __init__(
        self,
        reader: PayloadReader,
        task: Task,
        *,
        online: Mapping[str, OnlineMetric],
        zone: ZoneInfo,
        maximum_delay: timedelta,
    ) -> None:
        self._reader = reader
        self._task = task
        self._online = online
        self._zone = zone
        self._maximum_delay = maximum_delay

    @classmethod
    def of(cls, system: MLSystem, reader: PayloadReader) -> ArmReading:
        """With the system's task, its online metrics, days of its zone and its labels' delay."""
        spec = system.spec
        return cls(
            reader,
            task_of(spec),
            online={metric.name: metric for metric in spec.evaluation.online},
            zone=ZoneInfo(spec.data.time_zone),
            maximum_delay=spec.data.label.maximum_delay,
        )

    def arms(self, asked: Arms, *, since: datetime, as_of: datetime) -> ArmsEvidence:
        """Units whose first request is in [since, as_of), by what is known at `as_of`; raises UnavailableError.

        Also for a metric that gives no unit an outcome: no evidence is better than that of another question.
        """
        online = self._online.get(asked.metric)
        if online is None:
            delay, cap = self._maximum_delay, asked.cap
            units = self._units_by_loss(asked, self._loss(asked.metric), since, as_of)
        else:
            delay, cap = online.maximum_delay, online.cap if asked.cap is None else asked.cap
            units = self._units_by_events(asked, online, since, as_of)
        if as_of <= since:
            return ArmsEvidence()
        tally = ArmTally(
            asked.versions,
            asked.cuts or day_starts(since, as_of, self._zone),
            takes=asked.window + delay,
            as_of=as_of,
            cap=cap,
            by_rank=asked.by_rank,
        )
        for some in units:
            tally.add(some)
        return ArmsEvidence(
            days=tally.stretches(),
            crossed=tally.crossed,
            lost_share=self._lost_share(asked.versions, since, as_of),
            clipped_share=tally.clipped_share,
            nonfinite_answers=self._nonfinite(asked.versions, since, as_of),
            ranks=tally.ranks(),
            too_many_values=tally.too_many_values,
        )

    def _loss(self, name: str) -> Metric:
        metric = self._task.metrics.get(self._task.facts.compared_by if name == OWN_LOSS else name)
        if metric is None or metric.losses is None:
            known = ", ".join((*self._task.facts.paired_names, *self._online))
            raise UnavailableError("evidence", f"{name!r} gives a unit no outcome; known: {known}")
        return metric

    def _units_by_loss(
        self, asked: Arms, metric: Metric, since: datetime, as_of: datetime
    ) -> Iterator[Units]:
        window = asked.window // _MICROSECOND
        rows = self._batches(
            rows_sql(self._task, by_shares=asked.by_shares, arm=_arm(asked)), asked, since, as_of
        )
        return units_by_loss(rows, self._task, metric, since=microseconds(since), window=window)

    def _units_by_events(
        self, asked: Arms, metric: OnlineMetric, since: datetime, as_of: datetime
    ) -> Iterator[Units]:
        """Part by part: joins of all units at once would not fit into the reader's memory."""
        start = since - (asked.covariate or timedelta(0))
        stored = self._reader.fetch(PAYLOADS, start=start, end=as_of)["payloads"][0].as_py()
        parts = -(-stored // LARGEST_PART)
        for part in range(parts):
            yield from units_by_events(
                self._batches(
                    units_sql(metric, by_shares=asked.by_shares, arm=_arm(asked)),
                    asked,
                    since,
                    as_of,
                    parts=parts,
                    part=part,
                )
            )

    def _batches(
        self, query: str, asked: Arms, since: datetime, as_of: datetime, **parameters: int
    ) -> Iterator[pa.RecordBatch]:
        return self._reader.batches(
            query,
            start=since - (asked.covariate or timedelta(0)),
            end=as_of,
            as_of=as_of,
            tables=None,
            inputs=(),
            since=microseconds(since),
            versions=list(asked.versions),
            window=asked.window // _MICROSECOND,
            **parameters,
        )

    def _lost_share(self, versions: tuple[VersionName, ...], since: datetime, as_of: datetime) -> float:
        lost = lost_payloads(self._reader.folder, versions, since, as_of)
        if not lost:
            return 0.0
        found = self._reader.fetch(_STORED, start=since, end=as_of, versions=list(versions))
        return lost / (lost + int(found["stored"][0].as_py()))

    def _nonfinite(
        self, versions: tuple[VersionName, ...], since: datetime, as_of: datetime
    ) -> dict[VersionName, int]:
        found = self._reader.fetch(_NONFINITE, start=since, end=as_of, versions=list(versions))
        return {VersionName(row["version"]): row["answers"] for row in found.to_pylist()}


def _arm(asked: Arms) -> str:
    return ANSWERER if asked.by_version else ARM
