"""Measures one window: reads its rows, compares each feature with the reference, judges its labelled answers.

Inputs are those of all answered requests, whichever version answered, because a canary must not look like drift;
predictions and quality are those of the watched version alone. Windows of up to `EXACT_ROWS` rows are compared exactly;
larger ones are streamed through sketches, so memory stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from capstan.monitoring.drift.atoms import Atoms
from capstan.monitoring.drift.calibration import QUALITY_SHARE, false_breach_probability
from capstan.monitoring.drift.detectors import Detector
from capstan.monitoring.drift.distances import of_counts
from capstan.monitoring.drift.reference import FeatureReference, Reference
from capstan.monitoring.drift.sketch import Sketch
from capstan.monitoring.quality import QualityReference, judge_drop, measure
from capstan.monitoring.questions import QUESTIONS
from capstan.monitoring.questions.question import StoredRows
from capstan.monitoring.windows import DriftWindow, FeatureDrift, QualityWindow, WindowOutcome
from capstan.recording.pairing import CLOSED_COVERAGE
from capstan.recording.payloads import INPUT_PREFIX
from capstan.recording.reading import PayloadReader, day_starts, microseconds
from capstan.recording.served import served_with_labels
from capstan.spec import MLSystem
from capstan.spec.metrics import LOWER_IS_BETTER

EXACT_ROWS = 200_000
LARGEST_ERROR_PROBABILITY = 0.05

_ANSWERED = """
from stored_payloads
where role <> 'shadow' and status = 200 and not nonfinite and isfinite(prediction)
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
    detectors: dict[str, Detector]
    quality_reference: QualityReference | None
    """The quality metric on the version's test window; None: its manifest does not tell."""
    exact_rows: int = EXACT_ROWS

    def drift(self, number: int, version: str, start: datetime, end: datetime) -> DriftWindow:
        """The drift window; raises UnavailableError if the payloads cannot be read."""
        rows = int(
            self.reader.fetch(
                f"select count(distinct {{'request': request_id, 'row': row}}) as n {_ANSWERED}",
                start=start,
                end=end,
            )["n"][0].as_py()
        )
        watched = self.system.spec.monitoring
        enough = rows >= watched.window.min_rows
        if not enough:
            return DriftWindow(number, start, end, rows, False, min_rows=watched.window.min_rows)
        columns = sorted({feature.column for feature in self.reference.features})
        gatherers = [self._gatherer(feature, rows) for feature in self.reference.features]
        chosen = ", ".join('"' + INPUT_PREFIX + column.replace('"', '""') + '"' for column in columns)
        query = f"select {chosen} {_ANSWERED} {_LAST_ATTEMPT}"
        for batch in self.reader.batches(query, start=start, end=end, inputs=columns):
            for gatherer in gatherers:
                gatherer.add(batch.column(INPUT_PREFIX + gatherer.feature.column))
        return DriftWindow(
            number,
            start,
            end,
            rows,
            True,
            features=tuple(gatherer.result(watched.drift.min_effect) for gatherer in gatherers),
            prediction=self._prediction(version, start, end),
            min_rows=watched.window.min_rows,
            numbers=self._numbers(StoredRows(self.reader, self.system, version, start, end)),
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
        table = served_with_labels(self.reader, start, end, as_of=min(now, last), version=version)
        without = int(pc.sum(table["no_label"]).as_py() or 0)
        labelled = table.filter(pc.is_valid(table["label"]))
        candidates = len(table) - without
        coverage = len(labelled) / candidates if candidates else None
        if now < last and (coverage is None or coverage < CLOSED_COVERAGE):
            return None
        return self._judge(number, start, end, len(table), labelled, coverage)

    def _judge(
        self,
        number: int,
        start: datetime,
        end: datetime,
        answered: int,
        labelled: pa.Table,
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
            rows = f"{answered:,} of {watched.window.min_rows:,} rows (monitoring.window.minRows)"
            return told(WindowOutcome.NO_EVIDENCE, "TooFewRows", rows)
        quality = measure(
            watched.quality.metric,
            labelled["label"].to_numpy() > 0,
            labelled["prediction"].to_numpy().astype(np.float64),
            self._days(labelled, start, end),
        )
        found: dict[str, Any] = {"value": quality.value, "standard_error": quality.standard_error}
        if quality.value is None:
            one_class = (
                f"{watched.quality.metric} is not defined on {len(labelled):,} labels, as of one class"
            )
            return told(WindowOutcome.NO_EVIDENCE, "Undefined", one_class)
        if self.quality_reference is None:
            return told(
                WindowOutcome.NO_EVIDENCE,
                "NoReference",
                f"the version does not tell its {watched.quality.metric} on the test window; train it again",
                **found,
            )
        drop = judge_drop(
            watched.quality.metric,
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
            few = f"it is lower by {drop.drop:.3f}, but {quality.days} days do not tell that from chance"
            return told(WindowOutcome.NO_EVIDENCE, "TooFewDays", few, **found)
        return told(WindowOutcome.FINE, "Fine", **found)

    def _coverage_in_words(self, answered: int, coverage: float | None) -> str:
        if not answered:
            return "the version answered no request"
        least = f"{self.system.spec.monitoring.quality.min_coverage:.0%} (monitoring.quality.minCoverage)"
        if coverage is None:
            return f"labels of 0 % of {answered:,} rows, {least} are needed"
        return f"labels of {coverage:.0%} of {answered:,} rows, {least} are needed"

    def _floor(self) -> float | None:
        quality = self.system.spec.monitoring.quality
        if self.quality_reference is None:
            return None
        lower = quality.metric in LOWER_IS_BETTER
        return self.quality_reference.value + (quality.max_drop if lower else -quality.max_drop)

    def _error_probability(self) -> float:
        watched = self.system.spec.monitoring
        allowed = false_breach_probability(
            QUALITY_SHARE * watched.drift.false_alarms_per_month, watched.window.duration, 1, 1
        )
        return min(LARGEST_ERROR_PROBABILITY, allowed)

    def _days(self, table: pa.Table, start: datetime, end: datetime) -> NDArray[np.int64]:
        zone = ZoneInfo(self.system.spec.data.time_zone)
        starts = np.array([microseconds(day) for day in day_starts(start, end, zone)], dtype=np.int64)
        moments = table["event_time"].cast(pa.int64()).to_numpy()
        days: NDArray[np.int64] = np.searchsorted(starts, moments, side="right").astype(np.int64)
        return days

    def _prediction(self, version: str, start: datetime, end: datetime) -> FeatureDrift | None:
        feature = self.reference.prediction
        if feature is None:
            return None
        answered = f"select prediction from (select * {_ANSWERED} {_LAST_ATTEMPT}) where version = $version"  # noqa: S608
        table = self.reader.fetch(answered, start=start, end=end, version=version)
        gatherer = self._gatherer(feature, len(table))
        gatherer.add(table["prediction"])
        return gatherer.result(self.system.spec.monitoring.drift.min_effect)

    def _gatherer(self, feature: FeatureReference, rows: int) -> _Gatherer:
        detector = self.detectors.get(feature.name)
        if feature.kind == "categorical":
            return _Categories(feature, detector, rows > self.exact_rows)
        return _Numbers(feature, detector, rows > self.exact_rows)


class _Gatherer:
    """Takes the values of one feature batch by batch, then compares them."""

    def __init__(self, feature: FeatureReference, detector: Detector | None, is_large: bool) -> None:
        self.feature = feature
        self._detector = detector
        self._is_large = is_large
        self._rows = 0
        self._present = 0

    def add(self, values: pa.Array | pa.ChunkedArray) -> None:
        raise NotImplementedError

    def _compare(self) -> tuple[float, float | None, float]:
        """Effect, p-value if there is one, bound on the error."""
        raise NotImplementedError

    def result(self, min_effect: float) -> FeatureDrift:
        feature, rows = self.feature, self._rows
        effect, p_value, error = None, None, 0.0
        if self._present and self._detector is not None:
            effect, p_value, error = self._compare()
        missing = 1 - self._present / rows if rows else None
        return FeatureDrift(
            feature=feature.name,
            rows=self._present,
            distance=effect,
            threshold=feature.distance_threshold(self._present, min_effect),
            p_value=p_value,
            missing_rate=missing,
            missing_rise=max(0.0, missing - feature.missing_rate) if missing is not None else None,
            missing_threshold=feature.rise_threshold(rows, min_effect),
            error=error,
            test="KS" if feature.kind == "numeric" else "TotalVariation",
            has_reference=self._detector is not None,
        )


class _Numbers(_Gatherer):
    def __init__(self, feature: FeatureReference, detector: Detector | None, is_large: bool) -> None:
        super().__init__(feature, detector, is_large)
        self._atoms = Atoms.of(feature.sample.astype(np.float64))
        self._sketch = Sketch(feature.sample) if is_large and len(feature.sample) else None
        self._kept: list[NDArray[np.floating[Any]]] = []

    def add(self, values: pa.Array | pa.ChunkedArray) -> None:
        self._rows += len(values)
        if not pa.types.is_floating(values.type):
            values = _as_numbers(values)
        numbers = values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
        numbers = self._atoms.snap(numbers)
        # One NaN would make alibi-detect's p-value NaN and hide any shift: what is not finite is missing.
        if self._sketch is not None:
            before = self._sketch.rows
            self._sketch.add(numbers)
            self._present += self._sketch.rows - before
            return
        finite = numbers[np.isfinite(numbers)]
        self._present += len(finite)
        if not self._is_large:
            self._kept.append(finite)

    def _compare(self) -> tuple[float, float | None, float]:
        if self._sketch is not None:
            found = self._sketch.distance()
            return found.effect, None, found.error
        assert self._detector is not None
        distance = self._detector.compare(np.concatenate(self._kept))
        return distance.effect, distance.p_value, 0.0


class _Categories(_Gatherer):
    def __init__(self, feature: FeatureReference, detector: Detector | None, is_large: bool) -> None:
        super().__init__(feature, detector, is_large)
        self._kept: list[NDArray[np.int64]] = []
        self._counts = np.zeros(len(feature.vocabulary) + 1, dtype=np.int64)

    def add(self, values: pa.Array | pa.ChunkedArray) -> None:
        self._rows += len(values)
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        encoded = values.dictionary_encode()
        codes_of = self.feature.codes(encoded.dictionary.to_pylist())
        indices = encoded.indices.drop_null().to_numpy(zero_copy_only=False)
        codes = codes_of[indices] if len(codes_of) else np.empty(0, dtype=np.int64)
        codes = codes[codes >= 0]
        self._present += len(codes)
        self._counts += np.bincount(codes, minlength=len(self._counts))
        if not self._is_large:
            self._kept.append(codes)

    def _compare(self) -> tuple[float, float | None, float]:
        if self._is_large:
            reference = np.bincount(self.feature.sample.astype(np.int64), minlength=len(self._counts))
            found = of_counts(reference, self._counts)
            return found.effect, found.p_value, 0.0
        assert self._detector is not None
        distance = self._detector.compare(np.concatenate(self._kept))
        return distance.effect, distance.p_value, 0.0


def _as_numbers(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    try:
        return values.cast(pa.float64())
    except pa.ArrowInvalid:
        # Text in a numeric column: as good as missing, and the missing rate will tell.
        return pa.nulls(len(values), pa.float64())
