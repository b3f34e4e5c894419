"""A page of many systems that many people have open: how long a first view takes, and what the API server is asked.

`python tests/benchmarks/page/fleet.py --systems 100 --pages 50` needs KUBECONFIG and Chromium; it makes namespaces of
its own and takes them away. Each system is a copy of the browser tests' flights: two months of a story, four runs, four
rollouts. MLflow, Prometheus, Alertmanager and the monitors do not answer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import httpx
from browser import flights
from browser.conftest import FLAGS, chromium
from browser.copied import documents
from cluster.conftest import _made, _remove
from cluster.paging.running import VIEW, PageProcess, Pages
from playwright.sync_api import sync_playwright

from capstan.adapters.kubernetes.client import KubeClient

SYSTEMS_PER_NAMESPACE = 25


def fill(
    kube: KubeClient, scene: flights.Scene, namespaces: list[str], systems: int
) -> list[tuple[str, str]]:
    """Make the systems; returns their places."""
    places = [(namespaces[n // SYSTEMS_PER_NAMESPACE], f"flights{n:03d}") for n in range(systems)]

    def make(place: tuple[str, str]) -> None:
        for document in documents(scene, place[1], place[0]):
            status = document.pop("status", None)
            made = kube.create(document)
            if status is not None:
                kube.replace({**made, "status": status}, sub="status")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, places))
    return places


@contextmanager
def open_pages(port: int, token: str, places: list[tuple[str, str]], pages: int) -> Iterator[Counter[str]]:
    """So many streams as browsers keep them open, of one system each; counts what they were told."""
    told: Counter[str] = Counter()
    stop = threading.Event()

    def watch(number: int) -> None:
        namespace, name = places[number % len(places)]
        address = f"http://127.0.0.1:{port}/systems/{namespace}/{name}/api/stream"
        headers = {"authorization": f"Bearer {token}"}
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.stream("GET", address, headers=headers, timeout=None, trust_env=False) as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    told[line] += 1
                if stop.is_set():
                    return

    threads = [threading.Thread(target=watch, args=(n,), daemon=True) for n in range(pages)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while told["event: snapshot"] < pages and time.monotonic() < deadline:
        time.sleep(0.1)
    yield told
    stop.set()


def calls(page: PageProcess) -> Mapping[str, float]:
    """Calls to the API server by what they are."""
    wanted = ("capstan_page_api_calls_total", "capstan_page_reviews_total")
    return {name: value for name, value in page.metrics().items() if name.startswith(wanted)}


def first_views(port: int, token: str, places: list[tuple[str, str]], views: int) -> dict[str, list[float]]:
    """Milliseconds from going to a page until a person reads it, of systems that nobody else has open."""
    found: dict[str, list[float]] = {"list": [], "system": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator("#token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        page.locator("[data-system]").first.wait_for()
        for namespace, name in places[-views:]:
            for what, address, there in (
                ("list", "", "[data-system]"),
                ("system", f"systems/{namespace}/{name}/", "#versions tbody tr, #rollout .steps"),
            ):
                began = time.perf_counter()
                page.goto(f"http://127.0.0.1:{port}/{address}", wait_until="commit")
                page.locator(there).first.wait_for()
                found[what].append((time.perf_counter() - began) * 1000)
        browser.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=int, default=100)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long calls are counted")
    parser.add_argument("--views", type=int, default=20)
    given = parser.parse_args()
    kube = KubeClient.from_kubeconfig()
    count = -(-given.systems // SYSTEMS_PER_NAMESPACE)
    namespaces = [_made(kube) for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        pages = Pages(kube, namespaces, Path(folder))
        try:
            places = fill(kube, flights.canary(), namespaces, given.systems)
            page = pages.start()
            token = pages.person("ann", dict.fromkeys(namespaces, VIEW))
            alone = first_views(page.port, token, places, given.views)
            with open_pages(page.port, token, places[: given.pages], given.pages) as told:
                before, began = calls(page), time.monotonic()
                views = first_views(page.port, token, places, given.views)
                time.sleep(max(0.0, given.seconds - (time.monotonic() - began)))
                seconds = time.monotonic() - began
                grown = {name: value - before.get(name, 0) for name, value in calls(page).items()}
            result = {
                "systems": given.systems,
                "open pages": given.pages,
                "first view, nobody else there, ms": {k: summary(v) for k, v in alone.items()},
                "first view, all pages open, ms": {k: summary(v) for k, v in views.items()},
                "seconds": round(seconds, 1),
                "calls in these seconds": {name: int(value) for name, value in grown.items() if value},
                "told": dict(told),
            }
            print(json.dumps(result, indent=2))
        finally:
            print(pages.replicas[0].log.read_text()[-2000:] if pages.replicas else "", file=sys.stderr)
            pages.close()
            for namespace in namespaces:
                _remove(kube, namespace)
    return 0


def summary(values: list[float]) -> dict[str, int]:
    return {"median": round(statistics.median(values)), "worst": round(max(values))}


if __name__ == "__main__":
    sys.exit(main())
