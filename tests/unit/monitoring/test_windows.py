"""How decided windows become alerts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.monitoring.checkpoint import Checkpoint
from capstan.monitoring.windows import Decision, DriftWindow, FeatureDrift, Runs
from capstan.ports.codec import from_json, to_json

SINCE, WEEK = datetime(2013, 2, 1, tzinfo=UTC), timedelta(days=7)
BREACH, FINE, NO_EVIDENCE = Decision.BREACH, Decision.FINE, Decision.NO_EVIDENCE


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
def test_missing_evidence_is_never_fine_and_never_a_breach(found: DriftWindow, decision: Decision) -> None:
    assert found.drift is decision


@given(st.lists(st.sampled_from([BREACH, FINE, NO_EVIDENCE])))
def test_only_consecutive_breaches_alert_and_gaps_neither_add_nor_take(decisions: list[Decision]) -> None:
    runs = Runs()
    for decision in decisions:
        runs = runs.after({"drift": decision})
    decided = [decision for decision in decisions if decision is not NO_EVIDENCE]
    expected = len(decided) if FINE not in decided else decided[::-1].index(FINE)
    assert runs.drift == expected


def test_a_checkpoint_survives_json() -> None:
    checkpoint = Checkpoint().watching("v1", "/m", SINCE)
    checkpoint = checkpoint.with_drift(window(feature(0.2)), consecutive=2)
    assert from_json(Checkpoint, to_json(checkpoint)) == checkpoint


def test_watching_the_same_again_changes_nothing_and_another_begins_anew() -> None:
    checkpoint = Checkpoint().watching("v1", "/m", SINCE).with_drift(window(feature(0.2)), consecutive=1)
    assert checkpoint.watching("v1", "/m", SINCE) is checkpoint
    other = checkpoint.watching("v2", "/n", SINCE + WEEK)
    assert other.watch is not None
    assert (other.generation, other.watch.runs, other.watch.decided_drift) == (3, Runs(), 0)
    assert other.told == checkpoint.told
    assert checkpoint.watching("v1", "/m", SINCE + WEEK).watch.decided_drift == 0  # type: ignore[union-attr]
