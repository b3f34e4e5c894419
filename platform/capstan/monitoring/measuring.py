"""Measures one window: reads its rows, compares each feature with the reference, judges its labelled answers.

Inputs are those of all answered requests, whichever version answered, because a canary must not look like drift;
predictions and quality are those of the watched version alone. Windows of up to `EXACT_ROWS` rows are compared exactly;
larger ones are streamed through sketches, so memory stays the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from capstan.domain.verdicts.evidence import CLOSED_COVERAGE
from capstan.errors import InvalidDataError
from capstan.monitoring.causes.explaining import Judged, explain
from capstan.monitoring.causes.kinds import Cells
from capstan.monitoring.causes.moving import moves_of
from capstan.monitoring.causes.reference import MOST_ROWS, CauseReference, evenly
from capstan.monitoring.concept.losses import losses_in_order
from capstan.monitoring.concept.watched_losses import LossReference, watch_losses
from capstan.monitoring.drift.calibrated_for import found_for_others
from capstan.monitoring.drift.calibration import false_breach_probability, quality_budget
from capstan.monitoring.drift.column_values import Read, Values, output_of, values_of
from capstan.monitoring.drift.earlier_window import Compared, EarlierRows, of_earlier, of_training
from capstan.monitoring.drift.fitted_detectors import FittedDetector
from capstan.monitoring.drift.online.reading_rows import watch_rows
from capstan.monitoring.drift.online.watched_rows import RowsWatch
from capstan.monitoring.drift.reference import FeatureReference, Reference, RowsReference
from capstan.monitoring.drift.slices import SlicedWindow
from capstan.monitoring.estimates.estimating import Estimates, Unlike
from capstan.monitoring.estimates.estimator import Estimator
from capstan.monitoring.quality import (
    LEAST_BLOCKS,
    LEAST_DAYS,
    QualityReference,
    blocks_of_requests,
    judge_drop,
    measure,
)
from capstan.monitoring.questions import QUESTIONS
from capstan.monitoring.questions.question import StoredRows
from capstan.monitoring.windows import (
    NO_LABELS,
    Causes,
    Concept,
    DriftWindow,
    FeatureDrift,
    Gap,
    OnlineDrift,
    QualityWindow,
    ReferenceWindow,
    SlicesDrift,
    WindowOutcome,
    compare,
    few_rows,
)
from capstan.recording.answered import ANSWERED, LAST_ATTEMPT, input_columns
from capstan.recording.moments import microseconds
from capstan.recording.outputs import INPUT_PREFIX, predictions_of
from capstan.recording.reading import PayloadReader, day_starts
from capstan.recording.served import Served, served_with_labels
from capstan.spec import MLSystem
from capstan.spec.monitoring import ALL_FEATURES
from capstan.tasks import Predictions, Task, task_of

EXACT_ROWS = 200_000
LARGEST_ERROR_PROBABILITY = 0.05
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_MOVED = 20_000
"""Values of a feature by which it is told what moved in a window that is too large to be kept."""
LOTS = 20
"""Of a window without days enough: rows of one lot are drawn together."""


@dataclass(frozen=True)
class Measuring:
    """Everything needed to measure windows of one version."""

    system: MLSystem
    reader: PayloadReader
    reference: Reference
    detectors: dict[str, FittedDetector]
    quality_reference: QualityReference | None
    """The quality metric on the version's test window; None: its manifest does not tell."""
    estimator: Estimator | None = None
    """None: the version's training left none."""
    losses: LossReference | None = None
    """Losses of the test window; None: the version's training left none."""
    cause_reference: CauseReference | None = None
    """Judged rows of the test window; None: the version's training left none."""
    online: RowsWatch | None = None
    """Online detectors; None: the version carries none."""
    exact_rows: int = EXACT_ROWS

    def follow_rows(
        self, before: OnlineDrift | None, version: str, since: datetime, until: datetime
    ) -> OnlineDrift | None:
        """What online detectors say of the next rows up to a moment, those of a usual window at most; None: the file
        names none. The same as `before`: nothing new has come. Raises UnavailableError.
        """
        wanted = self.system.spec.monitoring.drift.online
        if not wanted:
            return None
        if self.online is None or set(self.online.reference.detectors) != set(wanted):
            lacking = (
                f"the version carries no lots of its training for {' and '.join(wanted)}; train it again"
            )
            return OnlineDrift(since, gap=Gap("NoReference", lacking))
        if before is None or (before.gap is not None and before.gap.reason == "NoReference"):
            before = self.online.begin(since)
        return watch_rows(
            self.online, before, until, self.reader, self.reference, task=self._task, version=version
        )

    def end_by_rows(self, start: datetime, latest: datetime, rows: int) -> datetime | None:
        """When a window that begins at `start` has so many rows; None: not before `latest`.

        Rows of the same moment belong to one window, so that it may have a few more.
        """
        # Each look asks this, mostly of a window that is not full: numbers are read before names are compared.
        counted = self.reader.fetch(f"select count(*) as n {ANSWERED}", start=start, end=latest)
        if counted["n"][0].as_py() < rows:
            return None
        query = (
            f"select epoch_us(event_time) as moment {ANSWERED} order by moment limit 1 offset {2 * rows - 1}"
        )
        near = self._moment_after(query, start, latest)
        distinct = (
            f"select epoch_us(min(event_time)) as moment {ANSWERED} group by request_id, row order by moment "
            f"limit 1 offset {rows - 1}"
        )
        if near is not None and (found := self._moment_after(distinct, start, near)) is not None:
            return found
        return self._moment_after(distinct, start, latest)

    def _moment_after(self, query: str, start: datetime, end: datetime) -> datetime | None:
        """After the moment that a query answers; None: it has no answer."""
        found = self.reader.fetch(query, start=start, end=end)["moment"]
        return _EPOCH + timedelta(microseconds=found[0].as_py() + 1) if len(found) else None

    def drift(self, number: int, version: str, start: datetime, end: datetime) -> DriftWindow:
        """The drift window; raises UnavailableError if the payloads cannot be read."""
        watched = self.system.spec.monitoring
        wanted = watched.window.rows or 0
        rows = self._rows(start, end)
        if rows < watched.window.min_rows:
            few, least = few_rows(rows, watched.window.min_rows), watched.window.min_rows
            none = self.estimates.none(few.reason, few.message)
            return DriftWindow(
                number, start, end, rows, False, min_rows=least, wanted_rows=wanted, estimate=none
            )
        columns = sorted({feature.column for feature in self.reference.features} | self.estimates.columns)
        before = self._before(version, start, end)
        reference = before.reference
        unlike = Unlike(self.estimates.seen)
        gatherers = [self._gatherer(feature, rows, before) for feature in reference.features]
        query = f"select {input_columns(columns)} {ANSWERED} {LAST_ATTEMPT}"
        together = [_Together(one, rows, self.exact_rows) for one in (reference.together,) if one is not None]
        sliced = self._sliced(reference, rows)
        for batch in self.reader.batches(query, start=start, end=end, inputs=columns):
            read = [
                gatherer.add(batch.column(INPUT_PREFIX + gatherer.feature.column)) for gatherer in gatherers
            ]
            for all_of_them in together:
                all_of_them.add(read, batch.num_rows)
            if sliced is not None:
                sliced.add(read, batch.num_rows)
            unlike.add({one.column: batch.column(INPUT_PREFIX + one.column) for one in unlike.seen})
        answers = self._answers(version, start, end)
        return DriftWindow(
            number,
            start,
            end,
            rows,
            True,
            features=tuple(gatherer.result(watched.drift.min_effect) for gatherer in gatherers),
            outputs=self._outputs(answers.predictions, before),
            together=tuple(all_of_them.result(watched.drift.min_effect) for all_of_them in together),
            slices=self._slices(sliced, before),
            reference=before.window,
            doubt=found_for_others(self.reference.calibrated_for, watched),
            no_reference=before.gap,
            no_output_reference=before.output_gap,
            min_rows=watched.window.min_rows,
            wanted_rows=wanted,
            numbers=self._numbers(StoredRows(self.reader, self.system, version, start, end)),
            estimate=self.estimates.of(
                answers.predictions,
                answers.inputs,
                unlike,
                error_probability=self._error_probability(watched.window.step if not wanted else end - start),
                window=end - start,
            ),
        )

    def _before(self, version: str, start: datetime, end: datetime) -> Compared:
        """What the window is compared with."""
        monitoring = self.system.spec.monitoring
        lag, least = monitoring.reference_lag, monitoring.window.min_rows
        trained = of_training(self.reference, self.detectors, lag)
        if lag is None or trained.gap is not None:
            return trained
        window = ReferenceWindow(start - lag, end - lag)
        rows = self._rows(window.start, window.end)
        gathered = EarlierRows(self.reference, rows, self.exact_rows)
        if rows >= least:
            features = self.reference.features
            columns = sorted({feature.column for feature in features})
            query = f"select {input_columns(columns)} {ANSWERED} {LAST_ATTEMPT}"
            for batch in self.reader.batches(query, start=window.start, end=window.end, inputs=columns):
                gathered.add([batch.column(INPUT_PREFIX + one.column) for one in features], batch.num_rows)
        answers = self._answers(version, window.start, window.end, is_estimated=False).predictions
        return of_earlier(
            gathered,
            self.reference,
            window,
            rows=rows,
            outputs={
                one.name: values_of(one).present(output_of(answers, one)) for one in self.reference.outputs
            },
            answered=len(answers),
            version=version,
            least=least,
        )

    def _rows(self, start: datetime, end: datetime) -> int:
        query = f"select count(distinct {{'request': request_id, 'row': row}}) as n {ANSWERED}"
        return int(self.reader.fetch(query, start=start, end=end)["n"][0].as_py())

    def _sliced(self, reference: Reference, rows: int) -> SlicedWindow | None:
        """None: the file names no slices, or the version carries none."""
        if reference.slices is None or not self.system.spec.evaluation.slices:
            return None
        features = [(feature.name, feature.detector) for feature in reference.features]
        return SlicedWindow(reference.slices, features, rows, self.exact_rows)

    def _slices(self, sliced: SlicedWindow | None, before: Compared) -> SlicesDrift | None:
        drift = self.system.spec.monitoring.drift
        if not self.system.spec.evaluation.slices:
            return None
        if before.gap is not None:
            return SlicesDrift(is_asked=drift.slices.alert, gap=before.gap)
        if sliced is None:
            lacking = Gap("NoReference", "the version carries no reference of its slices; train it again")
            return SlicesDrift(is_asked=drift.slices.alert, gap=lacking)
        return sliced.result(drift.min_effect, is_asked=drift.slices.alert)

    def _numbers(self, rows: StoredRows) -> dict[str, Mapping[str, float]]:
        measured = ((name, question.measure(rows)) for name, question in QUESTIONS.items())
        return {name: numbers for name, numbers in measured if numbers}

    def quality(
        self,
        number: int,
        version: str,
        start: datetime,
        end: datetime,
        *,
        now: datetime,
        before: Concept | None = None,
    ) -> QualityWindow | None:
        """The quality window, or None while its labels may still come; raises UnavailableError.

        `before`: what the version's last window with labels told of its losses.
        """
        spec = self.system.spec
        last = end + spec.data.label.maximum_delay
        served = served_with_labels(
            self.reader, self._task, start, end, as_of=min(now, last), version=version
        )
        without = int(pc.sum(served.table["no_label"]).as_py() or 0)
        labelled = served.labelled
        candidates = len(served) - without
        coverage = len(labelled) / candidates if candidates else None
        if now < last and (coverage is None or coverage < CLOSED_COVERAGE):
            return None
        judged = self._judge(number, start, end, len(served), labelled, coverage)
        judged = replace(judged, concept=self._concept(judged, labelled, before))
        risen = judged.concept is not None and judged.concept.outcome is WindowOutcome.BREACH
        if not risen and judged.decision is not WindowOutcome.BREACH:
            return judged
        return replace(judged, causes=self._causes(labelled, start, end))

    def _causes(self, labelled: Served, start: datetime, end: datetime) -> Causes:
        """Which kinds of rows the losses of the window rose in."""
        reference = self.cause_reference
        if reference is None:
            lacking = "the version carries no judged rows of its test; train it again"
            return Causes(self.system.spec.concept_metric, gap=Gap("NoReference", lacking))
        if reference.why_not:
            return Causes(reference.metric, gap=Gap("NotComparable", reference.why_not))
        metric = self._task.metrics[reference.metric]
        moments = labelled.table["event_time"].cast(pa.int64()).to_numpy()
        losses, rows = losses_in_order(metric, labelled.truth, labelled.predictions, labelled.groups, moments)
        kept = evenly(len(rows), MOST_ROWS)
        losses, rows = losses[kept], rows[kept]
        table = labelled.table.take(rows)
        _, blocks = self._blocks(table, start, end)
        blocks = np.unique(blocks, return_inverse=True)[1].reshape(-1)
        if not len(blocks) or int(blocks.max()) + 1 < LEAST_DAYS:
            blocks = np.arange(len(rows)) * LOTS // max(1, len(rows))
        try:
            codes = self._kinds_of_rows(reference, table, start, end)
        except (InvalidDataError, ValueError) as wrong:
            # The window is decided all the same: an alert without its reason is better than none.
            return Causes(metric.name, gap=Gap("NotComparable", str(wrong)))
        return explain(reference.kinds, reference.judged, Judged(codes, losses, blocks), metric=metric.name)

    def _kinds_of_rows(
        self, reference: CauseReference, table: pa.Table, start: datetime, end: datetime
    ) -> Cells:
        """(rows, features): the kind of each row of the table by each feature, read batch by batch."""
        found = np.empty((table.num_rows, len(reference.kinds)), dtype=np.uint8)
        for place, one in enumerate(reference.kinds):
            found[:, place] = one.missing
        wanted = table.select(["request_id", "row"]).append_column(
            "place", pa.array(np.arange(table.num_rows))
        )
        columns = sorted({one.column for one in reference.kinds})
        chosen = input_columns(columns)
        answered = f"select * from (select * {ANSWERED} {LAST_ATTEMPT})"  # noqa: S608
        query = f"select place, {chosen} from ({answered}) join explained_rows using (request_id, row)"  # noqa: S608
        tables = {"explained_rows": wanted}
        for batch in self.reader.batches(query, start=start, end=end, inputs=columns, tables=tables):
            places = batch.column("place").to_numpy()
            for place, one in enumerate(reference.kinds):
                found[places, place] = one.codes(batch.column(INPUT_PREFIX + one.column))
        return found

    def _concept(self, judged: QualityWindow, labelled: Served, before: Concept | None) -> Concept | None:
        """What the losses say, where the window has labels enough to be judged at all."""
        detector, reference = self.system.spec.monitoring.quality.concept, self.losses
        if detector is None:
            return None
        if reference is None or reference.detector != detector:
            lacking = f"the version carries no losses of its test for {detector}; train it again"
            return Concept(detector, "", gap=Gap("NoReference", lacking))
        metric = self._task.metrics[reference.metric]
        none = Concept(detector, metric.name, reference=reference.mean)
        if reference.level is None:
            return replace(none, gap=Gap("NotCalibrated", reference.why_not))
        if judged.reason in ("CoverageTooLow", "TooFewRows"):
            return replace(none, gap=Gap(judged.reason, judged.message))
        moments = labelled.table["event_time"].cast(pa.int64()).to_numpy()
        losses, rows = losses_in_order(metric, labelled.truth, labelled.predictions, labelled.groups, moments)
        if not len(losses):
            return replace(none, gap=Gap("Undefined", f"no row has a {metric.name} loss"))
        same = before if before is not None and before.detector == detector else None
        return watch_losses(reference, same, losses, moments[rows])

    def _judge(
        self,
        number: int,
        start: datetime,
        end: datetime,
        answered: int,
        labelled: Served,
        coverage: float | None,
    ) -> QualityWindow:
        watched = self.system.spec.monitoring

        def told(decision: WindowOutcome, reason: str, message: str = "", **found: Any) -> QualityWindow:
            empty = {"value": None, "standard_error": None, "drop": None, "drop_bound": None}
            return QualityWindow(
                number,
                start,
                end,
                watched.quality.metric,
                answered,
                len(labelled),
                coverage,
                reference=self.quality_reference.value if self.quality_reference is not None else None,
                floor=self._floor(),
                decision=decision,
                reason=reason,
                message=message,
                **{**empty, **found},
            )

        if not coverage and not self.system.spec.data.has_label:
            nobody = "the file names no label, and none came: nobody can say how good these answers were"
            return told(WindowOutcome.NO_EVIDENCE, NO_LABELS, nobody)
        if coverage is None or coverage < watched.quality.min_coverage:
            return told(
                WindowOutcome.NO_EVIDENCE, "CoverageTooLow", self._coverage_in_words(answered, coverage)
            )
        if answered < watched.window.min_rows:
            gap = few_rows(answered, watched.window.min_rows)
            return told(WindowOutcome.NO_EVIDENCE, gap.reason, gap.message)
        metric = self._task.metrics[watched.quality.metric]
        size, blocks = self._blocks(labelled.table, start, end)
        quality = measure(
            metric,
            labelled.truth,
            labelled.predictions,
            blocks,
            groups=labelled.groups,
            least=LEAST_DAYS if size is None else LEAST_BLOCKS,
        )
        found: dict[str, Any] = {"value": quality.value, "standard_error": quality.standard_error}
        details = self._task.details(labelled.truth, labelled.predictions, labelled.groups)
        found["notes"] = tuple(details.get("notes", ()))
        if quality.value is None:
            labels = f"these {len(labelled):,} labels, which may all be the same"
            undefined = f"{watched.quality.metric} is not defined on {labels}"
            return told(WindowOutcome.NO_EVIDENCE, "Undefined", undefined)
        if self.quality_reference is None:
            return told(
                WindowOutcome.NO_EVIDENCE,
                "NoReference",
                f"the version does not tell its {watched.quality.metric} on the test window; train it again",
                **found,
            )
        drop = judge_drop(
            metric.facts,
            quality,
            self.quality_reference,
            max_drop=watched.quality.max_drop,
            error_probability=self._error_probability(end - start),
        )
        if drop is None:
            nothing = f"{watched.quality.metric} was not defined on the test window"
            return told(WindowOutcome.NO_EVIDENCE, "Undefined", nothing, **found)
        found |= {"drop": drop.drop, "drop_bound": drop.bound}
        if drop.is_breach:
            return told(WindowOutcome.BREACH, "Dropped", **found)
        if drop.bound is None and drop.drop > watched.quality.max_drop:
            counted = "days" if size is None else f"blocks of {size:,} requests"
            few = (
                f"it is worse by {drop.drop:.3f}, but {quality.blocks} {counted} do not tell that from chance"
            )
            reason = "TooFewDays" if size is None else "TooFewBlocks"
            return told(WindowOutcome.NO_EVIDENCE, reason, few, **found)
        return told(WindowOutcome.FINE, "Fine", **found)

    def _coverage_in_words(self, answered: int, coverage: float | None) -> str:
        if not answered:
            return "the version answered no request"
        least = f"{self.system.spec.monitoring.quality.min_coverage:.0%} (monitoring.quality.minCoverage)"
        if not coverage:
            return f"labels of 0 % of {answered:,} rows, {least} are needed"
        found = f"{coverage:.0%}" if coverage >= 0.005 else "less than 1 %"
        return f"labels of {found} of {answered:,} rows, {least} are needed"

    def _floor(self) -> float | None:
        quality = self.system.spec.monitoring.quality
        if self.quality_reference is None:
            return None
        return self.quality_reference.value - self._task.facts.metric(quality.metric).sign * quality.max_drop

    def _error_probability(self, between: timedelta) -> float:
        """For one of the looks that come so often."""
        allowed = false_breach_probability(quality_budget(self.system.spec.monitoring), between, 1, 1)
        return min(LARGEST_ERROR_PROBABILITY, allowed)

    def _blocks(
        self, table: pa.Table, start: datetime, end: datetime
    ) -> tuple[int | None, NDArray[np.int64]]:
        """The block of each row, and how many requests make one; None: blocks are days, as wherever there are enough.

        Days differ from each other by more than parts of one day do.
        """
        days, size = self._days(table, start, end), self.system.spec.requests_per_block
        if size is None or len(np.unique(days)) >= LEAST_DAYS:
            return None, days
        ids = table["request_id"].to_numpy(zero_copy_only=False).astype(str)
        begins = np.concatenate([[True], ids[1:] != ids[:-1]]) if len(ids) else np.empty(0, dtype=np.bool_)
        return size, blocks_of_requests(np.cumsum(begins) - 1, size)

    def _days(self, table: pa.Table, start: datetime, end: datetime) -> NDArray[np.int64]:
        zone = ZoneInfo(self.system.spec.data.time_zone)
        starts = np.array([microseconds(day) for day in day_starts(start, end, zone)], dtype=np.int64)
        moments = table["event_time"].cast(pa.int64()).to_numpy()
        days: NDArray[np.int64] = np.searchsorted(starts, moments, side="right").astype(np.int64)
        return days

    def _answers(
        self, version: str, start: datetime, end: datetime, *, is_estimated: bool = True
    ) -> _Answers:
        """What the version said; with its inputs where these are needed to estimate how right it was."""
        estimated = is_estimated and self.estimates.can
        if not self.reference.outputs and not estimated:
            return _Answers(predictions_of(pa.array([], pa.struct([])), self._task), {})
        columns = sorted(self.estimates.needed) if estimated else []
        chosen = ", ".join(["outputs", *([input_columns(columns)] if columns else [])])
        answered = f"select {chosen} from (select * {ANSWERED} {LAST_ATTEMPT}) where version = $version"  # noqa: S608
        found = self.reader.fetch(answered, start=start, end=end, version=version, inputs=columns)
        inputs = {one: found[INPUT_PREFIX + one] for one in columns}
        return _Answers(predictions_of(found["outputs"], self._task), inputs)

    def _outputs(self, found: Predictions, before: Compared) -> tuple[FeatureDrift, ...]:
        drifts = []
        for feature in before.reference.outputs:
            gatherer = self._gatherer(feature, len(found), before)
            gatherer.add(output_of(found, feature))
            drifts.append(gatherer.result(self.system.spec.monitoring.drift.min_effect))
        return tuple(drifts)

    @cached_property
    def estimates(self) -> Estimates:
        """What the windows' quality probably is."""
        return Estimates(self.system, self.estimator, self.quality_reference)

    @property
    def _task(self) -> Task:
        return task_of(self.system.spec)

    def _gatherer(self, feature: FeatureReference, rows: int, before: Compared) -> _Gatherer:
        return _Gatherer(
            feature,
            values_of(feature),
            before.detectors.get(feature.name),
            rows,
            self.exact_rows,
            has_reference=feature.name in self.detectors,
        )


