"""Whether more values are missing than in the training data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import DriftWindow, WindowOutcome, worst


class MissingQuestion(WindowQuestion):
    """A missing rate of any feature that rose above its threshold."""

    name: ClassVar[str] = "missing"
    alert: ClassVar[AlertFacts] = AlertFacts("MissingValuesRose", "warning", "drift")
    tells_gaps: ClassVar[bool] = False

    def ask(self, window: DriftWindow) -> Answer:
        if window.too_few is not None:
            return Answer(WindowOutcome.NO_EVIDENCE)
        return Answer(worst(feature.missing for feature in window.features))

    def summary(self, text: AlertText) -> str:
        above = text.features_above("capstan_missing_rise", "capstan_missing_threshold")
        return f"missing values rose: {above}{text.in_windows.strip()}"

    def readings(self, window: DriftWindow) -> Iterable[Reading]:
        for feature in window.features:
            values = {
                ("capstan_missing_rate", "Share of missing values"): feature.missing_rate,
                ("capstan_missing_rise", "Above the training data's"): feature.missing_rise,
                ("capstan_missing_threshold", "What the rise must exceed"): feature.missing_threshold,
            }
            for (metric, text), value in values.items():
                if value is not None:
                    yield Reading(metric, text, value, {"feature": feature.feature})
