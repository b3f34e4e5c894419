"""What somebody sees of steps that ask users: one server and one tab for all tests, which change what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from browser import asking, flights
from browser.conftest import PAGE_TOKEN, page_of_one, start_server
from playwright.sync_api import Browser, Locator, Page, expect

from capstan.dashboard.page import RolloutShown

FORECAST = "step 1: by its deadline it finds an effect of 0.0214 in clicks with a power of 80 % (1,000 new units a day)"
LEFT = {"v3": "rocAuc 0.61 against v4: not shown to be worse by less than 0.005"}
STATES: dict[str, Callable[[], RolloutShown]] = {
    "experiment": lambda: replace(asking.rollout(asking.experiment()), forecasts=(FORECAST,), left=LEFT),
    "ended": lambda: asking.rollout(asking.experiment(is_running=False), is_active=False),
    "frozen": lambda: asking.rollout(asking.experiment(lost=0.8), held="ExperimentFrozen"),
    "bandit": lambda: asking.rollout(asking.bandit(is_guarded=True)),
    "preference": lambda: asking.rollout(asking.preference()),
    "comparison": lambda: replace(
        asking.rollout(asking.preference()), comparison=flights.comparison(), experiment=None
    ),
}
Show = Callable[[str], Locator]


@pytest.fixture(scope="module")
def view() -> asking.Shown:
    return asking.Shown(asking.page_of(STATES["experiment"]()))


@pytest.fixture(scope="module")
def tab(browser: Browser, view: asking.Shown) -> Iterator[Page]:
    app = page_of_one(view)
    address, stop = start_server(app)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?token={PAGE_TOKEN}")
    yield page
    context.close()
    stop()


@pytest.fixture
def show(tab: Page, view: asking.Shown) -> Show:
    def shown(state: str, width: int = 1280) -> Locator:
        view.page = asking.page_of(STATES[state]())
        tab.set_viewport_size({"width": width, "height": 900})
        # The server makes its page anew at most once a second.
        tab.wait_for_timeout(1000)
        tab.reload()
        panel = tab.locator("#rollout")
        expect(panel.locator(".contest")).to_be_visible()
        return panel

    return shown


def points_of(shape: Locator) -> list[tuple[float, float]]:
    pairs = (shape.get_attribute("points") or "").split()
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in pairs)]


def test_the_evidence_of_each_arm_is_drawn_over_time_between_bounds_that_close(show: Show) -> None:
    figures = show("experiment").locator("figure.sequence")
    expect(figures).to_have_count(2)
    winner = figures.first
    band = points_of(winner.locator(".band"))
    assert len(band) == 40, "an upper and a lower bound for each of 20 days"
    upper, lower = band[:20], band[:19:-1]
    widths = [low[1] - high[1] for high, low in zip(upper, lower, strict=True)]
    assert widths[-1] < widths[8] < widths[0]
    zero = float(winner.locator(".zero").get_attribute("y1") or 0)
    assert lower[-1][1] < zero, "the lower bound of the winner is above 0 at last"
    second = points_of(figures.nth(1).locator(".band"))
    assert second[19][1] < zero_of(figures.nth(1)) < second[20][1], "the bounds of the other hold 0"
    expect(winner.locator("figcaption")).to_contain_text("bounds +0.0143 to +0.0522 that hold at every look")


def zero_of(figure: Locator) -> float:
    return float(figure.locator(".zero").get_attribute("y1") or 0)


def test_arms_and_the_metrics_that_do_not_decide_are_in_tables(show: Show) -> None:
    panel = show("experiment")
    rows = panel.get_by_role("table", name="Arms").locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_have_text("v55,93033.1 %33 %5,9300.127+0.0333 [+0.0143, +0.0522]")
    others = panel.get_by_role("table", name="Other metrics")
    expect(others).to_contain_text("surprised guardrail, lower is better")
    expect(others).to_contain_text("revenue secondary, higher is better")
    expect(others.locator("tbody tr")).to_have_count(6)


def test_how_long_it_takes_and_who_takes_no_part_is_told(show: Show) -> None:
    told = show("experiment").locator(".told li")
    expect(told).to_have_text([FORECAST, f"v3 takes no part: {LEFT['v3']}"])


@pytest.mark.parametrize("state", ["experiment", "ended"])
def test_the_sentence_of_the_verdict_is_there_to_its_end(show: Show, state: str) -> None:
    verdict = show(state).locator(".verdicts li", has_text="alpha/2 each").first
    expect(verdict).to_contain_text("Successful")
    expect(verdict).to_contain_text("Better by AlwaysValid at 0.05 (alpha/2 each) at any look")
    expect(verdict).to_contain_text("the true gain may be as small as 0.01427")
    text = verdict.locator("div")
    assert text.evaluate("element => element.scrollHeight <= element.clientHeight"), "it is cut off"


def test_a_promotion_does_not_say_the_verdict_twice(show: Show) -> None:
    panel = show("ended")
    expect(panel.locator(".why")).to_have_text("Why: it passed all 2 steps; experiment: as above")


def test_a_frozen_experiment_says_why(show: Show) -> None:
    panel = show("frozen")
    expect(panel.locator(".contest .badge").nth(1)).to_have_text("Experiment frozen")
    ratio = panel.locator(".verdicts li", has_text="sample ratio")
    expect(ratio).to_contain_text("Failed")
    expect(ratio).to_contain_text("(28.3%, wanted 33.0%)")
    expect(panel.locator(".verdicts")).to_contain_text(["sample ratio", "verdict frozen"])


def test_shares_of_a_bandit_move_and_its_regret_bends_away_from_that_of_equal_shares(show: Show) -> None:
    panel = show("bandit")
    shares, regret = panel.locator("figure.sequence").all()
    paths = shares.locator("polyline")
    expect(paths).to_have_count(3)
    steps = points_of(paths.nth(1))
    assert len(steps) == 32, "two ends of each of 16 stretches"
    assert steps[0][1] > steps[-1][1], "the better arm gets more"
    assert all(begin[0] <= end[0] for begin, end in pairwise(steps))
    expect(shares.locator("figcaption")).to_have_text("v4 5 %v5 90 %v2 5 % share of each arm; moved 15 times")
    colours = {path.evaluate("path => getComputedStyle(path).stroke") for path in paths.all()}
    assert len(colours) == 3
    lost, even = (points_of(path) for path in regret.locator("polyline").all())
    assert lost[-1][1] > even[-1][1] + 20, "less is lost than in equal shares"
    expect(regret.locator("figcaption")).to_contain_text(
        "estimated regret 198 over 14,437 units, 391 in equal shares"
    )
    expect(panel.get_by_role("table", name="Arms").locator("tbody tr").nth(1)).to_contain_text("now 90 %")
    guardrail = panel.get_by_role("table", name="Other metrics").locator("tbody tr")
    expect(guardrail).to_have_count(3)
    expect(guardrail.first).to_contain_text("surprised guardrail, lower is better")
    expect(guardrail.nth(1)).to_contain_text(re.compile(r"0\.\d+ \["))


def test_a_preference_is_counted_and_drawn(show: Show) -> None:
    panel = show("preference")
    rows = panel.get_by_role("table", name="Units").locator("tbody tr")
    expect(rows).to_have_text(["v535320.9 %", "v428016.5 %", "neither1,05962.6 %"])
    assert len(points_of(panel.locator(".band"))) == 20
    expect(panel.locator(".verdicts")).to_contain_text("an A/B test says")


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_cut_off_on_a_phone(show: Callable[..., Locator], tab: Page, state: str) -> None:
    panel = show(state, width=390)
    if state == "comparison":
        panel.locator("details.comparison summary").click()
        expect(panel.locator("table", has_text="carrier EV, distance 229")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    for box in panel.locator(".online .scroll").all():
        assert box.evaluate("element => element.scrollWidth <= element.clientWidth"), box.inner_text()
    for name in panel.locator(".online tbody .version").all():
        height = name.evaluate("element => element.getBoundingClientRect().height")
        assert height < 24, "the name of a version is broken into two lines"
