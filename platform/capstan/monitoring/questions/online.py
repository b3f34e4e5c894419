"""Whether rows and their answers moved away from the training data, as they come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, Kind, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import OnlineDrift

DISTANCE, THRESHOLD = "capstan_online_drift", "capstan_online_drift_threshold"


class OnlineDriftQuestion(WindowQuestion):
    """A drift that an online detector finds, between the ends of windows too."""

    name: ClassVar[str] = "online"
    kind: ClassVar[Kind] = "Rows"
    alert: ClassVar[AlertFacts] = AlertFacts("OnlineDriftDetected", "warning", "drift")

    def is_asked(self, window: Any) -> bool:
        return window is not None

    def ask(self, window: OnlineDrift) -> Answer:
        return Answer(window.outcome, window.gap)

    def windows_needed(self, consecutive: int) -> int:  # noqa: ARG002
        """One: how often it may alarm without a drift is in its level."""
        return 1

    def summary(self, text: AlertText) -> str:
        detectors = " and ".join(text.system.spec.monitoring.drift.online) or "an online detector"
        above = text.features_above(DISTANCE, THRESHOLD)
        return f"{detectors} find that requests or their answers moved away from training: {above}times what is usual"

    def readings(self, window: OnlineDrift) -> Iterable[Reading]:
        for one in window.features:
            labels = {"feature": one.title}
            if one.distance is not None:
                yield Reading(
                    DISTANCE,
                    "How unlike the training the last requests are, 1 is usual",
                    one.distance,
                    labels,
                )
            yield Reading(THRESHOLD, "What it must exceed", one.threshold, labels)
