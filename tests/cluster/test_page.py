"""The page in a cluster, in a real browser: who sees what, an approval by a click, the walk from alert to promotion."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser.conftest import FLAGS, chromium
from cluster.charts import installed
from cluster.operating.running import SPEC, SYSTEM, Room, wait_for
from cluster.paging.opening import PAGE, REACH, deploy, opened, wait_until_ready
from cluster.paging.running import ACCOUNT, EDIT, VIEW, Front, Pages
from playwright.sync_api import Browser, Page, expect, sync_playwright

from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.watching.watches import SERVER_SECONDS
from capstan.errors import NotAllowedError
from capstan_page.reviews import YES_SECONDS

pytestmark = pytest.mark.timeout(500)
OWN = {"x-capstan-page": "1"}
CALLS = "capstan_page_api_calls_total"


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


def test_the_command_signs_a_browser_in_by_an_address_that_holds_once_and_takes_its_way_along(
    kube: KubeClient, pages: Pages, browser: Browser, tmp_path: Path
) -> None:
    apply(kube, pages.home, SYSTEM)
    apply(kube, pages.namespaces[1], "not-hers")
    deploy(pages.home, tmp_path)
    here = ("--namespace", pages.home, "--page-namespace", pages.home)
    ann = pages.person("ann", {pages.home: [*VIEW, *REACH]})

    # Of somebody who may ask for the account's token; the address is printed.
    with opened(*here, "--account", "ann", "--no-browser") as command:
        printed = command.line(r"^(http://127\.0\.0\.1:\d+/#code=\S+)$")
        address = command.line(r"^page (\S+), until Ctrl-C$")
        assert ann not in printed
        page = browser.new_context().new_page()
        page.goto(printed)
        expect(page.locator("#systems tbody tr")).to_have_count(1)
        expect(page.locator(f"[data-system='{pages.home}/{SYSTEM}']")).to_be_visible()
        assert page.url == f"{address}/"
        [cookie] = page.context.cookies()
        assert (cookie["name"], cookie["httpOnly"]) == ("capstan-session", True)

        late = browser.new_context().new_page()
        late.goto(printed)
        expect(late.locator("#refused")).to_contain_text("this code was used or is older than a minute")
        assert late.url == f"{address}/"

        [way] = command.children
        assert command.end(signal.SIGINT) == 0
        assert has_ended(way)
        assert not answers(address)

    # As herself, with no more than her own rights; the address goes to the browser that BROWSER names.
    given, program = tmp_path / "given", tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > {given}.new && mv {given}.new {given}\n')
    program.chmod(0o755)
    own = {**os.environ, "KUBECONFIG": str(pages.kubeconfig("ann", ann)), "BROWSER": f"{program} %s"}
    with opened(*here, environment=own) as command:
        address = command.line(r"^page (\S+), until Ctrl-C$")
        page = browser.new_context().new_page()
        page.goto(wait_for("the browser is told", lambda: given.exists() and given.read_text().strip(), 20))
        page.get_by_role("link", name=SYSTEM).click()
        expect(page.locator("#head h1")).to_have_text(SYSTEM)

        # The pod goes; the way leads to the next one, at the same address, and the session goes on.
        [pod] = kube.list("Pod", pages.home, labels=PAGE)
        name = pod["metadata"]["name"]
        installed.kubectl("delete", "pod", name, "-n", pages.home, "--grace-period=0", "--force")
        wait_until_ready(pages.home)
        change = {"spec": {"objective": {**SPEC["objective"], "business": "Fewer people wait"}}}
        kube.patch("MLSystem", SYSTEM, pages.home, change)
        expect(page.locator("#head")).to_contain_text("Fewer people wait", timeout=60_000)
        expect(page.locator("#banner")).to_be_hidden()
        wait_for("there is a way", lambda: command.children, 20)
        ways = command.children
        command.end(signal.SIGHUP)
        assert all(map(has_ended, ways))
        assert not answers(address)


def test_the_command_says_in_a_sentence_which_right_is_missing(kube: KubeClient, pages: Pages) -> None:
    bob = pages.person("bob", {})
    own = {**os.environ, "KUBECONFIG": str(pages.kubeconfig("bob", bob))}

    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "capstan", "open", "--context", ".", "--no-browser"]
        place = ("--namespace", pages.home, "--page-namespace", pages.home)
        done = subprocess.run(
            [*command, *place, *arguments], env=own, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert done.stderr.startswith("error ")
        return " ".join(done.stderr.split())

    assert "create pods/portforward" in said()
    assert "serviceaccounts/token" in said("--account", "ann")


def test_open_pages_cost_the_api_server_one_watch_per_kind_and_no_other_call(
    kube: KubeClient, pages: Pages
) -> None:
    names = [f"{SYSTEM}-{number}" for number in range(6)]
    for name in names:
        apply(kube, pages.home, name)
    began = time.monotonic()
    replica = pages.start()
    eve = pages.person("eve", {pages.home: VIEW})

    def calls() -> dict[str, float]:
        """By verb and resource."""
        found = {name: n for name, n in replica.metrics().items() if name.startswith(CALLS)}
        return {
            " ".join(re.findall(r'(?:resource|verb)="(\w+)"', name)[::-1]): n for name, n in found.items()
        }

    before = calls()
    with contextlib.ExitStack() as streams:
        client = httpx.Client(headers={"authorization": f"Bearer {eve}"}, trust_env=False, timeout=30.0)
        streams.enter_context(client)
        for number in range(12):
            address = f"http://127.0.0.1:{replica.port}/systems/{pages.home}/{names[number % 6]}/"
            assert client.get(address).status_code == 200
            answer = streams.enter_context(client.stream("GET", f"{address}api/stream"))
            assert answer.status_code == 200
            assert "event: snapshot" in answer.iter_lines()
        time.sleep(10.0)
        after, seconds = calls(), time.monotonic() - began
    print(f"in {seconds:.0f} s: {after}")
    # Each is opened anew every 25 s or more, in each of the two namespaces.
    watches = {what: n for what, n in after.items() if what.startswith("WATCH ")}
    assert {"WATCH mlsystems", "WATCH pods", "WATCH configmaps"} <= watches.keys()
    assert all(n <= 2 * (1 + seconds // SERVER_SECONDS) for n in watches.values())
    others = {what: n - before.get(what, 0) for what, n in after.items() if what not in watches}
    # Whether Seldon is installed is looked up once a minute at most.
    assert others.pop("GET seldondeployments", 0) <= 1 + seconds // 60
    assert not any(others.values())
    metrics = replica.metrics()
    assert metrics["capstan_page_opened_total"] == 12
    assert metrics['capstan_page_objects{kind="MLSystem"}'] == 6
    assert metrics['capstan_page_reviews_total{kind="TokenReview"}'] == 1


def has_ended(pid: int) -> bool:
    """Whether the process is gone."""
    return not Path(f"/proc/{pid}").exists()


def answers(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(port))) == 0
