"""What somebody does on the page: reads why not, gives a reason, confirms; in a real browser, below a prefix too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser import flights
from browser.conftest import Opened, Served
from playwright.sync_api import expect

Serve = Callable[..., Served]
Open = Callable[..., Opened]


@pytest.mark.parametrize("prefix", ["", "/ml/capstan"])
def test_a_person_pauses_with_a_reason_and_the_story_says_so(
    serve: Serve, open_page: Open, prefix: str
) -> None:
    scene = flights.canary()
    opened = open_page(serve(scene, prefix=prefix).entry)
    page = opened.page
    page.locator("[data-verb=pause]").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("No training starts and no step of a rollout ends")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.locator("[data-verb=pause]").click()
    dialog.get_by_role("button", name="Pause").click()
    expect(page.locator("dialog textarea:invalid")).to_have_count(1)
    dialog.get_by_role("textbox").fill("holiday traffic")
    dialog.get_by_role("button", name="Pause").click()
    expect(dialog).to_have_count(0)
    scene.world.settle()
    expect(page.locator("#story")).to_contain_text("(ann: holiday traffic)")
    expect(page.locator("[data-verb=resume]")).to_have_attribute("aria-disabled", "false")
    assert opened.complaints == []


def test_what_is_not_possible_says_why_by_a_click(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.canary()).entry).page
    page.locator("[data-verb=rollback]").click(force=True)
    expect(page.locator("dialog")).to_contain_text("a training or a rollout is in progress")
    page.locator("dialog").get_by_role("button", name="Close").click()
    expect(page.locator("dialog")).to_have_count(0)


def test_the_log_of_a_run_is_shown(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(flights.canary()).entry).page
    page.locator("#pipeline .logs").click()
    expect(page.locator("dialog pre")).to_contain_text("the last line")


def test_the_page_of_a_named_system_is_the_same(serve: Serve, open_page: Open) -> None:
    served = serve(flights.canary())
    page = open_page(served.entry).page
    page.goto(f"{served.address}/systems/machine/flights/")
    expect(page.locator("#versions tr", has_text="champion")).to_contain_text("v2")
    expect(page.locator(".up")).to_have_count(0)
