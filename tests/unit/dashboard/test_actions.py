"""What people may ask for by the page: checked as the commands are, signed in the story, refused to foreign pages."""

from __future__ import annotations

import pytest
from browser import flights
from starlette.testclient import TestClient
from unit.dashboard.test_server import page_of

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.dashboard.static_files import VERSION

TOKEN = "the-page-token"
OWN = {"authorization": f"Bearer {TOKEN}", "x-capstan-page": "1"}
PAUSE = {"verb": "pause", "reason": "holiday traffic"}


@pytest.fixture
def scene() -> flights.Scene:
    return flights.canary()


@pytest.fixture
def client(scene: flights.Scene) -> TestClient:
    app = page_of(scene.view(), TOKEN, WebhookReceiver(""))
    return TestClient(app, base_url="http://127.0.0.1:7411", follow_redirects=False)


@pytest.fixture(scope="module")
def unchanged() -> TestClient:
    """The page of one scene for all orders that change nothing."""
    app = page_of(flights.canary().view(), TOKEN, WebhookReceiver(""))
    return TestClient(app, base_url="http://127.0.0.1:7411", follow_redirects=False)


def possible(client: TestClient) -> dict[str, str]:
    """Why each action is not possible; empty for those that are."""
    actions = client.get("/api/state", headers=OWN).json()["actions"]
    return {action["verb"]: "" if action["is_possible"] else action["why_not"] for action in actions}


def test_what_is_not_possible_says_why(unchanged: TestClient) -> None:
    found = possible(unchanged)
    assert {verb for verb, why in found.items() if not why} == {"retrain", "pause", "promote", "abort"}
    assert found["approve"] == "nothing waits for approval"
    assert found["resume"] == "nothing is paused"
    assert found["rollback"] == "a training or a rollout is in progress"


def test_an_order_is_followed_and_the_story_says_who_gave_it_and_why(
    scene: flights.Scene, client: TestClient
) -> None:
    answer = client.post("/api/actions", json=PAUSE, headers=OWN)
    assert answer.status_code == 200, answer.text
    assert answer.json()["command"]["by"] == "ann"
    scene.world.settle()
    [event] = [e for e in client.get("/api/events", headers=OWN).json()["events"] if e["reason"] == "Paused"]
    assert event["message"].endswith("(ann: holiday traffic)")
    assert possible(client)["pause"] == "it is paused already"
    assert possible(client)["resume"] == ""


def test_abort_by_a_person_ends_the_rollout_with_their_name(scene: flights.Scene, client: TestClient) -> None:
    order = {"verb": "abort", "reason": "carriers complain"}
    assert client.post("/api/actions", json=order, headers=OWN).status_code == 200
    scene.world.settle()
    state = client.get("/api/state", headers=OWN).json()
    assert state["rollouts"][0]["why"] == "ann asked for it: carriers complain"


def test_the_story_says_of_every_order_who_gave_it_and_why(scene: flights.Scene, client: TestClient) -> None:
    for verb in ("pause", "resume", "promote", "rollback", "retrain"):
        reason = f"carriers want to {verb}"
        answer = client.post("/api/actions", json={"verb": verb, "reason": reason}, headers=OWN)
        assert answer.status_code == 200, answer.text
        for _ in range(3):
            scene.world.settle()
        events = client.get("/api/events", headers=OWN).json()["events"]
        assert any("ann" in event["message"] and reason in event["message"] for event in events), verb


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, 403),
        ({**OWN, "origin": "https://evil.example"}, 403),
        ({**OWN, "sec-fetch-site": "cross-site"}, 403),
        ({**OWN, "sec-fetch-site": "same-site"}, 403),
        ({"x-capstan-page": "1"}, 401),
    ],
    ids=["no header", "foreign origin", "cross site", "same site", "nobody"],
)
def test_an_order_of_a_foreign_page_is_refused(
    unchanged: TestClient, headers: dict[str, str], status: int
) -> None:
    assert unchanged.post("/api/actions", json=PAUSE, headers=headers).status_code == status
    assert possible(unchanged)["resume"] != ""


def test_an_order_of_the_page_itself_is_followed(client: TestClient) -> None:
    headers = {**OWN, "origin": "http://127.0.0.1:7411", "sec-fetch-site": "same-origin"}
    assert client.post("/api/actions", json=PAUSE, headers=headers).status_code == 200
    assert possible(client)["resume"] == ""


