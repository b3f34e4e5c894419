"""The page in a real Chromium, served by uvicorn on a free port."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from browser.flights import SYSTEM, Scene
from playwright.sync_api import Browser, Page, sync_playwright
from starlette.applications import Starlette

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.memory.loop import MemoryStore
from capstan.dashboard.access import TokenAccess
from capstan.dashboard.app import create_app, loop_doors
from capstan.dashboard.notifications import LoopDoors
from capstan.dashboard.systems import OneSystem, Systems
from capstan.dashboard.view import StoreView, View
from capstan.ports.store import Store

PAGE_TOKEN = "page-token-of-this-test"
WEBHOOK_TOKEN = "webhook-token-of-this-test"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
HOW = "apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation"


def chromium() -> Path:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail(
            f"the browser tests need Chromium and there is none on PATH; install it: {HOW}", pytrace=False
        )
    return Path(found)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield started
        started.close()


@dataclass
class Served:
    """A running page."""

    scene: Scene
    address: str
    webhook: WebhookReceiver
    hints: list[float] = field(default_factory=list)

    @property
    def entry(self) -> str:
        return f"{self.address}/?token={PAGE_TOKEN}"


def start_server(app: Starlette) -> tuple[str, Callable[[], None]]:
    """The address on a free port, and what stops it."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)

    def stop() -> None:
        server.should_exit = server.force_exit = True
        thread.join(5)

    return f"http://127.0.0.1:{listener.getsockname()[1]}", stop


def page_of_one(view: View, store: Store | None = None, **more: Any) -> Starlette:
    """The page of one system; without a store nobody can order anything."""
    one = OneSystem(view, store or MemoryStore(), SYSTEM, log=lambda run: f"what {run} wrote\nthe last line")
    return create_app(one, TokenAccess(PAGE_TOKEN, person="ann"), **more)


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    running: list[Callable[[], None]] = []

    def start(scene: Scene, *, prefix: str = "", view: StoreView | None = None) -> Served:
        served = Served(scene, "", WebhookReceiver(WEBHOOK_TOKEN))
        view = view or scene.view()
        doors = LoopDoors(view, served.webhook, lambda: served.hints.append(time.monotonic()))
        address, stop = start_server(page_of_one(view, view.store, doors=loop_doors(doors), prefix=prefix))
        served.address = f"{address}{prefix}"
        running.append(stop)
        return served

    yield start
    for stop in running:
        stop()


@pytest.fixture
def serve_several() -> Iterator[Callable[..., str]]:
    """Serves several systems; returns the address with the token."""
    running: list[Callable[[], None]] = []

    def start(systems: Systems, *, prefix: str = "") -> str:
        app = create_app(systems, TokenAccess(PAGE_TOKEN, person="ann"), prefix=prefix)
        address, stop = start_server(app)
        running.append(stop)
        return f"{address}{prefix}/?token={PAGE_TOKEN}"

    yield start
    for stop in running:
        stop()


@dataclass
class Opened:
    """A browser tab with what its console said."""

    page: Page
    complaints: list[str]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def opener(address: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return Opened(page, complaints)

    yield opener
    for context in contexts:
        context.close()
