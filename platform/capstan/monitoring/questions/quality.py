"""Whether the version is worse on labelled requests than it was on its test window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, Kind, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import NO_LABELS, Gap, QualityWindow, WindowOutcome


class QualityDrop(WindowQuestion):
    """A drop of the metric beyond the file's bound and beyond chance."""

    name: ClassVar[str] = "quality"
    kind: ClassVar[Kind] = "Quality"
    alert: ClassVar[AlertFacts] = AlertFacts("QualityDropped", "critical", "quality")

    def ask(self, window: QualityWindow) -> Answer:
        # Where nobody promised labels, their lack is no gap in what is watched.
        if window.decision is WindowOutcome.NO_EVIDENCE and window.reason != NO_LABELS:
            return Answer(window.decision, Gap(window.reason, window.message))
        return Answer(window.decision)

    def windows_needed(self, consecutive: int) -> int:  # noqa: ARG002
        """One: chance is already in the bound."""
        return 1

    def summary(self, text: AlertText) -> str:
        quality = text.system.spec.monitoring.quality
        return (
            f"{quality.metric} {text.value_of('capstan_quality')}, at the test "
            f"{text.value_of('capstan_quality_reference')}; "
            f"the drop exceeds {quality.max_drop:g} and chance"
        )

    def readings(self, window: QualityWindow) -> Iterable[Reading]:
        values = {
            ("capstan_quality", "Metric of the last labelled window"): window.value,
            ("capstan_quality_standard_error", "Its standard error over days"): window.standard_error,
            ("capstan_quality_reference", "The metric on the test window"): window.reference,
        }
        for (metric, text), value in values.items():
            if value is not None:
                yield Reading(metric, text, value, {"metric": window.metric})
        if window.coverage is not None:
            yield Reading("capstan_label_coverage", "Labelled share of the window", window.coverage)