@pytest.mark.parametrize(
    ("order", "status", "word"),
    [
        ({"verb": "pause"}, 422, "reason"),
        ({"verb": "pause", "reason": "  "}, 422, "reason"),
        ({"verb": "pause", "reason": "x" * 501}, 422, "501"),
        ({"verb": "delete", "reason": "why"}, 422, "'delete'"),
        ({"verb": "promote", "reason": "why", "version": 4}, 422, "version"),
        ([], 422, "body"),
        ({"verb": "resume", "reason": "why"}, 409, "nothing is paused"),
        ({"verb": "rollback", "reason": "why"}, 409, "in progress"),
    ],
)
def test_an_order_that_cannot_be_followed_is_refused_in_words(
    unchanged: TestClient, order: object, status: int, word: str
) -> None:
    answer = unchanged.post("/api/actions", json=order, headers=OWN)
    assert answer.status_code == status
    assert word in answer.json()["reason"]


def test_older_versions_are_offered_when_nothing_is_in_progress() -> None:
    scene = flights.canary()
    app = page_of(scene.view(), TOKEN, WebhookReceiver(""))
    client = TestClient(app, base_url="http://127.0.0.1:7411")
    client.post("/api/actions", json={"verb": "abort", "reason": "enough"}, headers=OWN)
    for _ in range(3):
        scene.world.settle()
    actions = {action["verb"]: action for action in client.get("/api/state", headers=OWN).json()["actions"]}
    assert actions["rollback"]["versions"] == ["v1"]
    assert "v2" not in actions["promote"]["versions"]
    assert set(actions["promote"]["versions"]) >= {"v1", "v4"}


def test_a_log_is_told_of_runs_that_the_system_has(unchanged: TestClient) -> None:
    run = unchanged.get("/api/state", headers=OWN).json()["runs"][0]["name"]
    answer = unchanged.get(f"/api/log?run={run}", headers=OWN)
    assert answer.json()["lines"] == [f"{run} wrote this"]
    assert unchanged.get("/api/log?run=../../etc/passwd", headers=OWN).status_code == 404


def test_below_a_prefix_files_and_cookie_are_of_the_prefix() -> None:
    app = page_of(flights.empty().view(), TOKEN, WebhookReceiver(""), prefix="/ml/capstan")
    client = TestClient(app, base_url="http://127.0.0.1:7411", follow_redirects=False)
    answer = client.get(f"/ml/capstan/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ml/capstan/")
    assert "path=/ml/capstan/" in answer.headers["set-cookie"].lower()
    page = client.get("/ml/capstan/systems/machine/flights/").text
    assert f'src="../../../static/{VERSION}/main.js"' in page
    kept = client.get(f"/ml/capstan/static/{VERSION}/main.js").headers["cache-control"]
    assert "immutable" in kept
    assert client.get("/ml/capstan/static/main.js").status_code == 200
    assert client.get("/ml/capstan/systems/machine/flights/api/state").status_code == 200


def test_a_system_that_is_not_here_is_not_found(unchanged: TestClient) -> None:
    assert unchanged.get("/systems/machine/other/api/state", headers=OWN).status_code in (404, 503)
    assert unchanged.get("/systems/other/flights/api/state", headers=OWN).status_code in (404, 503)


def test_the_list_tells_the_verdict_under_way_and_afterwards_what_became_of_the_challenger(
    scene: flights.Scene, client: TestClient
) -> None:
    [line] = client.get("/api/systems", headers=OWN).json()["systems"]
    assert ": " in line["verdict"]
    client.post("/api/actions", json={"verb": "abort", "reason": "enough"}, headers=OWN)
    for _ in range(3):
        scene.world.settle()
    [line] = client.get("/api/systems", headers=OWN).json()["systems"]
    assert (line["verdict"], line["verdict_tone"]) == ("v4 rolled back", "bad")


def test_the_list_names_what_waits_for_a_person(scene: flights.Scene, client: TestClient) -> None:
    client.post("/api/actions", json=PAUSE, headers=OWN)
    scene.world.settle()
    [line] = client.get("/api/systems", headers=OWN).json()["systems"]
    assert (line["namespace"], line["name"]) == ("machine", "flights")
    assert line["champion"] == "v2"
    assert line["challenger"] == "v4"
    assert line["waits_for_a_person"] == "paused; resume goes on"
