"""Whether the version's answers moved away from those at training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import DriftWindow, Gap, WindowOutcome, worst

_LEAST_THRESHOLD = 1e-9


class PredictionsQuestion(WindowQuestion):
    """A distance of the predictions above its threshold."""

    name: ClassVar[str] = "predictions"
    alert: ClassVar[AlertFacts] = AlertFacts("PredictionDrifted", "warning", "drift")

    def ask(self, window: DriftWindow) -> Answer:
        if (gap := window.too_few) is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, gap)
        if window.no_output_reference is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, window.no_output_reference)
        if not window.outputs:
            lacking = Gap(
                "NoReference", "the version carries no reference of its predictions; train it again"
            )
            return Answer(WindowOutcome.NO_EVIDENCE, lacking)
        outcome = worst(output.drift for output in window.outputs)
        if outcome is not WindowOutcome.NO_EVIDENCE:
            return Answer(outcome)
        failed = [output.failure for output in window.outputs if output.failure]
        if failed:
            return Answer(outcome, Gap("DetectorFailed", failed[0]))
        return Answer(outcome, Gap("NoValues", "the version answered no request"))

    def summary(self, text: AlertText) -> str:
        distance = text.value_of("capstan_prediction_drift_distance")
        if text.has_several_outputs:
            distance = f"{text.label_of('capstan_prediction_drift_distance', 'output')} {distance}"
        earlier = text.earlier or "at training"
        return f"distance of predictions from those {earlier}: {distance}{text.in_windows}"

    def readings(self, window: DriftWindow) -> Iterable[Reading]:
        told = [
            (output.distance, output.threshold, output.feature.removeprefix(":"))
            for output in window.outputs
            if output.distance is not None
        ]
        if told:
            # Of several outputs the one that has moved farthest, as the alert's text tells it.
            distance, threshold, name = max(told, key=lambda one: one[0] / max(one[1], _LEAST_THRESHOLD))
            labels = {"output": name}
            yield Reading("capstan_prediction_drift_distance", "Distance of predictions", distance, labels)
            yield Reading("capstan_prediction_drift_threshold", "What it must exceed", threshold, labels)
