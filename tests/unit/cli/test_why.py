"""`capstan why` tells what moved when an alert fired, from what the monitor stored with the window."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from simulation.world import SYSTEM

from capstan.domain.versions import SystemName
from capstan.monitoring.causes.told import reasons_of, why_of
from capstan.monitoring.causes.words import causes_in_words, moved_in_words
from capstan.monitoring.checkpoint import Checkpoint, save_checkpoint
from capstan.monitoring.windows import (
    Cause,
    Causes,
    DriftWindow,
    FeatureDrift,
    Gap,
    Move,
    QualityWindow,
    ReferenceWindow,
    SliceDrift,
    SlicesDrift,
    WindowOutcome,
)

START = datetime(2013, 2, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
MOVES = (Move("temp up to -5", 0.01, 0.22), Move("temp above 12", 0.5, 0.3))
SNOW = Cause("weather", "weather=snow", 0.19, 0.02, 30.0, 28.0, 2.4, 0.3, 0.6)
CAUSES = Causes("absoluteError", 5000, 14.0, 10.0, (SNOW,), 1.3, 0.5)


def drift(number: int, *, moved: bool, missing: float = 0.0) -> DriftWindow:
    temp = FeatureDrift(
        "temp", 1000, 0.3 if moved else 0.01, 0.1, None, missing, missing, 0.1, moves=MOVES if moved else ()
    )
    wind = FeatureDrift("wind", 1000, 0.02, 0.1, None, 0.0, 0.0, 0.1)
    start = START + number * WEEK
    return DriftWindow(number, start, start + WEEK, 1200, True, (temp, wind))


def quality(number: int, causes: Causes | None) -> QualityWindow:
    start = START + number * WEEK
    is_drop = causes is not None
    return QualityWindow(
        number, start, start + WEEK, "mae", 1200, 1200, 1.0, 14.0, 0.1, 10.0, 4.0, 3.0, 11.0,
        WindowOutcome.BREACH if is_drop else WindowOutcome.FINE, "Dropped" if is_drop else "Fine", causes=causes,
    )  # fmt: skip


def decide(serving, *windows: DriftWindow | QualityWindow) -> Checkpoint:
    checkpoint = Checkpoint().watching("v1", "model", START)
    for window in windows:
        if isinstance(window, DriftWindow):
            checkpoint = checkpoint.with_drift(window, consecutive=1)
        else:
            checkpoint = checkpoint.with_quality(window, consecutive=1)
    save_checkpoint(serving.state.monitor(SystemName(SYSTEM)) / "state.json", checkpoint)
    return checkpoint


def test_a_drift_is_told_by_the_values_that_moved(serving) -> None:
    decide(serving, drift(0, moved=False), drift(1, moved=True))
    result = serving.run("why")
    assert result.exit_code == 0, result.output
    assert "DriftDetected of v1, window 2013-02-08 00:00 to 2013-02-15 00:00" in result.output
    assert "Of 2 features 1 moved: temp (KS 0.300 above 0.100)." in result.output
    assert "temp up to -5 1 % -> 22 %; temp above 12 50 % -> 30 %" in result.output
    assert "The other 1 stayed within its threshold." in result.output
    assert "temp up to -5  1.0%    22.0%" in result.output


def test_a_drop_is_told_by_the_kinds_that_explain_it_and_what_stays(serving) -> None:
    decide(serving, drift(0, moved=False), quality(0, CAUSES))
    output = serving.run("why", "QualityDropped").output
    assert "The mean absoluteError loss rose from 10 at the test to 14 (5,000 judged rows)." in output
    assert "weather=snow explains 68 % of the rise (between 52 % and 82 %)" in output
    assert "32 % of the rise stays unexplained" in output
    assert "all other rows" in output


def test_the_last_alert_is_told_without_a_name_and_an_old_one_by_its_own(serving) -> None:
    decide(serving, drift(0, moved=True), quality(0, None), drift(1, moved=False), quality(1, CAUSES))
    assert serving.run("why").output.startswith("QualityDropped of v1")
    assert serving.run("why", "DriftDetected").output.startswith("DriftDetected of v1")


def test_machines_get_the_bars_and_they_make_up_the_rise(serving) -> None:
    decide(serving, drift(0, moved=False), quality(0, CAUSES))
    found = json.loads(serving.run("why", "--json").output)["why"]
    assert sum(bar["explained"] for bar in found["bars"]) == pytest.approx(1.0)


def test_missing_values_are_told_with_their_shares(serving) -> None:
    decide(serving, drift(0, moved=False, missing=0.4))
    assert "temp missing 0 % -> 40 %" in serving.run("why", "MissingValuesRose").output


def test_without_any_alert_it_says_so_and_an_unknown_one_is_an_error(serving) -> None:
    decide(serving, drift(0, moved=False))
    assert "no alert of drift or quality" in serving.run("why").output
    result = serving.run("why", "DriftDetectd")
    assert result.exit_code == 1
    assert "no window tells why DriftDetectd fired; alerts with a reason: none" in result.output


def test_what_cannot_be_said_is_told_as_that(serving) -> None:
    gap = Gap("NoReference", "the version carries no judged rows of its test; train it again")
    decide(serving, drift(0, moved=False), quality(0, Causes("absoluteError", gap=gap)))
    assert "cannot be said: the version carries no judged rows" in serving.run("why").output


def test_a_window_after_the_moment_or_of_another_version_explains_nothing(serving) -> None:
    told = decide(serving, drift(0, moved=True)).told
    assert why_of(told, "DriftDetected", version="v1", until=START + WEEK) is not None
    assert why_of(told, "DriftDetected", version="v2") is None
    assert why_of(told, "DriftDetected", until=START) is None


def test_a_drop_whose_labels_came_late_is_told_by_the_window_that_raised_it(serving) -> None:
    later = replace(CAUSES, causes=(replace(SNOW, what="weather=rain"),))
    decided = [*(drift(number, moved=False) for number in range(4)), quality(0, CAUSES), quality(1, later)]
    told = decide(serving, *decided).told
    # The alert fired when the labels of the first window came, after the end of the second and third.
    [why] = reasons_of(told)
    assert (why.alert, why.end) == ("QualityDropped", START + WEEK)
    assert why_of(told, "QualityDropped", until=START + 4 * WEEK) == why
    newest = why_of(told, "QualityDropped")
    assert newest is not None
    assert newest.bars[0].what == "weather=rain"


def test_labels_that_come_late_give_a_window_no_alert_of_drift_that_fired_after_it(serving) -> None:
    told = decide(serving, drift(0, moved=False), drift(1, moved=True), quality(0, CAUSES)).told
    assert ["DriftDetected" in window["alerts"] for window in told] == [False, True]
    assert ["QualityDropped" in window["alerts"] for window in told] == [True, False]


def test_a_training_tells_why_the_alerts_fired_that_asked_for_it(rolling) -> None:
    [run] = [
        row
        for row in json.loads(rolling.run("runs", "--json").stdout)["trainings"]
        if row["trigger"] == "Alert"
    ]
    as_of = datetime.fromisoformat(run["as_of"])
    moved = replace(drift(0, moved=True), start=as_of - WEEK, end=as_of)
    later = replace(drift(1, moved=True), start=as_of, end=as_of + WEEK, features=moved.features[1:])
    decide(rolling, moved, later)
    assert "why DriftDetected: Of 2 features 1 moved: temp" in rolling.run("runs", run["run"]).output
    [told] = json.loads(rolling.run("runs", run["run"], "--json").stdout)["why"]
    assert told["alert"] == "DriftDetected"
    first = next(
        row
        for row in json.loads(rolling.run("runs", "--json").stdout)["trainings"]
        if row["trigger"] == "Initial"
    )
    assert json.loads(rolling.run("runs", first["run"], "--json").stdout)["why"] == []


def test_an_interval_wider_than_the_rise_is_told_as_not_knowing() -> None:
    said = causes_in_words(replace(CAUSES, unexplained_margin=24.0))
    assert said[2].startswith(
        "32 % of the rise stays unexplained (days differ too much to say how sure that is): all"
    )
    assert "between" in said[1]


def test_slices_that_moved_are_told_though_no_feature_did_as_a_whole() -> None:
    far = SliceDrift("carrier=UA", "dep_hour", 300, 0.31, 0.2)
    window = replace(drift(0, moved=False), slices=SlicesDrift((far,), 1, 4, is_asked=True))
    assert moved_in_words(window) == {
        "drift": ["By slice 1 moved: carrier=UA: dep_hour (0.310 above 0.200)."],
    }


def test_what_a_window_is_compared_with_is_told() -> None:
    earlier = ReferenceWindow(START - WEEK, START)
    said = moved_in_words(replace(drift(0, moved=True), reference=earlier))["drift"]
    assert said[1].startswith("Shares of rows from 2013-01-25 to 2013-02-01 and now: temp up to -5")


def test_more_rows_and_worse_rows_are_parted_in_words() -> None:
    both = replace(CAUSES, causes=(replace(SNOW, mix=1.5, within=1.2),))
    said = causes_in_words(both)[1]
    assert "more rows of it, 2 % -> 19 % of all (56 % of that)" in said
    assert "its rows judged worse, loss 28 -> 30 (44 % of that)" in said
