"""What the page is told, scene by scene."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from browser import flights

from capstan.dashboard.budgets import Budget, prometheus_budgets
from capstan.dashboard.fleet_numbers import FleetQuery, system_budgets
from capstan.dashboard.numbers import PrometheusNumbers
from capstan.dashboard.page import Page, Tone, VersionNumbers
from capstan.dashboard.reason_panel import with_reasons
from capstan.dashboard.rollout_panel import interval
from capstan.dashboard.watch_panel import MOST_WINDOWS, watch_shown
from capstan.domain.training import RunPhase, RunStatus, StepProgress
from capstan.domain.verdicts.evidence import LossBlock, PairedEvidence
from capstan.domain.verdicts.quality import Decide, QualityRule, judge_quality
from capstan.domain.versions import RunName
from capstan.errors import NotFoundError
from capstan.ports.measurements import Sample
from capstan.ports.store import Kind
from capstan.tasks import TASKS, Learnt

SCENES = {
    "empty": flights.empty,
    "training": flights.training,
    "shadow": flights.shadow,
    "canary": flights.canary,
}


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {name: scene().view().snapshot() for name, scene in SCENES.items()}


@pytest.mark.parametrize(
    ("scene", "station"),
    [("empty", "Train"), ("training", "Train"), ("shadow", "Shadow"), ("canary", "Canary")],
)
def test_one_station_of_the_loop_is_current(pages: dict[str, Page], scene: str, station: str) -> None:
    loop = pages[scene].loop
    assert [stage.name for stage in loop] == [
        "Serve",
        "Watch",
        "Alert",
        "Train",
        "Deploy",
        "Shadow",
        "Canary",
        "Promote",
    ]
    assert [stage.name for stage in loop if stage.is_current] == [station]


def test_a_window_of_minutes_ends_at_a_time_of_day() -> None:
    scene = flights.canary()

    def watched() -> str:
        return next(stage.detail for stage in scene.view().snapshot().loop if stage.name == "Watch")

    assert re.fullmatch(r"to \d\d \w{3}", watched())
    scene.world.edit_file(
        lambda spec: (spec.pop("replay"), spec["monitoring"]["window"].update(duration="3m"))
    )
    assert re.fullmatch(r"to (\d\d \w{3} )?\d\d:\d\d", watched())


def test_a_first_training_that_failed_is_told_with_what_to_mend() -> None:
    world = flights.Flights()
    world.training = world.failed
    world.settle()
    head = flights.Scene(world).view().snapshot().head
    assert (head.phase, head.tone) == ("The first training failed", Tone.BAD)
    assert "check: distance has 3 values below 1" in head.doing


def test_alerts_of_a_replaced_champion_are_over_though_alertmanager_still_lists_them() -> None:
    world = flights.Flights()
    world.start()
    first = world.champion
    world.drift(0.03, feature="temp")
    world.days(14)
    assert world.champion != first
    assert [alert.version for alert in world.alerts.active()] == [first]
    page = flights.Scene(world, [(flights.START, first)], sent=10).view().snapshot()
    assert [alert.version for alert in page.alerts] == [first]
    assert not any(alert.is_firing for alert in page.alerts)
    assert page.alerts[0].resolved_at is not None


def test_interval_on_the_page_is_the_one_that_the_verdict_went_by() -> None:
    start = datetime(2013, 3, 1, tzinfo=UTC)
    blocks = tuple(
        LossBlock(start + timedelta(days=d), 400, 400 * (0.02 + 0.01 * (-1) ** d), 1.0) for d in range(9)
    )
    evidence = PairedEvidence(blocks, 3600, 3600)
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01)
    numbers = judge_quality(evidence, rule).numbers
    shown = interval(evidence, rule)
    assert shown is not None
    assert (shown.difference, shown.lower, shown.upper) == pytest.approx(
        (numbers["difference"], numbers["lower"], numbers["upper"])
    )


def test_unbounded_interval_is_open_on_both_sides() -> None:
    block = LossBlock(datetime(2013, 3, 1, tzinfo=UTC), 400, 8.0, 1.0)
    shown = interval(PairedEvidence((block,), 400, 400), QualityRule(Decide.NOT_WORSE, margin=0.01))
    assert shown is not None
    assert (shown.lower, shown.upper) == (None, None)


def test_predictions_are_compared_while_the_challenger_answers_copies_and_asked_for_once_a_minute() -> None:
    asked, clock = [], [0.0]
    scene = flights.shadow()
    view = scene.view()
    view.monotonic = lambda: clock[0]
    view.sources = replace(
        view.sources, comparison=lambda *rollout: asked.append(rollout) or flights.comparison()
    )
    for seconds in (0.0, 30.0, 59.0, 61.0):
        clock[0] = seconds
        scene.world.clock.advance(timedelta(minutes=1))
        shown = view.snapshot().rollout
        assert shown is not None
        assert shown.comparison == flights.comparison()
    assert len(asked) == 2


def test_without_pairs_no_predictions_are_compared(pages: dict[str, Page]) -> None:
    for scene in ("empty", "training"):
        rollout = pages[scene].rollout
        assert rollout is None or rollout.comparison is None


def test_track_shows_what_is_done_and_what_is_next(pages: dict[str, Page]) -> None:
    rollout = pages["canary"].rollout
    assert rollout is not None
    assert [(step.name, step.tone.value, step.is_current) for step in rollout.steps] == [
        ("deploy", "good", False),
        ("shadow 100 %", "good", False),
        ("canary 25 %", "active", True),
        ("canary 50 %", "idle", False),
        ("promote", "idle", False),
    ]


def test_rollback_is_shown_where_it_happened(pages: dict[str, Page]) -> None:
    rolled_back = next(r for r in pages["shadow"].rollouts if r.challenger == "v3")
    assert rolled_back.phase == "Rolled back"
    assert [(s.name, s.tone) for s in rolled_back.steps if s.is_current] == [("shadow 100 %", Tone.BAD)]
    assert "shown worse" in rolled_back.why


def test_versions_tell_role_and_fate(pages: dict[str, Page]) -> None:
    shown = {v.name: (v.role, v.weight, v.outcome) for v in pages["canary"].versions}
    assert shown == {
        "v4": ("challenger", 25, ""),
        "v3": ("", 0, "rolled back"),
        "v2": ("champion", 75, "promoted"),
        "v1": ("warm", 0, "first"),
    }


def test_alerts_are_paired_with_their_end(pages: dict[str, Page]) -> None:
    alerts = pages["shadow"].alerts
    assert [alert.is_firing for alert in alerts] == [True, False, False]
    for alert in alerts[1:]:
        assert alert.resolved_at is not None
        assert alert.resolved_at > alert.fired_at


def test_every_mark_on_the_page_is_known_to_the_story() -> None:
    view = flights.canary().view()
    page = view.snapshot()
    told = {mark for event in view.events(0) for mark in event.marks}
    shown = {
        *(alert.mark for alert in page.alerts),
        *(run.mark for run in page.runs),
        *(version.mark for version in page.versions),
        *(rollout.mark for rollout in page.rollouts),
    }
    assert shown <= told
    assert len(shown) == 3 + 4 + 4 + 4


@pytest.mark.parametrize("part", ["Prometheus", "registry", "gateway"])
def test_part_that_is_away_is_named_and_nothing_else_is_missing(part: str) -> None:
    scene = flights.shadow()
    whole = scene.view().snapshot()
    scene.broken = part
    page = scene.view().snapshot()
    assert page.away == {part: f"{part} refused the connection"}
    assert [v.name for v in page.versions] == [v.name for v in whole.versions]
    assert page.rollout is not None
    assert page.rollout.interval == (whole.rollout.interval if whole.rollout else None)
    if part == "gateway":
        assert page.traffic.arms == []


def test_system_that_is_not_there_is_an_error_with_a_way_out() -> None:
    scene = flights.empty()
    view = scene.view()
    scene.world.store.delete(Kind.SYSTEM, "flights")
    with pytest.raises(NotFoundError, match="capstan up FILE"):
        view.snapshot()


def test_edited_file_is_read_anew() -> None:
    scene = flights.empty()
    view = scene.view()
    assert view.snapshot().head.objective == "Warn passengers early"
    scene.world.edit_file(lambda spec: spec["objective"].update(business="Warn crews"))
    assert view.snapshot().head.objective == "Warn crews"


def test_metrics_of_finished_runs_are_asked_for_once() -> None:
    scene = flights.shadow()
    view = scene.view()
    asked: list[str] = []
    ask = view.sources.run
    assert ask is not None
    object.__setattr__(view.sources, "run", lambda run: (asked.append(run), ask(run))[1])
    for _ in range(3):
        assert view.snapshot().runs[0].candidates[0].name == "trees"
    assert len(asked) == 4


def test_failed_candidates_stand_last_with_their_reason_and_warnings_are_shown() -> None:
    scene = flights.shadow()
    view = scene.view()
    ask = view.sources.run
    assert ask is not None

    def troubled(run: RunName) -> RunStatus:
        return replace(
            ask(run), failed={"broken": "mymodels:make: no licence"}, warnings=("21 days are much",)
        )

    object.__setattr__(view.sources, "run", troubled)
    run = view.snapshot().runs[0]
    assert [one.name for one in run.candidates if one.is_chosen] == ["trees"]
    assert (run.candidates[-1].name, run.candidates[-1].failure) == ("broken", "mymodels:make: no licence")
    assert run.warnings == ("21 days are much",)


def test_candidates_of_several_models_stand_model_by_model_and_their_steps_side_by_side() -> None:
    scene = flights.shadow()
    scene.world.edit_file(
        lambda spec: spec.update(models=[{"name": "departs"}, {"name": "arrives"}], combine={"rule": "Any"})
    )
    view = scene.view()
    ask = view.sources.run
    assert ask is not None
    areas = {"departs/trees": 0.7, "departs/logistic": 0.8, "arrives/trees": 0.9, "arrives/logistic": 0.6}
    chosen = ("departs/logistic", "arrives/trees")

    def of_two_models(run: RunName) -> RunStatus:
        return replace(
            ask(run),
            steps=tuple(StepProgress(f"fit {name}", RunPhase.SUCCEEDED) for name in areas),
            candidates={name: {"rocAuc": area} for name, area in areas.items()},
            chosen=chosen,
        )

    object.__setattr__(view.sources, "run", of_two_models)
    run = view.snapshot().runs[0]
    assert [one.name for one in run.candidates] == [
        *("departs/logistic", "departs/trees"),
        *("arrives/trees", "arrives/logistic"),
    ]
    assert tuple(one.name for one in run.candidates if one.is_chosen) == chosen
    assert [task.candidate for task in run.tasks] == list(areas)


def test_a_metric_of_a_persons_own_has_its_title_and_puts_candidates_in_its_order() -> None:
    scene = flights.shadow()
    view = scene.view()
    ask = view.sources.run
    assert ask is not None
    own = {"name": "cost", "title": "cost of a flight", "better": "Lower", "custom": {"factory": "m:f"}}

    def by_cost(spec: dict[str, Any]) -> None:
        spec.setdefault("evaluation", {})["metrics"] = [own]
        spec.setdefault("training", {})["choose"] = {"metric": "cost"}

    scene.world.edit_file(by_cost)
    found = {"trees": {"cost": 3.0}, "logistic": {"cost": 1.5}, "baseline": {"cost": 9.0}}
    object.__setattr__(view.sources, "run", lambda run: replace(ask(run), candidates=found))
    page = view.snapshot()
    assert [one.name for one in page.runs[0].candidates] == ["logistic", "trees", "baseline"]
    shown = {one.name: one for one in page.metrics}
    assert shown["cost"].title == "cost of a flight"
    assert page.runs[0].choose_by == "cost"


def test_fits_that_a_runner_only_numbers_stand_side_by_side_too() -> None:
    view = flights.shadow().view()
    ask = view.sources.run
    assert ask is not None
    told = [StepProgress(name, RunPhase.SUCCEEDED) for name in ("split", "fit 1", "fit 2", "choose")]
    object.__setattr__(view.sources, "run", lambda run: replace(ask(run), steps=tuple(told)))
    tasks = view.snapshot().runs[0].tasks
    assert [(task.name, task.is_parallel) for task in tasks] == [
        ("split", False),
        ("fit 1", True),
        ("fit 2", True),
        ("choose", False),
    ]


def test_tables_of_the_task_are_shown_with_the_run_that_made_them() -> None:
    scene = flights.shadow()
    view = scene.view()
    ask = view.sources.run
    assert ask is not None
    truth = np.array(["late", "early", "late"])
    task = TASKS["MulticlassClassification"]
    said = task.predictions(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), Learnt(("early", "late")))
    details = task.details(truth, said)
    object.__setattr__(view.sources, "run", lambda run: replace(ask(run), details=details))
    (table,) = view.snapshot().runs[0].tables
    assert (table.title, table.of_rows, table.of_columns) == ("Confusion matrix", "label", "answer")
    assert (table.rows, table.columns) == (["early", "late"], ["early", "late"])
    assert table.cells == [[1, 0], [1, 1]]


def test_what_was_strange_about_labels_stands_with_their_window() -> None:
    window = {
        "end": "2013-03-01T05:00:00+00:00",
        "version": "v1",
        "quality": {"value": 0.7, "notes": ["7 labels are of classes that the model does not know"]},
    }
    watch = watch_shown([window], metric="logLoss", every=None, features=[])
    assert watch.windows[0].quality_notes == ["7 labels are of classes that the model does not know"]


def test_online_metrics_of_the_status_stand_in_the_watch_panel() -> None:
    told = {
        "metric": "revenue", "title": "revenue, $", "better": "Higher", "version": "v2", "value": "12.3",
        "standardError": "0.5", "units": 1200, "coverage": "50%", "delay": "1:30:00",
    }  # fmt: skip
    (one,) = watch_shown([], metric="rocAuc", every=None, features=[], online=[told]).online
    assert (one.title, one.version, one.value, one.units, one.coverage) == (
        "revenue, $", "v2", "12.3", 1200, "50%",
    )  # fmt: skip


def test_hours_of_looks_do_not_push_out_the_windows_that_labels_judged() -> None:
    begin = datetime(2013, 3, 1, tzinfo=UTC)
    looks = [
        {"end": (begin + timedelta(hours=hour)).isoformat(), "version": "v1", "features": {}}
        for hour in range(400)
    ]
    for hour in range(0, 400, 168):
        looks[hour]["quality"] = {"value": 0.7}
    shown = watch_shown(looks, metric="rocAuc", every=None, features=[]).windows
    assert len(shown) == MOST_WINDOWS + 3
    assert [window.end for window in shown if window.quality is not None] == [
        begin + timedelta(hours=hour) for hour in range(0, 400, 168)
    ]


def test_windows_are_ordered_and_broken_numbers_left_out() -> None:
    later = {
        "end": "2013-03-08T05:00:00+00:00",
        "version": "v1",
        "features": {"b": {"distance": float("nan")}},
    }
    earlier = {
        "end": "2013-03-01T05:00:00+00:00",
        "version": "v1",
        "features": {"a": {"distance": 0.3, "threshold": 0.1}, "b": {"distance": 0.05, "threshold": 0.1}},
        "quality": {"value": 0.7, "coverage": 0.9, "floor": 0.6},
    }
    watch = watch_shown([later, earlier], metric="rocAuc", every=None, features=["b", "a"])
    assert [w.end.day for w in watch.windows] == [1, 8]
    assert [(c.feature, c.is_breach) for c in watch.windows[0].cells] == [("b", False), ("a", True)]
    assert watch.windows[1].cells[0].distance is None
    assert [window.quality_floor for window in watch.windows] == [0.6, None]


def test_a_window_without_a_verdict_says_what_it_lacked() -> None:
    few = {"reason": "TooFewRows", "message": "84 of 1,000 rows"}
    window = {
        **{"end": "2013-03-08T05:00:00+00:00", "version": "v1", "has_enough_rows": False, "features": {}},
        **{"answers": {"drift": {"gap": few}, "predictions": {"gap": few}}},
        "quality": {"value": None, "coverage": 0.05, "message": "labels of 5% of 84 rows"},
    }
    calm = {
        "end": "2013-03-01T05:00:00+00:00",
        "version": "v1",
        "answers": {"drift": {"gap": None}},
        "features": {"a": {}},
    }
    watch = watch_shown([window, calm], metric="rocAuc", every=None, features=["a"])
    assert [(w.is_judged, w.gap) for w in watch.windows] == [(True, ""), (False, "84 of 1,000 rows")]
    assert watch.windows[1].quality_gap == "labels of 5% of 84 rows"
    assert watch.judged == 1


class _Answers:
    """Prometheus' answers by a word of the query."""

    def instant(self, query: str) -> list[Sample]:
        champion, challenger = {"version": "v1", "role": "champion"}, {"version": "v2", "role": "challenger"}
        if "histogram_quantile(0.99" in query:
            return [Sample(champion, 0.02)]
        if "histogram_quantile" in query:
            return [Sample(champion, 0.003)]
        if "5.." in query:
            return [Sample(challenger, 0.5)]
        if "4.." in query:
            return [Sample(champion, 30.0)]
        return [
            Sample(challenger, 10.0),
            Sample(champion, 90.0),
            Sample({"version": "v0", "role": "champion"}, 0.0),
        ]


