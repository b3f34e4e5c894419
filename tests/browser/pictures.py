"""Write the pictures of the docs: `PYTHONPATH=tests .venv/bin/python -m browser.pictures`.

`--running ADDRESS --to FILE` takes one of a running system's page instead, as that of the tutorial; the address holds
the token, as `capstan up` prints it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from browser import asking, flights
from browser.conftest import FLAGS, PAGE_TOKEN, chromium, page_of_one, start_server
from browser.flights import ROOT
from browser.several import SeveralSystems
from playwright.sync_api import Browser, Page, expect, sync_playwright

from capstan.dashboard.access import TokenAccess
from capstan.dashboard.app import create_app
from capstan.dashboard.systems import SystemAddress

FOLDER = ROOT / "platform/docs/pictures"
PICTURES = {
    "experiment": asking.experiment,
    "bandit": asking.bandit,
    "interleaving": asking.preference,
}
HOME = SystemAddress("flights", "flight-delays")
SCREENS = {"light": (1280, "light"), "dark": (1280, "dark"), "390": (390, "light")}


def write() -> None:
    """One picture for each kind of step, then the list of systems and a system's page on each kind of screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        _steps(browser)
        _screens(browser)
        browser.close()


def _steps(browser: Browser) -> None:
    view = asking.Shown(asking.page_of(asking.rollout(asking.experiment())))
    for name, shown in PICTURES.items():
        view.page = asking.page_of(asking.rollout(shown(is_running=False), is_active=False))
        address, stop = start_server(page_of_one(view))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}/?token={PAGE_TOKEN}")
        step = page.locator("#rollout .online")
        expect(step).to_be_visible()
        step.screenshot(path=FOLDER / f"{name}.png")
        page.close()
        stop()


def _screens(browser: Browser) -> None:
    systems = SeveralSystems({HOME: flights.canary()}, more=9)
    address, stop = start_server(create_app(systems, TokenAccess(PAGE_TOKEN, person="ann")))
    for name, (width, scheme) in SCREENS.items():
        context = browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        page = context.new_page()
        page.goto(f"{address}/?token={PAGE_TOKEN}")
        expect(page.locator("[data-system]").first).to_be_visible()
        page.screenshot(path=FOLDER / f"page-list-{name}.png", full_page=name != "390")
        page.goto(f"{address}/systems/{HOME.namespace}/{HOME.name}/")
        expect(page.locator("#story .line").first).to_be_visible()
        expect(page.locator(".action").first).to_be_visible()
        # Requests are drawn once there are two numbers of them.
        expect(page.locator("#traffic .spark")).to_be_visible(timeout=20_000)
        page.screenshot(path=FOLDER / f"page-system-{name}.png", full_page=name != "390")
        if name == "light":
            _upper_part(page, "#pipeline", FOLDER / "page-top.png")
        context.close()
    stop()


def write_running(address: str, file: Path) -> None:
    """The upper part of a system's page as it is now: all but drift, quality and the story."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 844}, color_scheme="light")
        page.goto(address)
        expect(page.locator("#story .line").first).to_be_visible(timeout=60_000)
        expect(page.locator("#traffic .spark")).to_be_visible(timeout=60_000)
        _upper_part(page, "#drift", file)
        browser.close()


def _upper_part(page: Page, before: str, file: Path) -> None:
    """All of a system's page above the panel `before`."""
    below = page.locator(before).bounding_box()
    assert below is not None
    page.screenshot(path=file, full_page=True, clip={"x": 0, "y": 0, "width": 1280, "height": below["y"]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--running")
    parser.add_argument("--to", type=Path)
    wanted = parser.parse_args()
    if wanted.running is None:
        write()
    else:
        write_running(wanted.running, wanted.to)
