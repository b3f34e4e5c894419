"""The page in a cluster, in a real browser: who sees what, an approval by a click, the walk from alert to promotion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser.conftest import FLAGS, chromium
from cluster.operating.running import SPEC, SYSTEM, Room, wait_for
from cluster.paging.running import ACCOUNT, EDIT, VIEW, Front, Pages
from playwright.sync_api import Browser, Page, expect, sync_playwright

from capstan.adapters.kubernetes.client import KubeClient
from capstan.errors import NotAllowedError
from capstan_page.reviews import YES_SECONDS

pytestmark = pytest.mark.timeout(500)
OWN = {"x-capstan-page": "1"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def room(kube: KubeClient, namespace: str, tmp_path: Path) -> Iterator[Room]:
    room = Room(kube, namespace, tmp_path)
    yield room
    for operator in room.operators:
        print(f"--- {operator.log.name}\n{operator.log.read_text()[-3000:]}")
    room.close()


@pytest.fixture
def pages(
    kube: KubeClient, namespace: str, new_namespace: Callable[[], str], tmp_path: Path
) -> Iterator[Pages]:
    pages = Pages(kube, (namespace, new_namespace()), tmp_path)
    yield pages
    for page in pages.replicas:
        print(f"--- {page.log.name}\n{page.log.read_text()[-3000:]}")
    pages.close()


def sign_in(browser: Browser, port: int, token: str) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    page.locator("#token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    return page


def apply(kube: KubeClient, namespace: str, name: str, **changes: Any) -> None:
    kube.apply(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**SPEC, **changes},
        },
        manager="a-person",
    )


def test_a_person_approves_by_a_click_and_walks_from_the_alert_to_the_promotion(
    room: Room, pages: Pages, browser: Browser
) -> None:
    other = pages.namespaces[1]
    apply(room.kube, other, "not-hers")
    room.lead()
    room.apply(retraining={**SPEC["retraining"], "approval": "Required"})
    wait_for("v1 serves", lambda: room.status.get("phase") == "Serving", 90)
    room.world.fire("v1", "one")
    first, second = pages.start(), pages.start()
    front = Front("127.0.0.1", first.port)
    ann = pages.person("ann", {room.namespace: EDIT})

    # The list: hers, and no other; what waits for a person stands in it.
    page = sign_in(browser, front.port, ann)
    row = page.locator(f"[data-system='{room.namespace}/{SYSTEM}']")
    expect(row.locator("[data-name=waits]")).to_contain_text("a training waits for approval", timeout=60_000)
    expect(row.locator("[data-name=champion]")).to_contain_text("v1")
    expect(page.locator("#systems tbody tr")).to_have_count(1)
    cookies = page.context.cookies()
    assert [cookie["name"] for cookie in cookies] == ["capstan-session"]
    assert cookies[0]["httpOnly"]
    assert cookies[0]["sameSite"] == "Strict"
    assert ann not in cookies[0]["value"]
    assert "token" not in page.url

    # Its page; parts that do not answer are away and take nothing else along.
    row.get_by_role("link", name=SYSTEM).click()
    expect(page.locator("#head .parts .away")).not_to_have_count(0)
    expect(page.locator("#versions, #rollout").first).to_be_visible()
    expect(page.locator("#story")).to_contain_text("it drifts")

    # A replica dies under the open page; the browser goes on with the other, still signed in.
    first.kill()
    front.turn(second.port)
    expect(page.locator("#banner")).to_be_visible(timeout=10_000)
    expect(page.locator("#banner")).to_be_hidden(timeout=20_000)

    page.locator("[data-verb=approve]").click()
    page.locator("dialog textarea").fill("the new airports are real")
    page.locator("dialog").get_by_role("button", name="Approve").click()
    expect(page.locator("dialog")).to_have_count(0)
    who = f"system:serviceaccount:{room.namespace}:ann"
    expect(page.locator("#story")).to_contain_text(
        f"{who} approved the next training: the new airports are real", timeout=30_000
    )
    wait_for("the run starts", lambda: len(room.kube.list("TrainingRun", room.namespace)) == 2, 60)
    wait_for("v2 is the champion", lambda: room.champion == "v2", 150)
    expect(page.locator("#story")).to_contain_text("Promoted", timeout=20_000)

    # From the alert to the promotion that it caused.
    page.locator("#alerts button", has_text="Drift detected").first.click()
    chain = page.locator(".chain")
    expect(chain).to_contain_text("v2")
    expect(chain).to_contain_text("Promoted")
    front.close()


def test_a_person_without_rights_gets_a_sentence_and_sees_no_system(
    kube: KubeClient, pages: Pages, browser: Browser
) -> None:
    apply(kube, pages.home, "secret-system")
    replica = pages.start()
    bob = pages.person("bob", {})
    page = sign_in(browser, replica.port, bob)
    expect(page.locator("#systems")).to_contain_text("You may see no system here")
    assert "secret-system" not in page.content()
    page.goto(f"http://127.0.0.1:{replica.port}/systems/{pages.home}/secret-system/")
    expect(page.locator("#banner")).to_contain_text("may not see in namespace")
    address = f"http://127.0.0.1:{replica.port}/systems/{pages.home}/secret-system/api"
    with httpx.Client(headers={"authorization": f"Bearer {bob}", **OWN}, trust_env=False) as client:
        for path in ("state", "events", "stream", "log?run=x", "may"):
            answer = client.get(f"{address}/{path}")
            assert answer.status_code == 403, path
            assert "the role view gives" in answer.json()["reason"]
        order = {"verb": "pause", "reason": "why not"}
        assert client.post(f"{address}/actions", json=order).status_code == 403


def test_who_may_only_look_sees_why_nothing_can_be_ordered(
    kube: KubeClient, pages: Pages, browser: Browser
) -> None:
    apply(kube, pages.home, SYSTEM)
    replica = pages.start()
    eve = pages.person("eve", {pages.home: VIEW})
    page = sign_in(browser, replica.port, eve)
    page.get_by_role("link", name=SYSTEM).click()
    page.locator("[data-verb=pause]").click(force=True)
    expect(page.locator("dialog")).to_contain_text("update mlsystems/status, which the role edit gives")
    address = f"http://127.0.0.1:{replica.port}/systems/{pages.home}/{SYSTEM}/api/actions"
    answer = httpx.post(
        address,
        json={"verb": "pause", "reason": "why not"},
        headers={"authorization": f"Bearer {eve}", **OWN},
        trust_env=False,
    )
    assert answer.status_code == 403
    live = kube.get("MLSystem", SYSTEM, pages.home)
    assert live is not None
    assert "memory" not in live.get("status", {})


def test_a_right_that_is_taken_away_ends_an_open_page_and_no_yes_outlives_its_time(
    kube: KubeClient, pages: Pages, browser: Browser
) -> None:
    apply(kube, pages.home, SYSTEM)
    replica = pages.start()
    eve = pages.person("eve", {pages.home: VIEW})
    page = sign_in(browser, replica.port, eve)
    page.get_by_role("link", name=SYSTEM).click()
    expect(page.locator("#head h1")).to_have_text(SYSTEM)
    pages.revoke("eve", pages.home)
    taken = time.monotonic()
    expect(page.locator("#banner")).to_contain_text("may not see", timeout=(YES_SECONDS + 15) * 1000)
    print(f"seen after {time.monotonic() - taken:.1f} s")


def test_the_account_of_the_page_reads_and_reviews_and_nothing_else(kube: KubeClient, pages: Pages) -> None:
    apply(kube, pages.home, SYSTEM)
    own = kube.with_token(pages.token)
    assert own.get("MLSystem", SYSTEM, pages.home) is not None
    change = {"metadata": {"labels": {"a": "b"}}}
    with pytest.raises(NotAllowedError):
        own.patch("MLSystem", SYSTEM, pages.home, change)
    with pytest.raises(NotAllowedError):
        own.patch("MLSystem", SYSTEM, pages.home, {"status": {"phase": "Serving"}}, sub="status")
    for kind in ("Secret", "Node", "ServiceAccount"):
        with pytest.raises(NotAllowedError):
            own.list(kind, pages.home)
    with pytest.raises(NotAllowedError):
        own.request_token(ACCOUNT, pages.home, seconds=600)
