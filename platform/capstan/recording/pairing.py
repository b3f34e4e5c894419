"""Paired losses of champion and challenger in closed blocks, read from stored payloads and labels.

A pair is a request row that the champion answered (its last answered attempt) and for which the challenger's mirrored
prediction is stored. A block, one day in the system's zone, closes when 98 % of its pairs that can have a label have
one, or at its end plus the maximum label delay; closed blocks are told in event order up to the first open one.
Sums are of whole numbers of 1e-12, so that no order of files or rows changes a bit of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa

from capstan.domain.verdicts.evidence import LossBlock, PairedEvidence
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.recording.reading import LABELS, PayloadReader, day_starts, from_microseconds, microseconds
from capstan.spec import MLSystem

logger = logging.getLogger(__name__)

CLOSED_COVERAGE = 0.98
CLIP = 0.001
"""Probabilities are clipped to [CLIP, 1 - CLIP], so that one loss is at most 6.91."""
DECISION = 0.5
"""Probability from which on a class counts as decided; for the reported disagreement alone."""
SAME = 1e-6
"""Probabilities that differ by less decide alike: two versions may have come to one value by different paths."""
_UNIT = 1e-12

LOSSES: Mapping[str, str] = {
    "logLoss": "-(y * ln({p}) + (1 - y) * ln(1 - {p}))",
    "brierScore": "(y - {p}) * (y - {p})",
}
"""Metric -> SQL of the loss of one prediction `{p}` with the truth `y`."""

_PAIRS = f"""
with champion as (
  select request_id, row, max({{'attempt': attempt, 'prediction': prediction, 'entity': entity_id,
                               'time': epoch_us(event_time)}}) as answer
  from stored_payloads
  where version = $champion and role <> 'shadow' and status = 200 and not nonfinite
    and prediction between 0 and 1 and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
  group by request_id, row
), challenger as (
  select request_id, row, max({{'attempt': attempt, 'prediction': prediction}}) as answer
  from stored_payloads
  where version = $challenger and role = 'shadow' and status = 200 and not nonfinite and prediction between 0 and 1
  group by request_id, row
), pairs as (
  select request_id, row, champion.answer.entity as entity, champion.answer.time as time,
    champion.answer.prediction as p, challenger.answer.prediction as q
  from champion join challenger using (request_id, row)
), by_entity as ({LABELS.format(key="entity_id")}
), by_request as ({LABELS.format(key="request_id")}
), known as (
  select pairs.*, coalesce(by_request.label, by_entity.label) as label
  from pairs left join by_request on by_request.key = request_id left join by_entity on by_entity.key = entity
), scored as (
  select request_id, time, p, q, label is not null and label.none as without, label is not null and not label.none as
    labelled, case when label.none then null else label.value end as y,
    greatest($clip, least(1 - $clip, p)) as cp, greatest($clip, least(1 - $clip, q)) as cq
  from known
), judged as (
  select *, case when labelled then round((LOSS_P - LOSS_Q) / $unit)::hugeint end as difference from scored
)
select blocks.start as start, count(*) as pairs, count(distinct request_id) as requests,
  count(*) filter (labelled) as labelled, count(*) filter (without) as without,
  coalesce(sum(difference), 0)::double as difference,
  count(*) filter (labelled and (cp <> p or cq <> q)) as clipped,
  count(*) filter ((p >= $decision) <> (q >= $decision) and abs(p - q) > $same) as disagreeing
from judged asof join blocks on judged.time >= blocks.start
group by blocks.start order by blocks.start
"""  # noqa: S608
_PRODUCED = """
select count(distinct {'boot': boot, 'sequence': sequence}) as stored,
  count(distinct {'request': request_id, 'row': row, 'role': role, 'attempt': attempt}) filter (version = $challenger
    and (nonfinite or (status = 200 and (prediction is null or not prediction between 0 and 1)))) as nonfinite
from stored_payloads
where version in ($champion, $challenger) and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
"""


class Pairing:
    """Paired evidence of one system."""

    def __init__(
        self,
        reader: PayloadReader,
        *,
        zone: ZoneInfo,
        maximum_delay: timedelta,
    ) -> None:
        self._reader = reader
        self._zone = zone
        self._maximum_delay = maximum_delay

    @classmethod
    def of(cls, system: MLSystem, reader: PayloadReader) -> Pairing:
        """With days of the system's zone and its labels' delay."""
        spec = system.spec
        return cls(
            reader,
            zone=ZoneInfo(spec.data.time_zone),
            maximum_delay=spec.data.label.maximum_delay,
        )

    def paired(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        metric: str,
        since: datetime,
        as_of: datetime,
    ) -> PairedEvidence:
        """Pairs with event time in [since, as_of), labels known at `as_of`, compared by a metric of `LOSSES`.

        Raises UnavailableError, also for another metric: no evidence is better than that of another question.
        """
        if metric not in LOSSES:
            raise UnavailableError("evidence", f"{metric!r} is not a loss of a single prediction")
        if as_of <= since:
            return PairedEvidence()
        starts = day_starts(since, as_of, self._zone)
        rows = self._reader.fetch(
            _PAIRS.replace("LOSS_P", LOSSES[metric].format(p="cp")).replace(
                "LOSS_Q", LOSSES[metric].format(p="cq")
            ),
            start=since,
            end=as_of,
            as_of=as_of,
            tables={"blocks": pa.table({"start": [microseconds(start) for start in starts]})},
            clip=CLIP if metric == "logLoss" else 0.0,
            unit=_UNIT,
            decision=DECISION,
            same=SAME,
            champion=champion,
            challenger=challenger,
        ).to_pylist()
        produced = self._reader.fetch(
            _PRODUCED, start=since, end=as_of, champion=champion, challenger=challenger
        ).to_pylist()[0]
        lost = self._lost((champion, challenger), since, as_of)
        pairs = sum(row["pairs"] for row in rows)
        labelled = sum(row["labelled"] for row in rows)
        return PairedEvidence(
            blocks=self._closed(rows, as_of),
            paired_requests=sum(row["requests"] for row in rows),
            labelled_pairs=labelled,
            disagreement=sum(row["disagreeing"] for row in rows) / pairs if pairs else None,
            clipped_share=sum(row["clipped"] for row in rows) / labelled if labelled else 0.0,
            lost_share=lost / (lost + produced["stored"]) if lost else 0.0,
            nonfinite_answers=produced["nonfinite"],
        )

    def _closed(self, rows: list[dict[str, float]], as_of: datetime) -> tuple[LossBlock, ...]:
        blocks: list[LossBlock] = []
        for row in rows:
            start = from_microseconds(int(row["start"]))
            end = day_starts(start, start + timedelta(days=2), self._zone)[1]
            candidates = row["pairs"] - row["without"]
            coverage = row["labelled"] / candidates if candidates else 1.0
            if as_of < end or (coverage < CLOSED_COVERAGE and as_of < end + self._maximum_delay):
                break
            if candidates:
                blocks.append(LossBlock(start, int(row["labelled"]), row["difference"] * _UNIT, coverage))
        return tuple(blocks)

    def _lost(self, versions: Iterable[str], since: datetime, as_of: datetime) -> int:
        path = self._reader.folder / "payloads" / "losses.json"
        try:
            losses = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            logger.warning("%s: %s", path, error)
            reason = f"{path.name} cannot be read; the log says why"
            raise UnavailableError("collector's loss counts", reason) from error
        first, last = since.astimezone(UTC).date().isoformat(), as_of.astimezone(UTC).date().isoformat()
        return sum(
            payloads
            for version in versions
            for day, payloads in losses.get(version, {}).items()
            if first <= day <= last
        )
