"""Write the pictures of the docs: `PYTHONPATH=tests .venv/bin/python -m browser.pictures`."""

from __future__ import annotations

from browser import asking
from browser.conftest import FLAGS, PAGE_TOKEN, chromium, start_server
from browser.flights import ROOT
from playwright.sync_api import expect, sync_playwright

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.dashboard.app import create_app

FOLDER = ROOT / "platform/docs/pictures"
PICTURES = {
    "experiment": asking.experiment,
    "bandit": asking.bandit,
    "interleaving": asking.preference,
}


def write() -> None:
    """One picture for each kind of step, as the page draws it."""
    view = asking.Shown(asking.page_of(asking.rollout(asking.experiment())))
    for name, shown in PICTURES.items():
        view.page = asking.page_of(asking.rollout(shown(is_running=False), is_active=False))
        app = create_app(view, page_token=PAGE_TOKEN, webhook=WebhookReceiver("w"), on_alert=lambda: None)
        address, stop = start_server(app)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{address}/?token={PAGE_TOKEN}")
            step = page.locator("#rollout .online")
            expect(step).to_be_visible()
            step.screenshot(path=FOLDER / f"{name}.png")
            browser.close()
        stop()


if __name__ == "__main__":
    write()
