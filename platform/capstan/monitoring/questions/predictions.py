"""Whether the version's answers moved away from those at training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import DriftWindow, Gap, WindowOutcome


class PredictionsQuestion(WindowQuestion):
    """A distance of the predictions above its threshold."""

    name: ClassVar[str] = "predictions"
    alert: ClassVar[AlertFacts] = AlertFacts("PredictionDrifted", "warning", "drift")

    def ask(self, window: DriftWindow) -> Answer:
        if (gap := window.too_few) is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, gap)
        if window.prediction is None:
            lacking = Gap(
                "NoReference", "the version carries no reference of its predictions; train it again"
            )
            return Answer(WindowOutcome.NO_EVIDENCE, lacking)
        outcome = window.prediction.drift
        if outcome is not WindowOutcome.NO_EVIDENCE:
            return Answer(outcome)
        if window.prediction.failure:
            return Answer(outcome, Gap("DetectorFailed", window.prediction.failure))
        return Answer(outcome, Gap("NoValues", "the version answered no request"))

    def summary(self, text: AlertText) -> str:
        distance = text.value_of("capstan_prediction_drift_distance")
        return f"distance of predictions from those at training: {distance}{text.in_windows}"

    def readings(self, window: DriftWindow) -> Iterable[Reading]:
        if window.prediction is not None and window.prediction.distance is not None:
            yield Reading(
                "capstan_prediction_drift_distance", "Distance of predictions", window.prediction.distance
            )
            yield Reading(
                "capstan_prediction_drift_threshold", "What it must exceed", window.prediction.threshold
            )
