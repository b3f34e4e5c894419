"""The page of a host of one machine: systems come and go, and each has its own address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from browser import flights
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.dashboard.access import TokenAccess
from capstan.dashboard.app import create_app, host_doors
from capstan.dashboard.notifications import HostDoors
from capstan.dashboard.pages import Pages
from capstan.dashboard.systems import MachineSystems, OneSystem, SystemAddress

TOKEN = "the-page-token"
BEARER = {"authorization": f"Bearer {TOKEN}"}
BODY = b'{"alerts": [{"status": "firing", "labels": {"alertname": "InputDrift", "system": "bikes"}}]}'


@dataclass
class Machine:
    """A host's page, without systems at first."""

    systems: MachineSystems = field(default_factory=lambda: MachineSystems("flights"))
    doors: HostDoors = field(init=False)
    scene: flights.Scene = field(default_factory=flights.shadow)
    hints: list[str] = field(default_factory=list)
    close: dict[str, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.doors = HostDoors(WebhookReceiver("the-webhook-token"), self.systems)
        app = create_app(
            self.systems, TokenAccess(TOKEN, person="ann"), doors=host_doors(self.doors), is_machine=True
        )
        self.client = TestClient(app, base_url="http://127.0.0.1:7411", follow_redirects=False)

    def show(self, name: str) -> None:
        view = self.scene.view()
        take_away = self.systems.show(name, OneSystem(view, view.store, name))
        close = self.doors.open(name, view, lambda: self.hints.append(name))

        def end() -> None:
            close()
            take_away()

        self.close[name] = end

    def read(self, system: str, change: Callable[[], None]) -> list[bytes]:
        """What an open page's stream says, when this happens after its first snapshot."""
        pages = Pages(self.systems, TokenAccess(TOKEN, person="ann"), interval_seconds=0.01)
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(b"authorization", BEARER["authorization"].encode())],
            "path_params": {"namespace": "machine", "name": system},
        }

        async def read() -> list[bytes]:
            answer = await pages.stream(Request(scope))
            assert isinstance(answer, StreamingResponse)
            kinds = []
            async for chunk in answer.body_iterator:
                kinds.append(bytes(chunk).partition(b"\n")[0])
                if kinds[-1] == b"event: snapshot":
                    change()
            return kinds

        return asyncio.run(asyncio.wait_for(read(), 5.0))

    def status(self, path: str) -> int:
        return self.client.get(path, headers=BEARER).status_code

    def root(self) -> str:
        return self.client.get("/", headers=BEARER).text


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_one_system_has_the_root_for_itself_and_several_are_a_list(machine: Machine) -> None:
    machine.show("flights")
    alone = machine.root()
    machine.show("bikes")
    both = machine.root()
    assert alone != both
    assert len(machine.client.get("/api/systems", headers=BEARER).json()["systems"]) == 2
    assert machine.systems.addresses() == [
        SystemAddress("machine", "bikes"),
        SystemAddress("machine", "flights"),
    ]
    assert machine.systems.only is None


def test_a_page_that_is_open_at_the_root_goes_on_when_a_second_system_comes(machine: Machine) -> None:
    machine.show("flights")
    assert machine.status("/api/state") == 200
    machine.show("bikes")
    assert machine.status("/api/state") == 200
    assert machine.status("/systems/machine/bikes/api/state") == 200
    assert machine.status("/systems/machine/nobody/api/state") == 404


def test_without_the_first_programs_mean_the_only_one_or_must_name_one(machine: Machine) -> None:
    for name in ("flights", "bikes", "cells"):
        machine.show(name)
    machine.systems.forget("flights")
    assert machine.status("/api/state") == 404
    alone = MachineSystems(None)
    view = machine.scene.view()
    alone.show("bikes", OneSystem(view, view.store, "bikes"))
    assert alone.unnamed == SystemAddress("machine", "bikes")


def test_a_system_that_is_shown_anew_is_not_taken_away_by_its_older_self(machine: Machine) -> None:
    view = machine.scene.view()
    take_away = machine.systems.show("bikes", OneSystem(view, view.store, "bikes"))
    machine.show("bikes")
    take_away()
    assert machine.systems.addresses() == [SystemAddress("machine", "bikes")]


ENDED = [b"retry: 1000", b"event: snapshot", b"event: locked"]
"""The stream of a page that asks again by itself."""


def test_an_open_page_asks_again_when_its_system_starts_anew(machine: Machine) -> None:
    machine.show("flights")
    assert machine.read("flights", lambda: machine.show("flights")) == ENDED


def test_an_open_page_ends_when_its_system_has_left(machine: Machine) -> None:
    machine.show("flights")
    machine.show("bikes")
    view = machine.scene.view()
    take_away = machine.systems.show("bikes", OneSystem(view, view.store, "bikes"))

    def leave() -> None:
        take_away()
        machine.systems.forget("bikes")

    assert machine.read("bikes", leave) == ENDED


def test_a_system_that_starts_anew_is_away_and_one_that_left_is_not_there(machine: Machine) -> None:
    assert machine.status("/api/state") == 503
    view = machine.scene.view()
    for name in ("flights", "bikes"):
        machine.systems.show(name, OneSystem(view, view.store, name))()
        assert machine.status(f"/systems/machine/{name}/api/state") == 503
        machine.systems.forget(name)
        assert machine.status(f"/systems/machine/{name}/api/state") == 404


def test_a_notification_hints_at_all_loops_and_a_forged_one_at_none(machine: Machine) -> None:
    machine.show("flights")
    machine.show("bikes")
    assert machine.client.post("/alerts", content=BODY).status_code == 401
    assert machine.hints == []
    headers = {"authorization": "Bearer the-webhook-token"}
    assert machine.client.post("/alerts", content=BODY, headers=headers).status_code == 200
    assert sorted(machine.hints) == ["bikes", "flights"]


def test_prometheus_asks_for_each_loop_by_its_system(machine: Machine) -> None:
    machine.show("flights")
    assert "capstan_" in machine.client.get("/systems/machine/flights/metrics/standstill").text
    assert machine.status("/systems/machine/flights/metrics") == 200
    assert machine.status("/systems/machine/bikes/metrics") == 404
    assert machine.status("/healthz") == 200


@pytest.mark.parametrize("path", ["/metrics", "/metrics/standstill"])
def test_metrics_without_a_name_are_those_of_the_first_or_the_only_one(machine: Machine, path: str) -> None:
    assert machine.status(path) == 404
    machine.show("flights")
    alone = machine.client.get(path).text
    assert "capstan_" in alone
    machine.show("bikes")
    assert machine.status(path) == 200
    # What is named by nobody must not become the numbers of another system while the first is away.
    machine.close["flights"]()
    assert machine.status(path) == 404
    machine.systems.forget("flights")
    assert machine.status(path) == 200