def test_minutes_without_a_request_are_minutes_of_the_sparkline() -> None:
    scene, asked = flights.canary(), iter(range(100))
    found: list[VersionNumbers] | None = [VersionNumbers("v1", "champion", 309.0, 0.0, 0.0, 0.002, 0.009)]
    view = scene.view()
    view = replace(
        view, sources=replace(view.sources, numbers=lambda: found), monotonic=lambda: 2.0 * next(asked)
    )
    assert [point.requests_per_second for point in view.snapshot().traffic.history] == [{"v1": 309.0}]
    found = []
    for _ in range(4):
        view.snapshot()
    assert [point.requests_per_second for point in view.snapshot().traffic.history] == [
        {"v1": 309.0},
        *[{}] * 5,
    ]


def test_while_prometheus_is_away_nothing_is_known_of_the_requests() -> None:
    scene, asked = flights.canary(), iter(range(100))
    scene.broken = "Prometheus"
    view = replace(scene.view(), monotonic=lambda: 2.0 * next(asked))
    view.snapshot()
    assert list(view.snapshot().traffic.history) == []


def test_numbers_are_read_per_version_and_silent_versions_left_out() -> None:
    first, second = PrometheusNumbers(_Answers(), "flights")()
    assert (first.version, first.requests_per_second, first.errors_per_second) == ("v1", 90.0, 0.0)
    assert (first.p50_seconds, first.p99_seconds) == (0.003, 0.02)
    assert (second.version, second.errors_per_second, second.p99_seconds) == ("v2", 0.5, None)
    assert (first.refused_per_second, second.refused_per_second) == (30.0, 0.0)


