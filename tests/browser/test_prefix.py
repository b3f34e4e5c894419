"""The page behind a real reverse proxy that brings it below a prefix, whether it takes the prefix away or not."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from browser import flights
from browser.conftest import Opened, start_server
from browser.several import SeveralSystems
from playwright.sync_api import expect

from capstan.adapters.memory.loop import MemoryStore
from capstan.adapters.processes.ports_in_use import free_port
from capstan.dashboard.app import create_app
from capstan.dashboard.systems import SystemAddress
from capstan.gateway.envoy_process import program
from capstan.ports.kube import Object
from capstan_page.access import ClusterAccess
from capstan_page.reviews import Reviews
from capstan_page.sessions import Sessions

PREFIX = "/ml/capstan"


def config(port: int, upstream: int, *, takes_away: bool) -> dict[str, Any]:
    """An Envoy that knows the prefix and nothing else; streams may last."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}
    route: dict[str, Any] = {"cluster": "page", "timeout": "0s"}
    if takes_away:
        route["prefix_rewrite"] = "/"
    manager = {
        "@type": (
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        ),
        "stat_prefix": "front",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": f"{PREFIX}/"}, "route": route}],
                }
            ]
        },
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "page",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "page",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
                    },
                }
            ],
        }
    }


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts an Envoy before the page of two systems; returns the address with the prefix."""
    running: list[Callable[[], None]] = []

    def review(document: Object) -> Object:
        is_ann = document["spec"].get("token", "good") == "good"
        return {"status": {"authenticated": is_ann, "user": {"username": "ann"}, "allowed": True}}

    def start(*, takes_away: bool) -> str:
        access = ClusterAccess(Reviews(review), Sessions(b"k" * 40, hours=1), lambda *_: MemoryStore())
        systems = SeveralSystems({SystemAddress("flights", "flight-delays"): flights.canary()}, more=1)
        address, stop = start_server(create_app(systems, access, prefix=PREFIX))
        running.append(stop)
        port = free_port()
        file = tmp_path / "envoy.json"
        file.write_text(json.dumps(config(port, int(urlsplit(address).port or 0), takes_away=takes_away)))
        argv = [str(program()), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1"]
        with (tmp_path / "envoy.log").open("wb") as log:
            envoy = subprocess.Popen([*argv, "--log-level", "warning"], stdout=log, stderr=log)
        running.append(envoy.kill)
        front = f"http://127.0.0.1:{port}{PREFIX}"
        deadline = time.monotonic() + 30
        while True:
            try:
                if httpx.get(f"{front}/", trust_env=False).status_code == 401:
                    return front
            except httpx.HTTPError:
                assert time.monotonic() < deadline, (tmp_path / "envoy.log").read_text()
            time.sleep(0.1)

    yield start
    for stop in running:
        stop()


@pytest.mark.parametrize("takes_away", [False, True], ids=["the prefix stays", "the prefix is taken away"])
def test_a_person_signs_in_looks_around_and_signs_out_below_the_prefix(
    proxied: Callable[..., str], open_page: Callable[..., Opened], takes_away: bool
) -> None:
    front = proxied(takes_away=takes_away)
    opened = open_page(f"{front}/")
    page = opened.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#token").fill("good")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("[data-system]")).to_have_count(2)
    page.get_by_role("link", name="flight-delays").click()
    expect(page.locator("#versions tr", has_text="champion")).to_contain_text("v2")
    expect(page.locator("#story .line").first).to_be_visible()
    page.locator(".up").click()
    expect(page.locator("[data-system]")).to_have_count(2)
    # An address without the slash at its end leads to the same page, and not out of the prefix.
    page.goto(f"{front}/systems/flights/flight-delays")
    expect(page.locator("#versions tr", has_text="champion")).to_contain_text("v2")
    assert page.url == f"{front}/systems/flights/flight-delays/"
    page.go_back()
    page.get_by_role("button", name="sign out").click()
    expect(page.locator("#token")).to_be_visible()
    assert page.url == f"{front}/"
    assert all(url.startswith(f"{front}/") for url in asked), "nothing is asked for outside of the prefix"
    refused = [line for line in opened.complaints if "401" not in line]
    assert refused == []
