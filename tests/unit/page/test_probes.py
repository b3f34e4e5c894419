"""Claims about what Prometheus and the kubelet are told by a page's process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from unit.page.test_access import TOKEN, TwoSystems
from unit.page.test_reviews import ApiServer

from capstan.adapters.processes.ports_in_use import free_port
from capstan_page import app as page_app
from capstan_page.access import ClusterAccess
from capstan_page.app import Options, PageApp
from capstan_page.reviews import Reviews
from capstan_page.sessions import Sessions


class Systems(TwoSystems):
    """Whose list costs nothing."""

    def warm(self) -> None:
        """Nothing to make."""


class Watching:
    """Watches that a test tells what they see."""

    def __init__(self, *_: Any, on_end: Callable[[str], None], **__: Any) -> None:
        self.is_listed = threading.Event()
        self.lost = on_end
        self.deaf: list[str] = []
        self.log = SimpleNamespace(calls={("WATCH", "mlsystems"): 3})

    def start(self) -> None:
        """Nothing is watched."""

    def stop(self) -> None:
        """Nothing is watched."""

    def silent(self) -> list[str]:
        return self.deaf


class Running:
    """A page's process in this one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.watches: list[Watching] = []

        def watch(*given: Any, **more: Any) -> Watching:
            self.watches.append(Watching(*given, **more))
            return self.watches[-1]

        monkeypatch.setattr(page_app, "Watches", watch)
        # Of a process of its own; this one has other tests in it.
        monkeypatch.setattr(page_app, "quieten", lambda: None)
        monkeypatch.setattr(page_app, "_GUARD_SECONDS", 0.05)
        self.ended: list[int] = []
        server = ApiServer()
        reviews = Reviews(server.create, clock=lambda: server.now)
        access = ClusterAccess(reviews, Sessions(b"k" * 40, hours=8), lambda *_: pytest.fail("no order"))
        client: Any = SimpleNamespace(calls=Counter({("GET", "virtualservices"): 2}))
        cache: Any = SimpleNamespace(count=lambda: {"MLSystem": 2, "Pod": 5})
        options = Options(host="127.0.0.1", port=free_port(), metrics_port=free_port())
        systems: Any = Systems()
        self.app = PageApp(client, cache, systems, access, reviews, options, end=self.ended.append)
        self.people = f"http://127.0.0.1:{options.port}"
        self.probes = f"http://127.0.0.1:{options.metrics_port}"
        self.code: list[int] = []
        self.thread = threading.Thread(target=lambda: self.code.append(self.app.run()), daemon=True)
        self.thread.start()
        until(lambda: bool(self.watches))

    def ask(self, path: str) -> tuple[int, str]:
        answer = httpx.get(f"{self.probes}/{path}", trust_env=False)
        return answer.status_code, answer.text.strip()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    started = Running(monkeypatch)
    yield started
    started.app.stop()
    started.thread.join(10)


def test_a_page_is_ready_once_everything_was_listed_and_until_it_stops(running: Running) -> None:
    assert running.ask("readyz") == (503, "listing")
    assert running.ask("healthz") == (200, "ok")
    running.watches[0].is_listed.set()
    until(lambda: running.ask("readyz") == (200, "ok"))
    running.app.stop()
    running.thread.join(10)
    assert running.code == [0]
    assert running.ended == []


@pytest.mark.parametrize("is_listed", [False, True], ids=["while it lists", "afterwards"])
def test_a_page_whose_watches_are_deaf_is_unwell_and_ends(running: Running, is_listed: bool) -> None:
    [watches] = running.watches
    if is_listed:
        watches.is_listed.set()
        until(lambda: running.ask("readyz") == (200, "ok"))
    watches.deaf = ["pods: no watch was opened for 76 s"]
    assert running.ask("healthz") == (503, "pods: no watch was opened for 76 s")
    until(lambda: bool(running.ended))
    assert set(running.ended) == {1}


def test_metrics_count_pages_reviews_calls_and_objects(running: Running) -> None:
    running.watches[0].is_listed.set()
    headers = {"authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/systems/shop/flights/", "/api/systems"):
        assert httpx.get(f"{running.people}{path}", headers=headers, trust_env=False).status_code == 200
    assert httpx.get(f"{running.people}/", trust_env=False).status_code == 401
    _, text = running.ask("metrics")
    lines = set(text.splitlines())
    assert lines >= {
        "capstan_page_opened_total 2.0",
        'capstan_page_reviews_total{kind="TokenReview"} 1.0',
        'capstan_page_api_calls_total{resource="mlsystems",verb="WATCH"} 3.0',
        'capstan_page_api_calls_total{resource="virtualservices",verb="GET"} 2.0',
        'capstan_page_objects{kind="MLSystem"} 2.0',
        'capstan_page_objects{kind="Pod"} 5.0',
    }
    # People have no business there, and Prometheus has none at people's port.
    assert httpx.get(f"{running.people}/metrics", headers=headers, trust_env=False).status_code == 404
