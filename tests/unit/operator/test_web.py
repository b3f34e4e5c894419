"""Claims about the operator's HTTP server."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from starlette.testclient import TestClient

from capstan.adapters.alertmanager.webhook import MAX_BODY_BYTES, WebhookReceiver
from capstan_operator.web import Health, create_app

ALERT = {"alerts": [{"status": "firing", "labels": {"alertname": "DriftDetected", "system": "flights"}}]}


@dataclass
class Around:
    """What the server is asked to pass on, and what it is told."""

    hints: list[frozenset[str]] = field(default_factory=list)
    health: Health = field(default_factory=lambda: Health(True, ("leading",)))

    def __post_init__(self) -> None:
        self.webhook = WebhookReceiver("secret")
        app = create_app(
            webhook=self.webhook,
            on_alert=self.hints.append,
            metrics=lambda: b"capstan_leader 1.0\n",
            liveness=lambda: self.health,
            readiness=lambda: self.health,
        )
        self.client = TestClient(app)

    def post(self, token: str, **content: object) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return self.client.post("/alerts", headers=headers, **content).status_code  # type: ignore[arg-type]


@pytest.fixture
def around() -> Around:
    return Around()


def test_an_authentic_notification_is_a_hint_about_its_systems(around: Around):
    assert around.post("secret", json=ALERT) == 204
    assert around.hints == [frozenset({"flights"})]


@pytest.mark.parametrize("token", ["", "Secret", "secret2"])
def test_a_forged_notification_is_refused_and_counted(around: Around, token: str):
    assert around.post(token, json=ALERT) == 401
    assert around.hints == []
    assert around.webhook.refused == 1


def test_what_is_no_notification_is_refused_and_counted(around: Around):
    assert around.post("secret", content=b"{}") == 422
    assert around.webhook.malformed == 1


def test_a_huge_body_is_not_read_to_its_end(around: Around):
    assert around.post("secret", content=b"x" * (3 * MAX_BODY_BYTES)) == 422
    assert around.hints == []


def test_a_probe_says_why_it_fails(around: Around):
    assert around.client.get("/healthz").text == "leading\n"
    around.health = Health(False, ("a look has been running for 400 s", "thread worker-1 has ended"))
    answer = around.client.get("/healthz")
    assert (answer.status_code, answer.text.count("\n")) == (503, 2)
    assert "400 s" in answer.text


def test_metrics_are_served(around: Around):
    assert around.client.get("/metrics").text == "capstan_leader 1.0\n"
