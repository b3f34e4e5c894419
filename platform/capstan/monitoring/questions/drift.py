"""Whether the inputs moved away from the training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import DriftWindow, FeatureDrift, Gap, WindowOutcome, worst

GIVEN_AWAY = "capstan_drift_given_away"


class DriftQuestion(WindowQuestion):
    """A distance of any feature above its threshold."""

    name: ClassVar[str] = "drift"
    alert: ClassVar[AlertFacts] = AlertFacts("DriftDetected", "warning", "drift")

    def ask(self, window: DriftWindow) -> Answer:
        if (gap := window.too_few) is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, gap)
        outcome = worst(
            feature.drift for feature in (*window.features, *window.together) if feature.has_reference
        )
        if outcome is not WindowOutcome.NO_EVIDENCE:
            return Answer(outcome)
        if not any(feature.has_reference for feature in window.features):
            gap = Gap("NoReference", "the version carries no reference of its inputs; train it again")
        else:
            gap = silence(window.features)
        return Answer(outcome, gap)

    def summary(self, text: AlertText) -> str:
        # Each window has features above their thresholds, but not always the same ones.
        above = text.features_above("capstan_drift_distance", "capstan_drift_threshold")
        told = f"drift{text.in_a_row}; above threshold in the last: {above}(distance)"
        if text.system.spec.monitoring.drift.multivariate != "Classifier":
            return told
        return f"{told}{text.largest(GIVEN_AWAY, ', given away by ')}"

    def readings(self, window: DriftWindow) -> Iterable[Reading]:
        for feature in (*window.features, *window.together):
            labels = {"feature": feature.feature}
            if feature.distance is not None:
                yield Reading("capstan_drift_distance", "KS, or total variation", feature.distance, labels)
            yield Reading(
                "capstan_drift_threshold", "What the distance must exceed", feature.threshold, labels
            )
            for name, share in feature.given_away.items():
                yield Reading(
                    GIVEN_AWAY,
                    "Share of the distance of all features that is lost without one",
                    share,
                    {"feature": name},
                )


def silence(features: Sequence[FeatureDrift]) -> Gap:
    """Why columns that have a reference gave no distance."""
    failed = [feature.failure for feature in features if feature.failure]
    if failed:
        return Gap("DetectorFailed", failed[0])
    silent = [feature.feature for feature in features if feature.drift is WindowOutcome.NO_EVIDENCE]
    return Gap("NoValues", f"no value of {', '.join(silent)} in any request")
