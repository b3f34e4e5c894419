"""Measures one window: reads its rows, compares each feature with the reference, judges its labelled answers.

Inputs are those of all answered requests, whichever version answered, because a canary must not look like drift;
predictions and quality are those of the watched version alone. Windows of up to `EXACT_ROWS` rows are compared exactly;
larger ones are streamed through sketches, so memory stays the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.monitoring.drift.calibration import QUALITY_SHARE, false_breach_probability
from capstan.monitoring.drift.fitted_detectors import FittedDetector
from capstan.monitoring.drift.reference import FeatureReference, Reference, RowsReference
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
    DriftWindow,
    FeatureDrift,
    QualityWindow,
    WindowOutcome,
    few_rows,
)
from capstan.recording.outputs import predictions_of
from capstan.recording.pairing import CLOSED_COVERAGE
from capstan.recording.payloads import INPUT_PREFIX
from capstan.recording.reading import PayloadReader, day_starts, microseconds
from capstan.recording.served import Served, served_with_labels
from capstan.spec import MLSystem
from capstan.spec.monitoring import ALL_FEATURES
from capstan.tasks import Predictions, Task, task_of

EXACT_ROWS = 200_000
LARGEST_ERROR_PROBABILITY = 0.05

_ANSWERED = """
from stored_payloads
where role <> 'shadow' and status = 200 and not nonfinite
  and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
"""
_LAST_ATTEMPT = """
qualify row_number() over (partition by request_id, row order by attempt desc, version, boot, sequence) = 1
"""


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
    exact_rows: int = EXACT_ROWS

    def drift(self, number: int, version: str, start: datetime, end: datetime) -> DriftWindow:
        """The drift window; raises UnavailableError if the payloads cannot be read."""
        watched = self.system.spec.monitoring
        rows = int(
            self.reader.fetch(
                f"select count(distinct {{'request': request_id, 'row': row}}) as n {_ANSWERED}",
                start=start,
                end=end,
            )["n"][0].as_py()
        )
        if rows < watched.window.min_rows:
            few, least = few_rows(rows, watched.window.min_rows), watched.window.min_rows
            none = self.estimates.none(few.reason, few.message)
            return DriftWindow(number, start, end, rows, False, min_rows=least, estimate=none)
        columns = sorted({feature.column for feature in self.reference.features} | self.estimates.columns)
        unlike = Unlike(self.estimates.seen)
        gatherers = [self._gatherer(feature, rows) for feature in self.reference.features]
        chosen = ", ".join('"' + INPUT_PREFIX + column.replace('"', '""') + '"' for column in columns)
        query = f"select {chosen} {_ANSWERED} {_LAST_ATTEMPT}"
        together = [
            _Together(one, rows, self.exact_rows) for one in (self.reference.together,) if one is not None
        ]
        for batch in self.reader.batches(query, start=start, end=end, inputs=columns):
            read = [
                gatherer.add(batch.column(INPUT_PREFIX + gatherer.feature.column)) for gatherer in gatherers
            ]
            for all_of_them in together:
                all_of_them.add(read, batch.num_rows)
            unlike.add({one.column: batch.column(INPUT_PREFIX + one.column) for one in unlike.seen})
        answers = self._answers(version, start, end)
        return DriftWindow(
            number,
            start,
            end,
            rows,
            True,
            features=tuple(gatherer.result(watched.drift.min_effect) for gatherer in gatherers),
            outputs=self._outputs(answers.predictions),
            together=tuple(all_of_them.result(watched.drift.min_effect) for all_of_them in together),
            min_rows=watched.window.min_rows,
            numbers=self._numbers(StoredRows(self.reader, self.system, version, start, end)),
            estimate=self.estimates.of(
                answers.predictions,
                answers.inputs,
                unlike,
                error_probability=self._error_probability(),
                window=end - start,
            ),
        )

    def _numbers(self, rows: StoredRows) -> dict[str, Mapping[str, float]]:
        measured = ((name, question.measure(rows)) for name, question in QUESTIONS.items())
        return {name: numbers for name, numbers in measured if numbers}

    def quality(
        self, number: int, version: str, start: datetime, end: datetime, *, now: datetime
    ) -> QualityWindow | None:
        """The quality window, or None while its labels may still come; raises UnavailableError."""
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
        return self._judge(number, start, end, len(served), labelled, coverage)

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
            error_probability=self._error_probability(),
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

    def _error_probability(self) -> float:
        watched = self.system.spec.monitoring
        allowed = false_breach_probability(
            QUALITY_SHARE * watched.drift.false_alarms_per_month, watched.window.duration, 1, 1
        )
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

    def _answers(self, version: str, start: datetime, end: datetime) -> _Answers:
        """What the version said; with its inputs where these are needed to estimate how right it was."""
        if not self.reference.outputs and not self.estimates.can:
            return _Answers(predictions_of(pa.array([], pa.struct([])), self._task), {})
        columns = sorted(self.estimates.needed)
        chosen = ", ".join(
            ["outputs", *('"' + INPUT_PREFIX + one.replace('"', '""') + '"' for one in columns)]
        )
        answered = f"select {chosen} from (select * {_ANSWERED} {_LAST_ATTEMPT}) where version = $version"  # noqa: S608
        found = self.reader.fetch(answered, start=start, end=end, version=version, inputs=columns)
        inputs = {one: found[INPUT_PREFIX + one] for one in columns}
        return _Answers(predictions_of(found["outputs"], self._task), inputs)

    def _outputs(self, found: Predictions) -> tuple[FeatureDrift, ...]:
        drifts = []
        for feature in self.reference.outputs:
            gatherer = self._gatherer(feature, len(found))
            values = found.columns.get(feature.column)
            gatherer.add(
                pa.nulls(len(found), pa.float64()) if values is None else pa.array(values, from_pandas=True)
            )
            drifts.append(gatherer.result(self.system.spec.monitoring.drift.min_effect))
        return tuple(drifts)

    @cached_property
    def estimates(self) -> Estimates:
        """What the windows' quality probably is."""
        return Estimates(self.system, self.estimator, self.quality_reference)

    @property
    def _task(self) -> Task:
        return task_of(self.system.spec)

    def _gatherer(self, feature: FeatureReference, rows: int) -> _Gatherer:
        values = _Categories(feature) if feature.kind == "categorical" else _Numbers(feature)
        return _Gatherer(feature, values, self.detectors.get(feature.name), rows, self.exact_rows)


