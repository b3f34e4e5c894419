"""Whether the version is probably worse than on its test window, told before labels come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from capstan.monitoring.estimates.record import Record
from capstan.monitoring.questions.question import AlertFacts, Answer, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import DriftWindow, Gap, WindowOutcome


class EstimatedDrop(WindowQuestion):
    """A drop of the estimated metric beyond the file's bound and beyond the estimate's own error."""

    name: ClassVar[str] = "estimate"
    alert: ClassVar[AlertFacts] = AlertFacts("EstimatedQualityDropped", "warning", "estimated_quality")

    def is_asked(self, window: Any) -> bool:
        return window is not None and window.estimate is not None and bool(window.estimate.is_asked)

    def is_believed(self, record: Record) -> bool:
        """Not after intervals that missed the truth more often than chance explains."""
        return not record.is_bad

    def ask(self, window: DriftWindow) -> Answer:
        if (gap := window.too_few) is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, gap)
        found = window.estimate
        if found is None:
            return Answer(WindowOutcome.NO_EVIDENCE, Gap("NoEstimator", "nothing was estimated"))
        if found.decision is WindowOutcome.NO_EVIDENCE:
            return Answer(found.decision, Gap(found.reason, found.message))
        return Answer(found.decision)

    def summary(self, text: AlertText) -> str:
        quality = text.system.spec.monitoring.quality
        return (
            f"{quality.metric} is estimated at {text.value_of('capstan_estimated_quality')} "
            f"({text.value_of('capstan_estimated_quality_low')} to "
            f"{text.value_of('capstan_estimated_quality_high')}){text.in_windows}, before labels; "
            f"at the test {text.value_of('capstan_estimated_quality_reference')}; "
            f"the drop exceeds {quality.max_drop:g} and the estimate's error"
        )

    def readings(self, window: DriftWindow) -> Iterable[Reading]:
        found = window.estimate
        if found is None:
            return
        values = {
            ("capstan_estimated_quality", "Metric of the last window, before labels"): found.value,
            ("capstan_estimated_quality_low", "Lower end of its interval"): found.low,
            ("capstan_estimated_quality_high", "Upper end of its interval"): found.high,
            ("capstan_estimated_quality_reference", "The metric on the test window"): found.reference,
            ("capstan_estimated_quality_outside", "Rows unlike the calibration's"): found.outside,
        }
        for (metric, text), value in values.items():
            if value is not None:
                yield Reading(metric, text, value, {"metric": found.metric})