class _Answers(NamedTuple):
    predictions: Predictions
    inputs: Mapping[str, pa.ChunkedArray]
    """By column; only where an estimate needs them."""


class _Gatherer:
    """Takes the values of one feature batch by batch, then compares them."""

    def __init__(
        self,
        feature: FeatureReference,
        values: Values,
        detector: FittedDetector | None,
        rows: int,
        most: int,
        *,
        has_reference: bool,
    ) -> None:
        """Of `rows` rows up to `most` are compared exactly; `has_reference`: training saw a value."""
        self._has_reference = has_reference
        self.feature = feature
        self._values = values
        self._detector = detector
        self._stream = (
            feature.detector.stream(feature.sample) if rows > most and len(feature.sample) else None
        )
        self._every = max(1, -(-rows // (most if self._stream is None else MOST_MOVED)))
        self._gathered: list[NDArray[Any]] = []
        self._rows = 0
        self._present = 0

    def add(self, values: pa.Array | pa.ChunkedArray) -> Read:
        first = -self._rows % self._every
        self._rows += len(values)
        present = self._values.present(values)
        self._present += int(np.count_nonzero(present.is_there))
        if self._stream is not None:
            self._stream.add(present.values[present.is_there])
        self._gathered.append(present.values[first :: self._every][present.is_there[first :: self._every]])
        return present

    def _compare(self) -> tuple[float, float | None, float] | None:
        """Effect, p-value if there is one, bound on the error."""
        if self._stream is not None:
            return self._stream.result()
        gathered = np.concatenate(self._gathered)
        if self._detector is None or not len(gathered):
            return None
        distance = self._detector.compare(gathered)
        p_value = distance.p_value if math.isfinite(distance.p_value) else None
        return distance.effect, p_value, 0.0

    def result(self, min_effect: float) -> FeatureDrift:
        feature, rows = self.feature, self._rows
        effect, p_value, error, failure = None, None, 0.0, ""
        threshold = min_effect
        try:
            threshold = feature.distance_threshold(self._present, min_effect)
            found = self._compare() if self._present and self._detector is not None else None
            effect, p_value, error = found if found is not None else (None, None, 0.0)
        except InvalidDataError as wrong:
            # A person's own detector: what else is asked of the window has its answer without it.
            failure = str(wrong)
        missing = 1 - self._present / rows if rows else None
        is_above = compare(effect, threshold) is WindowOutcome.BREACH
        return FeatureDrift(
            feature=feature.name,
            rows=self._present,
            distance=effect,
            threshold=threshold,
            p_value=p_value,
            missing_rate=missing,
            missing_rise=max(0.0, missing - feature.missing_rate) if missing is not None else None,
            missing_threshold=feature.rise_threshold(rows, min_effect),
            error=error,
            test=feature.detector.test,
            has_reference=self._has_reference,
            moves=moves_of(feature, np.concatenate(self._gathered)) if is_above else (),
            failure=failure,
        )


class _Together:
    """Takes the rows batch by batch, all features of each, then compares them."""

    def __init__(self, reference: RowsReference, rows: int, most: int) -> None:
        """Of `rows` rows up to `most` are kept, if the detector needs any."""
        self._reference = reference
        self._stream = reference.detector.stream(reference.sample)
        self._every = max(1, -(-rows // most))
        self._gathered: list[NDArray[np.float32]] = []
        self._rows = 0

    def add(self, read: Sequence[Read], rows: int) -> None:
        first = -self._rows % self._every
        self._rows += rows
        matrix = self._reference.encoding.matrix(read, rows)
        if self._stream is not None:
            self._stream.add(matrix)
        else:
            self._gathered.append(matrix[first :: self._every])

    def result(self, min_effect: float) -> FeatureDrift:
        reference = self._reference
        threshold = reference.distance_threshold(self._rows, min_effect)
        given_away: Mapping[str, float] = {}
        if self._stream is not None:
            effect, p_value, error = self._stream.result()
        else:
            window = np.concatenate(self._gathered)
            found = reference.detector.compare(reference.sample, window)
            effect, p_value, error = found.effect, found.p_value, 0.0
            if effect > threshold:
                given_away = reference.detector.given_away(
                    reference.sample, window, reference.encoding.columns
                )
        return FeatureDrift(
            feature=ALL_FEATURES,
            rows=self._rows,
            distance=effect,
            threshold=threshold,
            p_value=p_value,
            missing_rate=None,
            missing_rise=None,
            missing_threshold=1.0,
            error=error,
            test=reference.detector.test,
            given_away=given_away,
        )