def test_an_alert_shows_what_the_window_that_raised_it_tells_and_an_older_one_its_own() -> None:
    scene = flights.dropped()
    page = scene.view().snapshot()
    by_name = {alert.name: alert for alert in page.alerts}
    why = by_name["QualityDropped"].why
    assert why is not None
    assert [bar.what for bar in why.bars] == ["carrier=EV", "temp up to -4.8", "all other rows"]
    assert sum(bar.explained or 0.0 for bar in why.bars) == pytest.approx(1.0)
    windows = scene._windows()
    early = with_reasons([replace(by_name["DriftDetected"], fired_at=_end(windows[2]))], windows)[0].why
    assert early is not None
    assert early.end == _end(windows[2])
    assert (
        with_reasons([replace(by_name["DriftDetected"], fired_at=_end(windows[0]))], windows)[0].why is None
    )


def _end(window: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(window["end"])


def test_budgets_are_those_of_the_file_and_what_nobody_counted_is_not_known() -> None:
    page = flights.dropped().view().snapshot()
    assert [(one.name, one.left, one.burn_rate) for one in page.budgets] == [
        ("answered", 0.72, 0.4),
        ("soon", -0.2, 3.1),
        ("fast", None, None),
    ]
    assert flights.canary().view().snapshot().budgets == []


def test_budgets_are_asked_of_prometheus_for_one_system_or_for_all_of_a_cluster() -> None:
    asked = []

    class Answers:
        def instant(self, query: str) -> Sequence[Sample]:
            asked.append(query)
            if "slo" not in query:
                return []
            own = {"namespace": "ns", "system": "flights", "slo": "answered"}
            return [Sample(own, 3.0 if "burn_rate" in query else 0.5)]

    assert prometheus_budgets(Answers(), "flights")() == {"answered": Budget(0.5, 3.0)}
    assert asked == [
        'capstan:slo_budget_left:ratio{system="flights"}',
        'capstan:slo_burn_rate:ratio{system="flights",window="1h"}',
    ]
    found = FleetQuery(Answers())()
    assert system_budgets(lambda: found, ("ns", "flights"))() == {"answered": Budget(0.5, 3.0)}
    assert system_budgets(lambda: found, ("ns", "other"))() == {}


def test_windows_show_estimates_with_their_truth_and_what_the_detector_of_losses_says() -> None:
    shown = flights.dropped().view().snapshot().watch.windows
    assert [window.estimate.held for window in shown if window.estimate][-1] is None
    concept = next(window.concept for window in reversed(shown) if window.concept)
    assert (concept.detector, concept.is_rise, concept.reference) == ("PageHinkley", True, 0.56)
    assert flights.canary().view().snapshot().watch.windows[0].estimate is None
    assert flights.canary().view().snapshot().watch.windows[0].online is None
    online = shown[-1].online
    assert online is not None
    assert [(one.name, one.is_output, one.is_above) for one in online.measured] == [
        ("temp", False, True),
        ("prediction", True, True),
        ("carrier", False, False),
    ]
    assert online.since == shown[-1].end - timedelta(days=5)
