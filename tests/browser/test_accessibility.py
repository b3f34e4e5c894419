"""axe finds nothing serious: on the list, on a system's page, in its dialogs and at the door, light and dark."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import flights
from browser.conftest import Opened, Served, start_server
from browser.several import SeveralSystems
from playwright.sync_api import Page, expect

from capstan.adapters.memory.loop import MemoryStore
from capstan.dashboard.app import create_app
from capstan.dashboard.systems import SystemAddress
from capstan.ports.kube import Object
from capstan_page.access import ClusterAccess
from capstan_page.reviews import Reviews
from capstan_page.sessions import Sessions

Serve = Callable[..., Served]
Open = Callable[..., Opened]
GRAVE = ("serious", "critical")


def faults(page: Page) -> list[str]:
    """What axe calls serious or critical, with where it is."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node.get('failureSummary', '')[:200]}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_system_and_its_dialog(serve: Serve, open_page: Open, dark: bool) -> None:
    page = open_page(serve(flights.canary()).entry, dark=dark).page
    expect(page.locator("#story .line").first).to_be_visible()
    assert faults(page) == []
    page.locator("[data-verb=pause]").click()
    expect(page.locator("dialog")).to_be_visible()
    assert faults(page) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_reasons_of_alerts_estimates_and_promises(serve: Serve, open_page: Open, dark: bool) -> None:
    page = open_page(serve(flights.dropped()).entry, dark=dark).page
    expect(page.locator("#alerts .reason-of svg")).to_have_count(2)
    expect(page.locator("#traffic .promises")).to_be_visible()
    assert faults(page) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_list_and_the_door(serve_several: Callable[..., str], open_page: Open, dark: bool) -> None:
    systems = SeveralSystems({SystemAddress("flights", "flight-delays"): flights.canary()}, more=9)
    address = serve_several(systems)
    page = open_page(address, dark=dark).page
    expect(page.locator("[data-system]")).to_have_count(10)
    assert faults(page) == []
    locked = open_page(address.partition("?")[0], dark=dark).page
    assert faults(locked) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_door_of_a_cluster_takes_a_token_and_says_why_not(open_page: Open, dark: bool) -> None:
    people = {"good": {"username": "ann"}}

    def review(document: Object) -> Object:
        user = people.get(document["spec"].get("token", ""))
        return {"status": {"authenticated": user is not None, "user": user or {}, "allowed": True}}

    access = ClusterAccess(Reviews(review), Sessions(b"k" * 40, hours=1), lambda *_: MemoryStore())
    systems = SeveralSystems({SystemAddress("flights", "flight-delays"): flights.canary()})
    address, stop = start_server(create_app(systems, access))
    page = open_page(address, dark=dark).page
    assert faults(page) == []
    page.locator("#token").fill("bad")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#refused")).to_contain_text("does not know this token")
    page.locator("#token").fill("good")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("[data-system]")).to_have_count(1)
    page.get_by_role("button", name="sign out").click()
    expect(page.locator("#token")).to_be_visible()
    code = httpx.post(f"{address}/api/session/code", headers={"authorization": "Bearer good"}).json()["code"]
    page.goto("about:blank")
    page.goto(f"{address}/#code={code}")
    expect(page.locator("[data-system]")).to_have_count(1)
    assert "code" not in page.url
    stop()


def test_the_list_leads_to_each_system_and_puts_what_waits_first(
    serve_several: Callable[..., str], open_page: Open
) -> None:
    systems = SeveralSystems({SystemAddress("flights", "flight-delays"): flights.canary()}, more=9)
    opened = open_page(serve_several(systems, prefix="/ml/capstan"))
    page = opened.page
    first = page.locator("[data-system]").first
    expect(first).to_contain_text("a training waits for approval")
    page.locator("#systems input").fill("flight")
    expect(page.locator("[data-system]")).to_have_count(1)
    page.get_by_role("link", name="flight-delays").click()
    expect(page.locator("#versions tr", has_text="champion")).to_contain_text("v2")
    page.locator(".up").click()
    expect(page.locator("[data-system]")).to_have_count(10)
    assert opened.complaints == []
