"""Claims about reviews: asked once, trusted for half a minute and not longer, never invented."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from capstan.dashboard.access import Deed, Viewer
from capstan.errors import UnavailableError
from capstan_page.reviews import NO_SECONDS, YES_SECONDS, Reviews

ANN = Viewer("ann", ("team-a",), "uid-ann", (("scopes", ("x",)),), token="t")


class ApiServer:
    """Knows tokens and who may do what where; None stands for everywhere."""

    def __init__(self) -> None:
        self.people = {"token-of-ann": {"username": "ann", "uid": "uid-ann", "groups": ["team-a"]}}
        self.rights: set[tuple[str, str, str]] = {("ann", "list", "shop")}
        self.asked: list[dict[str, Any]] = []
        self.is_away = False
        self.now = 0.0

    def create(self, document: dict[str, Any]) -> dict[str, Any]:
        if self.is_away:
            raise UnavailableError("Kubernetes", "does not answer")
        self.asked.append(document)
        spec = document["spec"]
        if document["kind"] == "TokenReview":
            user = self.people.get(spec["token"])
            return {"status": {"authenticated": user is not None, "user": user or {}}}
        found = spec["resourceAttributes"]
        return {"status": {"allowed": (spec["user"], found["verb"], found["namespace"]) in self.rights}}


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def reviews(server: ApiServer) -> Reviews:
    return Reviews(server.create, clock=lambda: server.now)


def test_a_token_has_a_person_or_nobody(reviews: Reviews) -> None:
    found = asyncio.run(reviews.person("token-of-ann"))
    assert found == Viewer("ann", ("team-a",), "uid-ann", (), token="token-of-ann")
    assert asyncio.run(reviews.person("made up")) is None


def test_a_right_is_asked_with_all_that_is_known_of_the_person(server: ApiServer, reviews: Reviews) -> None:
    assert asyncio.run(reviews.may(ANN, "shop", Deed.SEE))
    spec = server.asked[-1]["spec"]
    assert (spec["user"], spec["groups"], spec["uid"], spec["extra"]) == (
        "ann",
        ["team-a"],
        "uid-ann",
        {"scopes": ["x"]},
    )
    assert spec["resourceAttributes"] == {
        "namespace": "shop",
        "verb": "list",
        "group": "capstan.dev",
        "resource": "mlsystems",
    }
    assert not asyncio.run(reviews.may(ANN, "shop", Deed.ORDER))
    assert server.asked[-1]["spec"]["resourceAttributes"]["subresource"] == "status"
    assert not asyncio.run(reviews.may(ANN, "bank", Deed.SEE))


def test_who_may_everywhere_is_asked_about_once(server: ApiServer, reviews: Reviews) -> None:
    server.rights.add(("ann", "list", ""))

    async def ask() -> list[bool]:
        return [await reviews.may(ANN, f"n{number}", Deed.SEE) for number in range(50)]

    assert all(asyncio.run(ask()))
    assert len(server.asked) == 1


def test_fifty_who_ask_at_once_cost_one_call(server: ApiServer, reviews: Reviews) -> None:
    async def ask() -> None:
        await asyncio.gather(*(reviews.person("token-of-ann") for _ in range(50)))

    asyncio.run(ask())
    assert reviews.calls["TokenReview"] == 1


def test_a_yes_is_not_trusted_beyond_its_time(server: ApiServer, reviews: Reviews) -> None:
    assert asyncio.run(reviews.may(ANN, "shop", Deed.SEE))
    server.rights.clear()
    server.now = YES_SECONDS - 0.1
    assert asyncio.run(reviews.may(ANN, "shop", Deed.SEE))
    server.now = YES_SECONDS
    assert not asyncio.run(reviews.may(ANN, "shop", Deed.SEE))


def test_a_new_right_is_seen_soon(server: ApiServer, reviews: Reviews) -> None:
    assert not asyncio.run(reviews.may(ANN, "bank", Deed.SEE))
    server.rights.add(("ann", "list", "bank"))
    server.now = NO_SECONDS
    assert asyncio.run(reviews.may(ANN, "bank", Deed.SEE))


def test_an_api_server_that_is_away_makes_no_yes(server: ApiServer, reviews: Reviews) -> None:
    assert asyncio.run(reviews.may(ANN, "shop", Deed.SEE))
    server.is_away = True
    server.now = YES_SECONDS
    with pytest.raises(UnavailableError):
        asyncio.run(reviews.may(ANN, "shop", Deed.SEE))
    server.is_away = False
    assert asyncio.run(reviews.may(ANN, "shop", Deed.SEE))
