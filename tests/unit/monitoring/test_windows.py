"""How decided windows become alerts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.domain.watching import blind_spots
from capstan.monitoring.checkpoint import Checkpoint
from capstan.monitoring.questions.question import Answer
from capstan.monitoring.watched_version import WatchedVersion, answers_of, runs_after
from capstan.monitoring.windows import (
    DriftWindow,
    FeatureDrift,
    QualityWindow,
    WindowOutcome,
)
from capstan.ports.codec import from_json, to_json

SINCE, WEEK = datetime(2013, 2, 1, tzinfo=UTC), timedelta(days=7)
BREACH, FINE, NO_EVIDENCE = WindowOutcome.BREACH, WindowOutcome.FINE, WindowOutcome.NO_EVIDENCE


def feature(distance: float | None, *, rise: float | None = 0.0, has_reference: bool = True) -> FeatureDrift:
    return FeatureDrift("temp", 2000, distance, 0.1, None, 0.0, rise, 0.1, has_reference=has_reference)


def window(*features: FeatureDrift, number: int = 0, enough: bool = True) -> DriftWindow:
    start = SINCE + number * WEEK
    return DriftWindow(number, start, start + WEEK, 2000, enough, features)


@pytest.mark.parametrize(
    ("found", "decision"),
    [
        (window(feature(0.2), feature(0.0)), BREACH),
        (window(feature(0.1), feature(0.0)), FINE),
        (window(feature(0.0), feature(None)), NO_EVIDENCE),
        (window(feature(0.2), feature(None)), BREACH),
        (window(feature(float("nan"))), NO_EVIDENCE),
        (window(feature(0.9), enough=False), NO_EVIDENCE),
        (window(), NO_EVIDENCE),
        (window(feature(0.0), feature(None, has_reference=False)), FINE),
    ],
    ids=[
        "one_breach",
        "at_threshold",
        "one_unknown",
        "breach_beside_unknown",
        "nan",
        "too_few",
        "empty",
        "untrained",
    ],
)
def test_missing_evidence_is_never_fine_and_never_a_breach(
    found: DriftWindow, decision: WindowOutcome
) -> None:
    assert answers_of("Drift", found)["drift"].outcome is decision


@given(st.lists(st.sampled_from([BREACH, FINE, NO_EVIDENCE])))
def test_only_consecutive_breaches_alert_and_gaps_neither_add_nor_take(
    decisions: list[WindowOutcome],
) -> None:
    runs: Mapping[str, int] = {}
    for decision in decisions:
        runs = runs_after(runs, {"drift": Answer(decision)})
    decided = [decision for decision in decisions if decision is not NO_EVIDENCE]
    expected = len(decided) if FINE not in decided else decided[::-1].index(FINE)
    assert runs.get("drift", 0) == expected


def test_windows_overlap_where_looks_come_sooner_than_they_end() -> None:
    day, watch = timedelta(days=1), WatchedVersion("v1", "/model", SINCE)
    assert watch.next_drift(7 * day, day) == (SINCE, SINCE + 7 * day)
    watch = watch.with_drift(DriftWindow(0, SINCE, SINCE + 7 * day, 84, False))
    assert watch.next_drift(7 * day, day) == (SINCE + day, SINCE + 8 * day)
    assert watch.next_drift(7 * day, 7 * day) == (SINCE + 7 * day, SINCE + 14 * day)
    # After a change of the file no window begins before the version did.
    assert watch.next_drift(30 * day, day) == (SINCE, SINCE + 8 * day)
    assert watch.next_quality(7 * day) == (SINCE, SINCE + 7 * day)


def test_a_checkpoint_survives_json() -> None:
    checkpoint = Checkpoint().watching("v1", "/m", SINCE)
    checkpoint = checkpoint.with_drift(window(feature(0.2)), consecutive=2)
    assert from_json(Checkpoint, to_json(checkpoint)) == checkpoint


def test_watching_the_same_again_changes_nothing_and_another_begins_anew() -> None:
    checkpoint = Checkpoint().watching("v1", "/m", SINCE).with_drift(window(feature(0.2)), consecutive=1)
    assert checkpoint.watching("v1", "/m", SINCE) is checkpoint
    other = checkpoint.watching("v2", "/n", SINCE + WEEK)
    assert other.watch is not None
    assert (other.generation, other.watch.runs, other.watch.decided_drift) == (3, {}, 0)
    assert other.told == checkpoint.told
    assert checkpoint.watching("v1", "/m", SINCE + WEEK).watch.decided_drift == 0  # type: ignore[union-attr]


def few(number: int, rows: int = 84) -> DriftWindow:
    start = SINCE + number * WEEK
    return DriftWindow(number, start, start + WEEK, rows, False, min_rows=1000)


def judged(number: int) -> DriftWindow:
    start = SINCE + number * WEEK
    prediction = FeatureDrift(":probability", 2000, 0.0, 0.1, None, 0.0, 0.0, 0.1)
    return DriftWindow(number, start, start + WEEK, 2000, True, (feature(0.0),), (prediction,))


def quality(number: int, decision: WindowOutcome, reason: str, message: str = "") -> QualityWindow:
    start = SINCE + number * WEEK
    return QualityWindow(
        number, start, start + WEEK, "rocAuc", 84, 4, 0.05, None, None, 0.7, None, None, 0.65,
        decision, reason, message,
    )  # fmt: skip


def test_windows_without_a_verdict_are_an_alert_of_their_own_and_end_with_the_first_that_has_one() -> None:
    watch = WatchedVersion("v1", "/m", SINCE)
    assert [question.end for question in watch.questions()] == [None, None, None]
    held = []
    for found in (judged(0), few(1), few(2), few(3), judged(4)):
        watch = watch.with_drift(found)
        held.append(watch.alerts(consecutive=2))
    assert held == [(), (), ("MonitorBlind",), ("MonitorBlind",), ()]


def test_a_gap_says_how_long_it_lasts_and_what_was_needed() -> None:
    watch = WatchedVersion("v1", "/m", SINCE).with_drift(few(0)).with_drift(few(1, rows=91))
    drift, predictions, labels = watch.questions()
    assert (drift.unjudged, drift.reason) == (2, "TooFewRows")
    assert drift.message == predictions.message == "91 of 1,000 rows (monitoring.window.minRows)"
    assert (labels.unjudged, labels.end) == (0, None)
    assert blind_spots(watch.questions()) == (
        "drift and predictions not judged in the last 2 windows: 91 of 1,000 rows (monitoring.window.minRows)"
    )


def test_quality_without_labels_is_blind_while_drift_is_judged() -> None:
    watch = WatchedVersion("v1", "/m", SINCE)
    for number in range(2):
        watch = watch.with_drift(judged(number))
        watch = watch.with_quality(quality(number, NO_EVIDENCE, "CoverageTooLow", "labels of 5% of 84 rows"))
    assert watch.alerts(consecutive=2) == ("MonitorBlind",)
    assert blind_spots(watch.questions()) == (
        "quality not judged in the last 2 windows: labels of 5% of 84 rows"
    )
    assert watch.with_quality(quality(2, FINE, "Fine")).alerts(consecutive=2) == ()


@pytest.mark.parametrize(
    ("found", "drift", "predictions"),
    [
        (judged(0), None, None),
        (few(0), "TooFewRows", "TooFewRows"),
        (window(), "NoReference", "NoReference"),
        (window(feature(0.0), feature(None)), "NoValues", "NoReference"),
        (window(feature(0.2)), None, "NoReference"),
    ],
    ids=["judged", "too few rows", "no reference", "a column is gone", "no predictions at training"],
)
def test_each_gap_has_its_reason(found: DriftWindow, drift: str | None, predictions: str | None) -> None:
    answers = answers_of("Drift", found)
    gaps = (answers["drift"].gap, answers["predictions"].gap)
    assert tuple(gap and gap.reason for gap in gaps) == (drift, predictions)


def test_gaps_survive_json() -> None:
    checkpoint = Checkpoint().watching("v1", "/m", SINCE).with_drift(few(0), consecutive=2)
    assert from_json(Checkpoint, to_json(checkpoint)) == checkpoint
    assert checkpoint.told[0]["answers"]["drift"]["gap"]["reason"] == "TooFewRows"
