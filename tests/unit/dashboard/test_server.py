"""The page's server without a browser: who gets in, what the stream says, and what a broken part does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from browser import flights
from starlette.applications import Starlette
from starlette.testclient import TestClient

from capstan.adapters.alertmanager.webhook import MAX_BODY_BYTES, WebhookReceiver
from capstan.dashboard.access import TokenAccess
from capstan.dashboard.app import create_app, loop_doors
from capstan.dashboard.notifications import LoopDoors
from capstan.dashboard.systems import OneSystem
from capstan.dashboard.updates import Updates
from capstan.dashboard.view import StoreView, View
from capstan.domain.versions import SystemName

TOKEN = "the-page-token"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def page_of(
    view: StoreView,
    token: str,
    webhook: WebhookReceiver,
    on_alert: Callable[[], None] = lambda: None,
    *,
    prefix: str = "",
) -> Starlette:
    return create_app(
        OneSystem(view, view.store, view.system, log=lambda run: f"{run} wrote this"),
        TokenAccess(token, person="ann"),
        doors=loop_doors(LoopDoors(view, webhook, on_alert)),
        prefix=prefix,
    )


@dataclass
class Door:
    client: TestClient
    webhook: WebhookReceiver
    hints: list[int] = field(default_factory=list)


@pytest.fixture(scope="module")
def scene() -> flights.Scene:
    return flights.shadow()


@pytest.fixture
def door(scene: flights.Scene) -> Door:
    webhook = WebhookReceiver("the-webhook-token")
    found = Door(None, webhook)  # type: ignore[arg-type]
    app = page_of(scene.view(), TOKEN, webhook, lambda: found.hints.append(1))
    found.client = TestClient(app, base_url="http://127.0.0.1:7411", follow_redirects=False)
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/",
        *(f"/api/{name}" for name in ("state", "events", "stream", "me", "systems", "log", "may")),
        *(f"/systems/machine/flights/{rest}" for rest in ("", "api/state", "api/stream", "api/log")),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"authorization": "Bearer "}],
    ids=["none", "wrong", "no scheme", "empty"],
)
def test_nothing_is_told_without_the_token(door: Door, path: str, headers: dict[str, str]) -> None:
    answer = door.client.get(path, headers=headers)
    assert answer.status_code == 401
    assert "flights" not in answer.text


def test_empty_token_admits_nobody() -> None:
    app = page_of(flights.empty().view(), "", WebhookReceiver(""))
    client = TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)
    assert client.get("/?token=").status_code == 401
    assert client.get("/api/state", headers={"authorization": "Bearer "}).status_code == 401
    assert client.post("/alerts", headers={"authorization": "Bearer "}).status_code == 401


def test_token_becomes_a_cookie_and_leaves_the_address(door: Door) -> None:
    answer = door.client.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert door.client.get("/").status_code == 200
    assert door.client.get("/?token=wrong").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil.example:7411"])
def test_foreign_host_is_refused_even_with_the_token(door: Door, host: str) -> None:
    answer = door.client.get("/api/state", headers={**BEARER, "host": host})
    assert answer.status_code == 421
    assert "flights" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7411", "localhost:7411", "[::1]:7411"])
def test_own_hosts_are_answered(door: Door, host: str) -> None:
    assert door.client.get("/api/state", headers={**BEARER, "host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/state", "/static/main.js", "/nothing", "/healthz"])
def test_every_answer_forbids_foreign_scripts_and_frames(door: Door, path: str) -> None:
    headers = door.client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_state_is_json_of_finite_numbers_and_holds_no_secret(door: Door) -> None:
    answer = door.client.get("/api/state", headers=BEARER)
    page = orjson.loads(answer.content)
    assert page["head"]["phase"] == "Rolling out v4"
    assert TOKEN not in answer.text
    assert "the-webhook-token" not in answer.text


def test_events_are_paged_by_number(door: Door) -> None:
    told = door.client.get("/api/events", headers=BEARER).json()["events"]
    assert [event["number"] for event in told] == list(range(1, len(told) + 1))
    newer = door.client.get(f"/api/events?after={told[4]['number']}", headers=BEARER).json()["events"]
    assert newer == told[5:]
    assert door.client.get("/api/events?after=-1", headers=BEARER).status_code == 422


@pytest.mark.parametrize(
    ("headers", "body", "status", "outcome"),
    [
        ({}, b"{}", 401, "refused"),
        ({"authorization": "Bearer the-page-token"}, b"{}", 401, "refused"),
        ({"authorization": "Bearer the-webhook-token"}, b"nonsense", 422, "malformed"),
        ({"authorization": "Bearer the-webhook-token"}, b" " * (MAX_BODY_BYTES + 10), 422, "malformed"),
        ({"authorization": "Bearer the-webhook-token"}, b'{"alerts": []}', 200, "accepted"),
    ],
    ids=["no token", "page token", "malformed", "too long", "genuine"],
)
def test_notifications_are_judged_and_counted(
    door: Door, headers: dict[str, str], body: bytes, status: int, outcome: str
) -> None:
    assert door.client.post("/alerts", content=body, headers=headers).status_code == status
    assert door.hints == ([1] if status == 200 else [])
    assert f'notifications_total{{outcome="{outcome}"}} 1.0' in door.client.get("/metrics").text


def test_prometheus_is_told_whether_the_loop_stands_still(door: Door, scene: flights.Scene) -> None:
    def told() -> str:
        answer = door.client.get("/metrics/standstill")
        assert answer.status_code == 200
        return answer.text

    assert 'capstan_retraining_circuit_open{system="flights",version="v2"} 0.0' in told()
    assert 'capstan_traffic_split_not_obeyed{system="flights",version="v4"} 0.0' in told()


def test_without_a_system_there_is_no_standstill_to_tell() -> None:
    view = flights.empty().view()
    view.system = SystemName("another")
    app = page_of(view, "", WebhookReceiver(""))
    answer = TestClient(app, base_url="http://127.0.0.1").get("/metrics/standstill")
    assert answer.status_code == 503
    assert "`capstan up FILE` creates it" in answer.text


def test_metrics_tell_decisions_and_champion(door: Door) -> None:
    text = door.client.get("/metrics").text
    assert 'capstan_decisions_total{reason="Promoted",system="flights"} 1.0' in text
    assert 'capstan_version_info{role="champion",system="flights",version="v2"} 1.0' in text
    assert door.client.get("/metrics").text == text


def test_store_that_is_away_is_told_and_does_not_break_the_stream() -> None:
    scene = flights.empty()
    messages = asyncio.run(
        _watch(scene.view(), [lambda: _away(scene, "disk is gone"), lambda: _away(scene, None)])
    )
    assert [kind for kind, _ in messages] == ["snapshot", "away", "snapshot"]
    assert "disk is gone" in messages[1][1]["reason"]


def test_stream_is_silent_while_nothing_changes() -> None:
    scene = flights.empty()
    scene.has_requests = False
    messages = asyncio.run(_watch(scene.view(), [lambda: None, lambda: scene.world.start()]))
    assert [kind for kind, _ in messages] == ["snapshot", "snapshot"]
    assert messages[1][1]["head"]["phase"] == "Serving v1"


def _away(scene: flights.Scene, reason: str | None) -> None:
    scene.world.store.faults.away = reason


async def _watch(view: View, changes: list[Callable[[], object]]) -> list[tuple[str, dict[str, Any]]]:
    """What a reader of the stream gets while these things happen."""
    stream = Updates(view, interval_seconds=0.05).stream()
    found: list[tuple[str, dict[str, Any]]] = []

    async def read() -> None:
        async for chunk in stream:
            if chunk.startswith(b"event: "):
                kind, data = chunk.decode().strip().split("\n", 1)
                found.append((kind.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))))

    reader = asyncio.create_task(read())
    for change in [*changes, lambda: None]:
        await asyncio.sleep(1.3)
        change()
    reader.cancel()
    return found