class _Answers(NamedTuple):
    predictions: Predictions
    inputs: Mapping[str, pa.ChunkedArray]
    """By column; only where an estimate needs them."""


class _Gatherer:
    """Takes the values of one feature batch by batch, then compares them."""

    def __init__(
        self,
        feature: FeatureReference,
        values: _Numbers | _Categories,
        detector: FittedDetector | None,
        rows: int,
        most: int,
    ) -> None:
        """Of `rows` rows up to `most` are compared exactly."""
        self.feature = feature
        self._values = values
        self._detector = detector
        self._stream = feature.detector.stream(feature.sample) if rows > most else None
        self._every = max(1, -(-rows // most))
        self._gathered: list[NDArray[Any]] = []
        self._rows = 0
        self._present = 0

    def add(self, values: pa.Array | pa.ChunkedArray) -> _Read:
        first = -self._rows % self._every
        self._rows += len(values)
        present = self._values.present(values)
        self._present += int(np.count_nonzero(present.is_there))
        if self._stream is not None:
            self._stream.add(present.values[present.is_there])
        else:
            self._gathered.append(
                present.values[first :: self._every][present.is_there[first :: self._every]]
            )
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
            has_reference=self._detector is not None,
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

    def add(self, read: Sequence[_Read], rows: int) -> None:
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


class _Read(NamedTuple):
    values: NDArray[Any]
    """Numbers or codes, one for each row; of no meaning where it is not there."""
    is_there: NDArray[np.bool_]


class _Numbers:
    def __init__(self, feature: FeatureReference) -> None:
        self._atoms = feature.atoms

    def present(self, values: pa.Array | pa.ChunkedArray) -> _Read:
        if not pa.types.is_floating(values.type):
            values = _as_numbers(values)
        numbers = values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
        numbers = self._atoms.snap(numbers)
        # One NaN would make alibi-detect's p-value NaN and hide any shift: what is not finite is missing.
        return _Read(numbers, np.isfinite(numbers))


class _Categories:
    def __init__(self, feature: FeatureReference) -> None:
        self._feature = feature

    def present(self, values: pa.Array | pa.ChunkedArray) -> _Read:
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        encoded = values.dictionary_encode()
        codes_of = self._feature.codes(encoded.dictionary.to_pylist())
        if not len(codes_of):
            return _Read(np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.bool_))
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        codes = np.where(indices >= 0, codes_of[indices], -1)
        return _Read(codes, codes >= 0)


def _as_numbers(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    try:
        return values.cast(pa.float64())
    except pa.ArrowInvalid:
        # Text in a numeric column: as good as missing, and the missing rate will tell.
        return pa.nulls(len(values), pa.float64())
