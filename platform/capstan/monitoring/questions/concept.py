"""Whether the losses of labelled answers rose above those of the test window, window after window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, Kind, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import Gap, QualityWindow, WindowOutcome


class ConceptDrift(WindowQuestion):
    """A rise that a detector of concept drift finds, however small in a single window."""

    name: ClassVar[str] = "concept"
    kind: ClassVar[Kind] = "Quality"
    alert: ClassVar[AlertFacts] = AlertFacts("ConceptDrifted", "warning", "quality")

    def is_asked(self, window: Any) -> bool:
        return window is not None and window.concept is not None

    def ask(self, window: QualityWindow) -> Answer:
        found = window.concept
        if found is None:
            return Answer(WindowOutcome.NO_EVIDENCE, Gap("NotWatched", "the file names no detector"))
        return Answer(found.outcome, found.gap)

    def windows_needed(self, consecutive: int) -> int:  # noqa: ARG002
        """One: the detector has looked at all windows of the version."""
        return 1

    def summary(self, text: AlertText) -> str:
        detector = text.system.spec.monitoring.quality.concept or "a detector"
        return (
            f"{detector} finds that losses rose: {text.label_of('capstan_concept_loss', 'metric')} loss "
            f"{text.value_of('capstan_concept_loss')} a row in the last window with labels, at the test "
            f"{text.value_of('capstan_concept_loss_reference')}"
        )

    def readings(self, window: QualityWindow) -> Iterable[Reading]:
        found = window.concept
        if found is None:
            return
        labels = {"metric": found.metric, "detector": found.detector}
        values = {
            ("capstan_concept_loss", "Mean loss of the last labelled window"): found.loss,
            ("capstan_concept_loss_reference", "Mean loss of the test window"): found.reference,
        }
        for (metric, text), value in values.items():
            if value is not None:
                yield Reading(metric, text, value, labels)
