"""Whether the inputs moved away from the training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, Reading, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import (
    DriftWindow,
    FeatureDrift,
    Gap,
    SlicesDrift,
    WindowOutcome,
    worst,
)

GIVEN_AWAY = "capstan_drift_given_away"
SLICE_DISTANCE = "capstan_drift_slice_distance"
_SLICES_NAMED = 3


class DriftQuestion(WindowQuestion):
    """A distance of any feature above its threshold."""

    name: ClassVar[str] = "drift"
    alert: ClassVar[AlertFacts] = AlertFacts("DriftDetected", "warning", "drift")

    def ask(self, window: DriftWindow) -> Answer:
        if (gap := window.too_few) is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, gap)
        if window.no_reference is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, window.no_reference)
        outcomes = [
            feature.drift for feature in (*window.features, *window.together) if feature.has_reference
        ]
        of_features = worst(outcomes)
        asked = window.slices if window.slices is not None and window.slices.is_asked else None
        outcome = worst([*outcomes, asked.outcome]) if asked is not None else of_features
        if outcome is WindowOutcome.FINE and window.slices is not None:
            # As `asked` would be a breach, no slice that is asked for moved.
            return Answer(outcome, besides=slices_in_words(window.slices))
        if outcome is not WindowOutcome.NO_EVIDENCE:
            return Answer(outcome)
        if asked is not None and asked.gap is not None and of_features is not WindowOutcome.NO_EVIDENCE:
            return Answer(outcome, asked.gap)
        if not any(feature.has_reference for feature in window.features):
            gap = Gap("NoReference", "the version carries no reference of its inputs; train it again")
        else:
            gap = silence(window.features)
        return Answer(outcome, gap)

    def summary(self, text: AlertText) -> str:
        # Each window has features above their thresholds, but not always the same ones.
        above = text.features_above("capstan_drift_distance", "capstan_drift_threshold")
        told = f"drift{text.from_reference}{text.in_a_row}; above threshold in the last: {above}(distance)"
        spec = text.system.spec
        if spec.monitoring.drift.multivariate == "Classifier":
            told += text.largest(GIVEN_AWAY, ", given away by ")
        return told + text.slices_above(SLICE_DISTANCE, "; by slice: ") if spec.evaluation.slices else told

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
        for one in window.slices.above if window.slices is not None else ():
            yield Reading(
                SLICE_DISTANCE,
                "Distance of a feature among the rows of one slice, where it is above its threshold",
                one.distance,
                {"slice": one.slice, "feature": one.feature},
            )


def slices_in_words(found: SlicesDrift) -> str:
    """Which slices moved though all rows together did not; empty: none of those that were compared."""
    if not found.moved:
        return ""
    above = [
        f"{one.slice}: {one.feature} {one.distance:.3f} above {one.threshold:.3f}"
        for one in found.above[:_SLICES_NAMED]
    ]
    more = [f"{found.moved - len(above)} more"] if found.moved > len(above) else []
    return (
        f"{', '.join([*above, *more])} by slice, of which there is no alert (monitoring.drift.slices.alert)"
    )


def silence(features: Sequence[FeatureDrift]) -> Gap:
    """Why columns that have a reference gave no distance."""
    failed = [feature.failure for feature in features if feature.failure]
    if failed:
        return Gap("DetectorFailed", failed[0])
    silent = [feature.feature for feature in features if feature.drift is WindowOutcome.NO_EVIDENCE]
    return Gap("NoValues", f"no value of {', '.join(silent)} in any request")
