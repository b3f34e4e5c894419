"""Decided windows as JSON, for the page, the report and people with curl."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from capstan.monitoring.causes.words import causes_in_words, moved_in_words, online_in_words
from capstan.monitoring.watched_version import answers_of
from capstan.monitoring.windows import (
    Causes,
    Concept,
    DriftWindow,
    Estimate,
    FeatureDrift,
    Gap,
    OnlineDrift,
    OnlineFeature,
    QualityWindow,
    ReferenceWindow,
    SlicesDrift,
    WindowOutcome,
)


def tell_drift(window: DriftWindow) -> dict[str, Any]:
    """One drift window: the answers to its questions, and each feature's distance beside its threshold."""
    return {
        "number": window.number,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "rows": window.rows,
        "has_enough_rows": window.has_enough_rows,
        **({"wanted_rows": window.wanted_rows} if window.wanted_rows else {}),
        **({"doubt": window.doubt} if window.doubt else {}),
        "answers": {
            name: {
                "outcome": answer.outcome,
                "gap": _gap(answer.gap),
                **({"besides": answer.besides} if answer.besides else {}),
                "numbers": dict(window.numbers.get(name, {})),
            }
            for name, answer in answers_of("Drift", window).items()
        },
        "estimate": None if window.estimate is None else tell_estimate(window.estimate),
        "features": {feature.feature: _feature(feature) for feature in (*window.features, *window.together)},
        "moved": moved_in_words(window),
        "outputs": {output.feature.removeprefix(":"): _feature(output) for output in window.outputs},
        **({"reference": _reference(window.reference)} if window.reference is not None else {}),
        **({"slices": _slices(window.slices)} if window.slices is not None else {}),
    }


def tell_quality(window: QualityWindow) -> dict[str, Any]:
    """What labelled answers of a window said."""
    return {
        "metric": window.metric,
        "value": window.value,
        "standard_error": window.standard_error,
        "reference": window.reference,
        "drop": window.drop,
        "drop_bound": window.drop_bound,
        "coverage": window.coverage,
        "answered": window.answered,
        "labelled": window.labelled,
        "floor": window.floor,
        "decision": window.decision,
        "reason": window.reason,
        "message": window.message,
        "notes": list(window.notes),
        "concept": None if window.concept is None else tell_concept(window.concept),
        "causes": None if window.causes is None else tell_causes(window.causes),
    }


def tell_causes(found: Causes) -> dict[str, Any]:
    """By which kinds of rows losses rose, and the same in sentences; `unexplained` is in units of the loss too."""
    return {
        "metric": found.metric,
        "rows": found.rows,
        "loss": found.loss,
        "reference": found.reference,
        "rise": found.rise,
        "causes": [{**asdict(one), "explained": one.explained} for one in found.causes],
        "unexplained": found.unexplained,
        "unexplained_margin": found.unexplained_margin,
        "gap": _gap(found.gap),
        "sentences": list(causes_in_words(found)),
    }


def tell_concept(concept: Concept) -> dict[str, Any]:
    """Whether losses rose; without the values that the detector keeps."""
    return {
        "detector": concept.detector,
        "metric": concept.metric,
        "loss": concept.loss,
        "reference": concept.reference,
        "outcome": concept.outcome,
        "since": None if concept.since is None else concept.since.isoformat(),
        "gap": _gap(concept.gap),
    }


def tell_online(found: OnlineDrift) -> dict[str, Any]:
    """What online detectors said by the end of a window, and the same in a sentence; without what they keep."""
    return {
        "reached": found.reached.isoformat(),
        "lots": found.lots,
        "outcome": found.outcome,
        "since": None if found.since is None else found.since.isoformat(),
        "gap": _gap(found.gap),
        "features": {one.feature: _online_feature(one) for one in found.features if not one.is_output},
        "outputs": {
            one.feature.removeprefix(":"): _online_feature(one) for one in found.features if one.is_output
        },
        "sentences": [] if found.since is None else [online_in_words(found)],
    }


def _online_feature(one: OnlineFeature) -> dict[str, Any]:
    return {
        "test": one.test,
        "distance": one.distance,
        "threshold": one.threshold,
        "breach": one.is_above,
    }


def tell_estimate(estimate: Estimate) -> dict[str, Any]:
    """What the quality of a window probably is; `truth` and `held` come with its labels."""
    return {
        "metric": estimate.metric,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "reference": estimate.reference,
        "floor": estimate.floor,
        "outside": estimate.outside,
        "decision": estimate.decision,
        "reason": estimate.reason,
        "message": estimate.message,
        "is_sure": estimate.is_sure,
        "truth": None,
        "held": None,
    }


def tell_truth(told: dict[str, Any] | None, window: QualityWindow) -> dict[str, Any] | None:
    """The told estimate with the truth of the same window, and whether that lay within the interval."""
    if told is None or window.value is None or told["metric"] != window.metric:
        return told
    has_interval = told["low"] is not None
    return {
        **told,
        "truth": window.value,
        "held": told["low"] <= window.value <= told["high"] if has_interval else None,
    }


def _reference(found: ReferenceWindow) -> dict[str, str]:
    return {"start": found.start.isoformat(), "end": found.end.isoformat()}


def _slices(found: SlicesDrift) -> dict[str, Any]:
    return {
        "compared": found.compared,
        "too_few": found.too_few,
        "least_rows": found.least_rows,
        "left_out": list(found.left_out),
        "moved": found.moved,
        "gap": _gap(found.gap),
        "farthest": [
            {
                "slice": one.slice,
                "feature": one.feature,
                "rows": one.rows,
                "distance": one.distance,
                "threshold": one.threshold,
                "breach": one.is_above,
            }
            for one in found.farthest
        ],
    }


def _gap(gap: Gap | None) -> dict[str, str] | None:
    return None if gap is None else {"reason": gap.reason, "message": gap.message}


def _feature(feature: FeatureDrift) -> dict[str, Any]:
    return {
        "test": feature.test,
        "rows": feature.rows,
        "distance": feature.distance,
        "threshold": feature.threshold,
        "error": feature.error,
        "p_value": feature.p_value,
        "breach": feature.drift is WindowOutcome.BREACH,
        "missing_rate": feature.missing_rate,
        "missing_rise": feature.missing_rise,
        "missing_threshold": feature.missing_threshold,
        "missing_breach": feature.missing is WindowOutcome.BREACH,
        **({"moves": [asdict(move) for move in feature.moves]} if feature.moves else {}),
        **({"given_away": dict(feature.given_away)} if feature.given_away else {}),
    }
