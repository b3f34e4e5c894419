"""False alarms and delays are told by what hurt, for versions that were replaced in time too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from capstan.embedded.backtest.hindsight import (
    Hurting,
    alerts_of,
    broken_of,
    delays_of,
    judge_alerts,
    reigns_of,
)
from capstan.engine.story import StoryEntry
from capstan.spec.tasks import TASK_FACTS

START, WEEK, DAY = datetime(2013, 2, 1, tzinfo=UTC), timedelta(days=7), timedelta(days=1)
END = START + 20 * WEEK
HURTING = Hurting(TASK_FACTS["BinaryClassification"].metric("rocAuc"), 0.05, WEEK)
REFERENCES = {"v1": 0.7, "v2": 0.7}


def entry(number: int, at: datetime, reason: str, **details: str) -> StoryEntry:
    return StoryEntry(number, at, "MLSystem", "flights", reason, "", dict(details))


FIRST = entry(1, START, "FirstDeployed", challenger="v1")


def alert(at: datetime, version: str = "v1") -> StoryEntry:
    return entry(2, at, "DriftDetected", alert="f", champion=version)


def falling(week: int, version: str = "v1"):
    """The version is as at its test up to the start of a week, and much worse from then on."""

    def measure(asked: str, start: datetime, end: datetime) -> float:
        assert end - start == WEEK
        return 0.6 if asked == version and start >= START + week * WEEK else 0.69

    return measure


@pytest.mark.parametrize(
    ("falls", "is_false"),
    [(0, False), (7, False), (12, True), (40, True)],
    ids=["bad already", "bad within four windows", "bad much later", "never bad"],
)
def test_an_alert_is_true_if_its_window_or_one_of_the_next_four_hurts(falls: int, is_false: bool) -> None:
    [judged] = judge_alerts([FIRST, alert(START + 5 * WEEK)], REFERENCES, HURTING, falling(falls), END)
    assert (judged.version, judged.is_false) == ("v1", is_false)


def test_an_alert_of_quality_is_about_the_window_whose_labels_it_waited_for() -> None:
    window_end, at = START + 5 * WEEK, START + 5 * WEEK + 2 * DAY
    late = entry(2, at, "QualityDropped", alert="f", champion="v1")
    asked: list[datetime] = []

    def measure(_: str, start: datetime, end: datetime) -> float:
        asked.append(end)
        return 0.69

    broken = broken_of(
        [
            {"version": "v1", "end": window_end.isoformat(), "quality": {"decision": "Breach"}},
            {"version": "v1", "end": (window_end - WEEK).isoformat(), "quality": {"decision": "Fine"}},
            {"version": "v1", "end": (window_end + WEEK).isoformat(), "quality": None},
        ]
    )
    [judged] = judge_alerts([FIRST, late], REFERENCES, HURTING, measure, END, broken)
    assert (asked[0], judged.at) == (window_end, at)
    asked.clear()
    judge_alerts([FIRST, alert(at)], REFERENCES, HURTING, measure, END, broken)
    assert asked[0] == at, "an alert of drift waits for nothing"


def test_near_the_end_of_the_history_a_calm_window_proves_nothing() -> None:
    [judged] = judge_alerts([FIRST, alert(END - WEEK)], REFERENCES, HURTING, falling(99), END)
    assert judged.is_false is None


@pytest.mark.parametrize(
    ("falls", "alert_after", "days", "missed"),
    [(4, 6 * WEEK, (14.0,), 0), (4, 3 * WEEK, (0.0,), 0), (4, None, (112.0,), 1), (40, 3 * WEEK, (), 0)],
    ids=["two weeks late", "before it hurt", "never told", "nothing hurt"],
)
def test_the_delay_counts_from_the_first_window_that_hurts(
    falls: int, alert_after: timedelta | None, days: tuple[float, ...], missed: int
) -> None:
    story = [FIRST, *([alert(START + alert_after)] if alert_after is not None else [])]
    found = delays_of(story, REFERENCES, HURTING, falling(falls), END)
    assert (found.days, found.missed) == (days, missed)
    assert found.mean == (days[0] if days else None)


def test_a_reign_ends_with_the_next_promotion_and_resolved_alerts_are_none() -> None:
    promoted = entry(3, START + 8 * WEEK, "Promoted", challenger="v2", champion="v1")
    resolved = entry(4, START + 9 * WEEK, "AlertResolved", alert="f", champion="v1")
    story = [FIRST, alert(START + 5 * WEEK), promoted, resolved]
    assert [(one.version, one.since, one.until) for one in reigns_of(story, END)] == [
        ("v1", START, START + 8 * WEEK),
        ("v2", START + 8 * WEEK, END),
    ]
    assert [one.number for one in alerts_of(story)] == [2]
    late = delays_of(story, REFERENCES, HURTING, falling(10, "v2"), END)
    assert (late.days, late.missed) == (((END - START - 10 * WEEK) / DAY,), 1)


def test_an_alert_about_the_former_champion_at_the_moment_of_a_promotion_is_not_the_new_ones() -> None:
    moment = START + 8 * WEEK
    promoted = entry(3, moment, "Promoted", challenger="v2", champion="v1")
    found = delays_of([FIRST, alert(moment), promoted], REFERENCES, HURTING, falling(10, "v2"), END)
    assert (found.days, found.missed) == (((END - START - 10 * WEEK) / DAY,), 1)


def test_a_monitor_that_cannot_judge_is_no_false_alarm_and_tells_of_no_harm() -> None:
    blind = entry(2, START + 5 * WEEK, "MonitorBlind", alert="b", champion="v1")
    assert judge_alerts([FIRST, blind], REFERENCES, HURTING, falling(99), END) == []
    assert delays_of([FIRST, blind], REFERENCES, HURTING, falling(4), END).missed == 1
