"""The page and `capstan card` show the card that the registry keeps, with the story so far."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from browser import flights
from starlette.testclient import TestClient
from unit.dashboard.test_server import TOKEN, page_of

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.dashboard.access import CARD_POLICY
from capstan.dashboard.cards import card_of, data_report_of
from capstan.domain.reasons import Reason
from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName
from capstan.errors import NotFoundError
from capstan.ports.store import Event, Kind

NOW = datetime(2013, 7, 1, tzinfo=UTC)
CARD = '<html><section id="story"><ol></ol></section></html>'


def version(rank: int = 0) -> ModelVersion:
    return ModelVersion(
        VersionName("v2"), Digest("sha256:" + "a" * 64), RunName("run-a"), "flights:a", NOW, {}, rank
    )


def event(run: str, message: str) -> Event:
    return Event(NOW, Kind.RUN, run, Reason.TRAINING_SUCCEEDED, message, {})


def test_the_story_is_that_of_the_versions_own_run() -> None:
    told = card_of(
        lambda *_: CARD.encode(), version(), [event("run-a", "made <v2>"), event("run-b", "made v3")]
    )
    assert "made &lt;v2&gt;" in told
    assert "made v3" not in told


@pytest.mark.parametrize(("rank", "path"), [(0, "card.html"), (2, "runners-up/2/card.html")])
def test_the_card_of_a_runner_up_is_its_own(rank: int, path: str) -> None:
    asked: list[tuple[str, str]] = []

    def kept(name: VersionName, at: str) -> bytes:
        asked.append((name, at))
        return CARD.encode()

    assert card_of(kept, version(rank), []) == CARD
    assert asked == [("v2", path)]


def test_a_version_without_a_card_says_why_there_may_be_none() -> None:
    with pytest.raises(NotFoundError, match="keeps no card of it; versions that were imported"):
        card_of(lambda *_: None, version(), [])


CARDS = {"authorization": f"Bearer {TOKEN}"}


def page(scene: flights.Scene) -> TestClient:
    view = scene.view()
    view.sources = replace(view.sources, card=lambda *_: CARD.encode())
    app = page_of(view, TOKEN, WebhookReceiver("a token of Alertmanager's"))
    return TestClient(app, base_url="http://127.0.0.1:7411", follow_redirects=False)


@pytest.fixture(scope="module")
def scene() -> flights.Scene:
    return flights.shadow()


def test_the_page_shows_the_card_which_may_load_and_run_nothing(scene: flights.Scene) -> None:
    for path in ("/card/v1", "/systems/machine/flights/card/v1"):
        answer = page(scene).get(path, headers=CARDS)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-security-policy"] == CARD_POLICY
        assert "script-src" not in CARD_POLICY
        assert answer.headers["x-frame-options"] == "DENY"
        assert '<section id="story">' in answer.text


def test_the_page_shows_the_report_of_the_data_under_the_same_policy(scene: flights.Scene) -> None:
    for path in ("/data/v1", "/systems/machine/flights/data/v1"):
        answer = page(scene).get(path, headers=CARDS)
        assert (answer.status_code, answer.text) == (200, CARD)
        assert answer.headers["content-security-policy"] == CARD_POLICY
    assert page(scene).get("/data/v1").status_code == 401
    assert page(scene).get("/data/v99", headers=CARDS).status_code == 404


def test_a_version_without_a_report_of_its_data_says_why_there_may_be_none() -> None:
    asked: list[str] = []
    with pytest.raises(NotFoundError, match="no report of its data; versions that were imported have none"):
        data_report_of(lambda _, path: asked.append(path), version())
    assert asked == ["data.html"]


def test_a_card_is_not_shown_without_the_token_nor_of_an_unknown_version(scene: flights.Scene) -> None:
    assert page(scene).get("/card/v1").status_code == 401
    unknown = page(scene).get("/systems/machine/flights/card/v99", headers=CARDS)
    assert unknown.status_code == 404
    assert "has no version 'v99'" in unknown.json()["reason"]
