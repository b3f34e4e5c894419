"""What somebody sees who opens the page, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import httpx
import numpy as np
import pytest
from browser import flights
from browser.conftest import PAGE_TOKEN, WEBHOOK_TOKEN, Opened, Served
from browser.flights import Scene
from playwright.sync_api import Browser, expect

from capstan.dashboard.page import LinkShown
from capstan.dashboard.systems import OneSystem
from capstan.domain.training import RunPhase, StepProgress
from capstan.domain.versions import RunName
from capstan.ports.store import Kind
from capstan.tasks import TASKS, Learnt

Serve = Callable[[Scene], Served]
Open = Callable[..., Opened]
SCENES = {
    "empty": flights.empty,
    "training": flights.training,
    "shadow": flights.shadow,
    "canary": flights.canary,
    "blind": flights.blind,
    "dropped": flights.dropped,
}
LIT = re.compile(r"\blit\b")
NOTIFICATION = (
    b'{"alerts": [{"status": "firing", "labels": {"alertname": "DriftDetected", "system": "flights"}}]}'
)


def test_champion_and_weights_are_shown(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.canary()).entry).page
    bar = page.locator("#traffic .bar")
    expect(bar).to_have_attribute("aria-label", "Requests: v2 75 %, v4 25 %")
    row = page.locator("#versions tr", has_text="champion")
    expect(row).to_contain_text("v2")
    expect(row).to_contain_text("75 %")
    expect(page.locator("#rollout .steps .current")).to_contain_text("canary 25 %")


def test_predictions_are_compared_and_stay_open_when_the_page_is_drawn_anew(
    serve: Serve, open_page: Open
) -> None:
    page = open_page(serve(flights.shadow()).entry).page
    compared = page.locator("#rollout details.comparison")
    expect(compared.locator("summary")).to_have_text(
        "Predictions compared 2.1 % equal, 91.7 % decided alike, mean distance 0.0413"
    )
    expect(compared.locator("table")).to_have_count(3)
    expect(compared.locator("table").first).not_to_be_visible()
    compared.locator("summary").click()
    expect(compared.locator("table").first).to_be_visible()
    most = compared.locator("table", has_text="Where they differ most")
    expect(most.locator("tbody tr").first).to_contain_text("carrier EV, distance 229")
    expect(compared.locator("svg .block")).to_have_count(10)
    page.evaluate("document.querySelector('#rollout').dataset.mark = 'seen'")
    page.wait_for_timeout(3000)
    expect(compared.locator("table").first).to_be_visible()


def test_each_champion_has_its_own_alert_threshold_under_its_own_windows(
    serve: Serve, open_page: Open
) -> None:
    page = open_page(serve(flights.canary()).entry).page
    lines = page.locator("#quality line.floor")
    expect(lines).to_have_count(2)
    titles = [lines.nth(at).locator("title").text_content() for at in range(2)]
    assert titles == ["v1: alert below 0.630", "v2: alert below 0.630"]
    first, second = (
        [float(lines.nth(at).get_attribute(name) or 0) for name in ("x1", "x2")] for at in range(2)
    )
    assert first[0] < first[1] <= second[0] < second[1]
    expect(page.locator("#quality .floor-name")).to_have_text("v2: alert below")


def test_metrics_say_which_rows_they_are_of(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.canary()).entry).page
    expect(page.locator("#pipeline .candidates caption")).to_contain_text("rows of validation")
    expect(page.locator("#versions caption")).to_contain_text("rows of the test")


def test_copies_and_evidence_of_a_shadow_step_are_shown(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.shadow()).entry).page
    expect(page.locator("#traffic .mirror")).to_contain_text("copies of 100 % to v4")
    expect(page.locator("#rollout .amounts")).to_contain_text("5 of 7 closed blocks")
    expect(page.locator("#rollout .interval")).to_contain_text("rule UnlessWorse")
    expect(page.locator("#loop .current")).to_contain_text("Shadow")
    expect(page.locator("#loop .doing")).to_contain_text("5 of 7 closed blocks")


def test_metrics_in_units_of_a_label_are_told_without_digits_that_tell_nothing(
    serve: Serve, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = flights.canary()
    registry, told = scene.world.registry, {"rocAuc": 41.2372, "logLoss": 1687.331}
    known = [replace(version, metrics=told) for version in registry.versions()]
    monkeypatch.setattr(registry, "versions", lambda: known)
    row = open_page(serve(scene).entry).page.locator("#versions tr", has_text="champion")
    expect(row).to_contain_text("41.24")
    expect(row).to_contain_text("1687")
    expect(row).not_to_contain_text("1687.")


def test_the_confusion_matrix_of_a_run_is_shown_with_its_classes_as_they_are_called(
    serve: Serve, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.array(["<b>late</b>", "early", "<b>late</b>"])
    task = TASKS["MulticlassClassification"]
    said = task.predictions(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), Learnt(("<b>late</b>", "early")))
    scene = flights.shadow()
    ask, details = scene._run, task.details(truth, said)
    monkeypatch.setattr(scene, "_run", lambda run: replace(ask(run), details=details))
    table = open_page(serve(scene).entry).page.locator("#pipeline .crossed")
    expect(table.locator("caption")).to_have_text(
        "Confusion matrix of the test window: label down, answer across"
    )
    expect(table.locator("tbody tr")).to_have_text(["<b>late</b>02", "early10"])


def test_a_gate_by_groups_is_shown_with_counts_numbers_words_and_what_is_not_known(
    serve: Serve, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {
        "title": "Fairness: DemographicParity by carrier", "of_rows": "carrier", "of_columns": "what the gate saw",
        "rows": ["UA", "HA"], "columns": ["rows", "selection rate", "gate"],
        "cells": [[2240, 0.1217, "judged"], [14, None, "left out"]], "notes": [],
    }  # fmt: skip
    scene = flights.shadow()
    ask = scene._run
    monkeypatch.setattr(scene, "_run", lambda run: replace(ask(run), details={"tables": [shown]}))
    table = open_page(serve(scene).entry).page.locator("#pipeline .crossed")
    expect(table.locator("tbody tr")).to_have_text(["UA2,2400.122judged", "HA14–left out"])
    # Only counts of one kind are shaded by their share of the row.
    assert table.locator("td").first.evaluate("cell => cell.style.getPropertyValue('--share')") == "0%"


def test_an_alert_tells_what_moved_in_a_picture_and_three_sentences(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.dropped()).entry).page
    drop = page.locator("#alerts .firing li", has_text="Quality dropped")
    expect(drop.locator(".reason-of p")).to_have_count(3)
    expect(drop.locator(".reason-of p").nth(1)).to_contain_text("carrier=EV explains 42 % of the rise")
    expect(drop.locator("svg text.name")).to_have_text(["carrier=EV", "temp up to -4.8", "all other rows"])
    mix, within = (drop.locator(f"svg rect.{kind}").first for kind in ("mix", "within"))
    assert float(mix.get_attribute("width") or 0) > 2 * float(within.get_attribute("width") or 0)
    expect(drop.locator("svg rect.rest")).to_have_count(1)
    drift = page.locator("#alerts .firing li", has_text="Drift detected")
    expect(drift.locator("svg text", has_text="→").first).to_have_text(
        "1 % → 15 %"
    )  # of the window that raised the alert


def test_estimates_stand_beside_the_truth_and_losses_beside_the_tests(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.dropped()).entry).page
    expect(page.locator("#quality .guess")).to_have_count(7)
    expect(page.locator("#quality .guessed")).to_contain_text(
        "estimated before labels 0.612 (0.592 to 0.632)"
    )
    expect(page.locator("#quality .concept")).to_contain_text("rise found, since")
    expect(page.locator("#quality .concept")).to_contain_text("0.610 a row, at the test 0.560")


def test_batches_of_predictions_are_listed_with_rows_seconds_state_and_output(
    serve: Serve, open_page: Open
) -> None:
    page = open_page(serve(flights.batched()).entry).page
    rows = page.locator("#pipeline .batches tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("running–––v1–")
    expect(rows.nth(1)).to_contain_text("done, try 288221 min 14 sv1predictions/2")
    expect(rows.nth(2)).to_contain_text("done88221 min 14 sv1predictions/3")
    without = open_page(serve(flights.canary()).entry).page
    expect(without.locator("#pipeline .earlier")).to_be_visible()
    expect(without.locator("#pipeline .batches")).to_have_count(0)


def test_online_detectors_have_a_line_of_their_own_below_the_windows(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.dropped()).entry).page
    panel = page.locator("#drift .arriving")
    expect(panel).to_contain_text("drift found, since 17 Mar 2013 as rows come, v1")
    expect(panel).to_contain_text("temp 2.000, prediction 1.840 against 1.600; 1 is usual")
    expect(panel.locator("circle.value")).to_have_count(7)
    above = panel.locator("circle.rise")
    expect(above).to_have_count(2)
    limit = float(panel.locator("line.floor").get_attribute("y1") or 0)
    assert all(float(above.nth(at).get_attribute("cy") or 99) < limit for at in range(2))
    expect(above.last.locator("title")).to_contain_text("carrier 0.900 by FisherExact")
    without = open_page(serve(flights.canary()).entry).page
    expect(without.locator("#drift .heat")).to_be_visible()
    expect(without.locator("#drift .arriving")).to_have_count(0)


def test_a_promise_tells_what_is_left_of_its_budget_and_what_nobody_counted(
    serve: Serve, open_page: Open
) -> None:
    page = open_page(serve(flights.dropped()).entry).page
    rows = page.locator("#traffic .promises tbody tr")
    expect(rows.nth(0)).to_contain_text("99.9% of predictions answered")
    expect(rows.nth(0)).to_contain_text("72 %")
    expect(rows.nth(1)).to_contain_text("overdrawn")
    expect(rows.nth(1)).to_contain_text("3.1 ×")
    expect(rows.nth(2)).to_contain_text("nothing counted")


def test_windows_that_were_not_judged_do_not_look_calm(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.blind()).entry).page
    few = "84 of 1,000 rows"
    drift = page.locator("#drift")
    expect(drift).to_contain_text(f"not judged, {few}")
    expect(drift).to_contain_text("None of 8 windows was judged")
    expect(drift).not_to_contain_text("above their threshold")
    assert drift.locator(".cell.blind").count() == 8
    expect(page.locator("#quality")).to_contain_text("Quality was not judged")
    expect(page.locator("#quality")).to_contain_text(few)
    expect(page.locator("#loop")).to_contain_text("blind, to")
    expect(page.locator("#alerts")).to_contain_text("Monitor blind")
    assert not flights.blind().world.store.list(Kind.RUN)[1:]


def test_alerts_about_operation_are_shown(serve: Serve, open_page: Open) -> None:
    scene = flights.blind()
    page = open_page(serve(scene).entry).page
    fires = page.locator("#alerts .firing")
    expect(fires).to_contain_text("Payloads lost")
    expect(fires).to_contain_text("v1 lost 30 payloads in 5 minutes")
    scene.world.alerts.firing, scene.world.alerts.about_operation = [], []
    scene.world.settle()
    expect(page.locator("#alerts")).to_contain_text(
        "Nothing fires now, but the newest window was not judged", timeout=10_000
    )


def test_change_arrives_without_reload(serve: Serve, open_page: Open) -> None:
    served = serve(flights.shadow())
    page = open_page(served.entry).page
    expect(page.locator("#loop .current")).to_contain_text("Shadow")
    page.evaluate("window.stillTheSamePage = true")
    before = page.locator("[data-event]").count()
    served.scene.world.days(2.2, step=timedelta(hours=6))
    expect(page.locator("#loop .current")).to_contain_text("Canary", timeout=10_000)
    expect(page.locator("#traffic .bar")).to_have_attribute("aria-label", "Requests: v2 75 %, v4 25 %")
    expect(page.locator("[data-event]", has_text="Step passed").first).to_contain_text("UnlessWorse")
    assert page.locator("[data-event]").count() > before
    assert page.evaluate("window.stillTheSamePage") is True


def test_running_pipeline_shows_candidates_side_by_side(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.training()).entry).page
    column = page.locator("#pipeline .column.parallel")
    expect(column.locator(".task")).to_have_count(4)
    expect(column).to_contain_text("trees")
    expect(page.locator("#pipeline .task.active").first).to_be_visible()
    expect(page.locator("#head")).to_contain_text("Retraining")


def test_fits_that_a_runner_only_numbers_are_drawn_side_by_side(serve: Serve, open_page: Open) -> None:
    scene = flights.shadow()
    view = scene.view()
    ask = view.sources.run
    assert ask is not None
    steps = tuple(StepProgress(name, RunPhase.SUCCEEDED) for name in ("split", "fit 1", "fit 2", "choose"))
    view.sources = replace(view.sources, run=lambda run: replace(ask(run), steps=steps))
    page = open_page(serve(scene, view=view).entry).page
    expect(page.locator("#pipeline .column.parallel .task")).to_have_text(["fit 1done", "fit 2done"])
    expect(page.locator("#pipeline .column")).to_have_count(3)


def test_a_run_leads_to_its_pages_elsewhere_and_the_system_to_its_own(serve: Serve, open_page: Open) -> None:
    scene = flights.shadow()
    view = scene.view()
    newest = view.snapshot().runs[0].name
    view.sources = replace(
        view.sources,
        links=lambda: [LinkShown("Prometheus", "http://prometheus.test/graph?g0.expr=up")],
        run_links=lambda runs: {
            RunName(newest): [LinkShown("Kubeflow Pipelines", "http://kfp.test/#/runs/details/1")]
        },
    )
    page = open_page(serve(scene, view=view).entry).page
    graph = page.locator("#acts").get_by_role("link", name="Prometheus")
    expect(graph).to_have_attribute("href", "http://prometheus.test/graph?g0.expr=up")
    run = page.locator("#pipeline").get_by_role("link", name="Kubeflow Pipelines")
    expect(run).to_have_attribute("href", "http://kfp.test/#/runs/details/1")
    expect(run).to_have_attribute("target", "_blank")
    page.locator("#pipeline .earlier button").nth(1).click()
    expect(run).to_have_count(0)


def test_chosen_candidate_and_gates_are_shown(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.shadow()).entry).page
    expect(page.locator("#pipeline tr.chosen")).to_contain_text("trees")
    expect(page.locator("#pipeline .verdicts")).to_contain_text("needs > -0.005")


def test_promotion_leads_back_to_its_alert_and_on_from_it(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.shadow()).entry).page
    page.locator("[data-event]", has_text="Promoted").first.click()
    alert = page.locator("#alerts button", has_text="ks(temp)")
    other = page.locator("#alerts button", has_text="ks(dewp)")
    for lit in (
        alert,
        page.locator("#versions tr", has_text="v2"),
        page.locator(".earlier button", has_text="v2").first,
    ):
        expect(lit).to_have_class(LIT)
    expect(other).not_to_have_class(LIT)
    expect(page.locator(".chain")).to_contain_text("Promoted")
    page.keyboard.press("Escape")
    expect(page.locator(".lit")).to_have_count(0)

    alert.click()
    expect(page.locator("[data-event].lit", has_text="v2 replaces v1")).to_have_count(1)
    expect(page.locator("[data-event].lit", has_text="v3 is out")).to_have_count(0)


def test_story_can_be_filtered_and_searched_by_keyboard(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.shadow()).entry).page
    expect(page.locator("[data-event]").first).to_be_visible()
    everything = page.locator("[data-event]").count()
    page.keyboard.press("/")
    page.keyboard.type("rolled back")
    expect(page.locator("[data-event]")).to_have_count(1)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    expect(page.locator("[data-event]")).to_have_count(everything)
    page.locator(".choices button", has_text="alerts").click()
    for text in page.locator("[data-event]").all_inner_texts():
        assert "Drift detected" in text or "Alert resolved" in text


def test_drift_cells_are_read_out_by_arrow_keys(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.shadow()).entry).page
    page.locator(".heat").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".readout")).to_contain_text("carrier")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".readout")).to_contain_text("origin")
    expect(page.locator(".readout")).to_contain_text("against threshold 0.120")


def test_rows_of_several_outputs_are_told_apart_by_the_end_of_their_names(
    serve: Serve, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = flights.shadow()
    ask = scene._windows
    drift = {"distance": 0.05, "threshold": 0.1, "test": "KS"}
    names = ["label", "probability.a class (1.5 or less)", "probability.another, much longer class"]
    monkeypatch.setattr(
        scene, "_windows", lambda: [{**one, "outputs": dict.fromkeys(names, drift)} for one in ask()]
    )
    page = open_page(serve(scene).entry).page
    rows = page.locator(".heat .ending")
    expect(rows).to_have_text([f"prediction: {name}" for name in names])
    # One call: the page may draw the rows again between two.
    edges = rows.evaluate_all(
        """rows => rows.map(row => [row, row.querySelector("bdi")].flatMap(part => {
            const box = part.getBoundingClientRect();
            return [box.left, box.right];
        }))"""
    )
    for left, right, text_left, text_right in edges[1:]:
        assert text_left < left, "the beginning of a long name is what is cut off"
        assert text_right <= right


def test_focus_stays_where_it_was_when_the_page_is_drawn_again(serve: Serve, open_page: Open) -> None:
    served = serve(flights.shadow())
    page = open_page(served.entry).page
    row = page.locator("#versions tr[data-key='version:v2']")
    row.focus()
    served.scene.world.days(2.2, step=timedelta(hours=6))
    expect(page.locator("#versions tr[data-key='version:v4']")).to_contain_text("25 %", timeout=10_000)
    expect(row).to_be_focused()


@pytest.mark.parametrize("text", ["<img src=x onerror='window.owned=1'>", "<script>window.owned=1</script>"])
def test_markup_in_names_and_messages_is_inert(serve: Serve, open_page: Open, text: str) -> None:
    opened = open_page(serve(flights.hostile(text)).entry)
    page = opened.page
    expect(page.locator("#alerts")).to_contain_text(text)
    expect(page.locator("#story")).to_contain_text(text)
    expect(page.locator("#pipeline")).to_contain_text(text)
    assert page.evaluate("window.owned") is None
    assert page.locator("main img, main script").count() == 0
    assert opened.complaints == []


def test_empty_system_says_what_will_appear(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.empty()).entry).page
    for panel, words in {
        "traffic": "No traffic yet",
        "rollout": "No rollout yet",
        "pipeline": "No training yet",
        "versions": "No version yet",
        "drift": "No window decided yet",
        "quality": "No labelled window yet",
        "story": "Nothing has happened yet",
        "alerts": "No alert yet",
    }.items():
        expect(page.locator(f"#{panel} .empty strong")).to_have_text(words)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen_and_the_console_is_silent(
    serve: Serve, open_page: Open, scene: str, width: int
) -> None:
    opened = open_page(serve(SCENES[scene]()).entry, width=width, height=844)
    expect(opened.page.locator("#loop .station")).to_have_count(8)
    expect(opened.page.locator("#story .body > *").first).to_be_visible()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.complaints == []


@pytest.mark.parametrize("width", [390, 1100, 1280, 1760])
def test_no_step_of_the_pipeline_is_cut(
    serve: Serve, open_page: Open, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["extract", "check", "split", "fit a-candidate-with-a-long-name", "fit trees", "choose"]
    names += ["evaluate", "refit", "package", "register"]
    steps = [
        StepProgress(name, RunPhase.SUCCEEDED, flights.START, flights.START + timedelta(seconds=98))
        for name in names
    ]
    monkeypatch.setattr(flights, "pipeline_steps", lambda at, *, done: tuple(steps))
    page = open_page(serve(flights.shadow()).entry, width=width, height=844).page
    expect(page.locator("#pipeline .task")).to_have_count(10)
    cut = "every => every.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"
    assert page.locator("#pipeline .task, #pipeline .task > *").evaluate_all(cut) == []
    words = page.locator("#pipeline .task b", has_not_text="-")
    assert words.evaluate_all("every => every.filter(one => one.clientHeight > 20).length") == 0
    outside = """every => every.filter(one =>
        one.getBoundingClientRect().right > one.closest("#pipeline").getBoundingClientRect().right
    ).length"""
    assert page.locator("#pipeline .task").evaluate_all(outside) == 0


@pytest.mark.parametrize("part", ["Prometheus", "registry", "gateway"])
def test_part_that_is_away_is_named_and_the_rest_stays(serve: Serve, open_page: Open, part: str) -> None:
    scene = flights.shadow()
    scene.broken = part
    page = open_page(serve(scene).entry).page
    expect(page.locator(".parts .away")).to_contain_text(part)
    expect(page.locator("#rollout .contest").first).to_contain_text("v4")


def test_lost_connection_is_told(serve: Serve, open_page: Open) -> None:
    served = serve(flights.shadow())
    page = open_page(served.entry).page
    expect(page.locator("#loop .station")).to_have_count(8)
    page.context.set_offline(True)
    served.scene.world.store.faults.away = "disk is gone"
    page.context.set_offline(False)
    expect(page.locator("#banner")).to_contain_text("disk is gone", timeout=15_000)
    served.scene.world.store.faults.away = None
    expect(page.locator("#banner")).to_be_hidden(timeout=15_000)


def test_page_without_token_is_locked_and_says_where_it_is(serve: Serve, open_page: Open) -> None:
    served = serve(flights.empty())
    page = open_page(served.address).page
    expect(page.locator("h1")).to_have_text("This page needs its token")
    expect(page.locator("body")).to_contain_text("capstan status")
    assert httpx.get(served.address).status_code == 401
    assert httpx.get(f"{served.address}/api/state").status_code == 401


def test_token_leaves_the_address_and_is_not_readable_by_scripts(serve: Serve, open_page: Open) -> None:
    served = serve(flights.empty())
    page = open_page(served.entry).page
    assert page.url == f"{served.address}/"
    assert page.evaluate("document.cookie") == ""
    assert PAGE_TOKEN not in page.content()
    cookie = page.context.cookies()[0]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert PAGE_TOKEN not in cookie["value"]


def test_forged_notification_is_refused_and_counted(serve: Serve) -> None:
    served = serve(flights.empty())
    url = f"{served.address}/alerts"
    forged = httpx.post(url, content=NOTIFICATION, headers={"authorization": "Bearer guess"})
    assert forged.status_code == 401
    assert served.hints == []
    for _ in range(2):
        genuine = httpx.post(url, content=NOTIFICATION, headers={"authorization": f"Bearer {WEBHOOK_TOKEN}"})
        assert genuine.status_code == 200
    assert len(served.hints) == 2
    metrics = httpx.get(f"{served.address}/metrics").text
    assert 'capstan_webhook_notifications_total{outcome="refused"} 1.0' in metrics
    assert 'capstan_webhook_notifications_total{outcome="accepted"} 2.0' in metrics


def test_a_stream_that_falls_silent_is_opened_anew(serve: Serve, browser: Browser) -> None:
    """As after a machine died with the replica: nobody closes the connection."""
    scene = flights.shadow()
    view = scene.view()
    # Numbers are told every other second; without them nothing changes.
    view.sources = replace(view.sources, numbers=None)
    page = browser.new_page()
    page.clock.install()
    opened: list[str] = []
    page.on("request", lambda request: opened.append(request.url) if "/api/stream" in request.url else None)
    page.goto(serve(scene, view=view).entry)
    expect(page.locator("#head h1")).to_have_text("flights")
    page.clock.run_for(30_000)
    assert len(opened) == 1, "a heartbeat is awaited longer than the server takes"
    page.clock.run_for(30_000)
    expect(page.locator("#banner")).to_be_hidden()
    assert len(opened) == 2
    page.close()


def test_moments_of_one_day_are_told_by_hours_and_minutes(serve: Serve, open_page: Open) -> None:
    scene = flights.canary()
    start = scene.world.clock.now().replace(hour=9, minute=0)
    short = [
        {
            **window,
            "start": (start + number * timedelta(minutes=3)).isoformat(),
            "end": (start + (number + 1) * timedelta(minutes=3)).isoformat(),
        }
        for number, window in enumerate(scene.view().sources.windows()[:2])
    ]
    scene._windows = lambda: short  # type: ignore[method-assign]
    page = open_page(serve(scene).entry).page
    drift = page.locator("#drift .heat")
    expect(drift).to_have_attribute("aria-label", re.compile(r"^Drift of 19 features in 2 windows;"))
    first, second = (drift.locator(".month").nth(at).inner_text() for at in range(2))
    assert re.fullmatch(r"\d\d:\d3", first), first
    assert re.fullmatch(r"\d\d:\d6", second), second
    expect(page.locator("#drift .readout")).to_contain_text(f" {second}: ")
    drift.locator(".cell").first.hover()
    expect(page.locator("#drift .readout")).to_contain_text(re.compile(rf"\d\d:\d0 – {first}, v\d: "))
    short.pop()
    expect(drift).to_have_attribute(
        "aria-label", re.compile(r"^Drift of 19 features in 1 window;"), timeout=10_000
    )


def test_a_store_that_was_made_anew_under_the_same_name_has_its_own_story(
    serve_several: Callable[..., str], open_page: Open
) -> None:
    view, other = flights.canary().view(), flights.training().view()
    one = OneSystem(view, view.store, flights.SYSTEM)
    page = open_page(serve_several(one)).page
    lines = page.locator("#story .line")
    expect(lines.first).to_be_visible()
    page.evaluate("window.isOld = true")
    one._view = other
    expect(lines).to_have_count(len(other.events(0)), timeout=15_000)
    assert page.evaluate("window.isOld") is None
