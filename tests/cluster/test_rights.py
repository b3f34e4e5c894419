"""Claims about what an operator's account can learn of the Secrets of its namespaces, made with its own token."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cluster.operating.running import Room, wait_for

from capstan.adapters.kubernetes.client import KubeClient

CONTENT = base64.b64encode(b"postgresql://planes").decode()
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
FOREIGN = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planes-db"}}
WAYS = {
    "get": ("GET", "/planes-db", None, None),
    "list": ("GET", "", None, None),
    "watch": ("GET", "?watch=1&timeoutSeconds=1", None, None),
    "an empty patch": ("PATCH", "/planes-db", {}, MERGE),
    "an empty patch that is only tried": ("PATCH", "/planes-db?dryRun=All", {}, MERGE),
    "an empty apply that is only tried": ("PATCH", "/planes-db?dryRun=All&fieldManager=x", FOREIGN, APPLY),
    "a replacement that is only tried": ("PUT", "/planes-db?dryRun=All", FOREIGN, "application/json"),
    "a deletion that is only tried": (
        "DELETE",
        "/planes-db?dryRun=All&propagationPolicy=Foreground",
        None,
        None,
    ),
    "a deletion of all that is only tried": ("DELETE", "?dryRun=All", None, None),
}


class Account:
    """Raw requests for Secrets of one namespace, by an account's token."""

    def __init__(self, kube: KubeClient, namespace: str, token: str) -> None:
        settings = kube.configuration
        self._http = httpx.Client(
            base_url=f"{settings.host}/api/v1/namespaces/{namespace}/secrets",
            headers={"authorization": f"Bearer {token}"},
            verify=settings.ssl_ca_cert or True,
            trust_env=False,
            timeout=20.0,
        )

    def ask(self, way: str) -> httpx.Response:
        method, path, body, kind = WAYS[way]
        headers = {"content-type": kind} if kind is not None else {}
        return self._http.request(method, path, json=body, headers=headers)

    def create(self, name: str) -> httpx.Response:
        return self._http.post("", json={**FOREIGN, "metadata": {"name": name}})

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def room(kube: KubeClient, namespace: str, tmp_path: Path) -> Iterator[Room]:
    room = Room(kube, namespace, tmp_path)
    kube.create(
        {**FOREIGN, "metadata": {"name": "planes-db", "namespace": namespace}, "data": {"url": CONTENT}}
    )
    yield room
    room.close()


@pytest.fixture
def operator(kube: KubeClient, room: Room) -> Iterator[Account]:
    account = Account(kube, room.namespace, room.token)
    yield account
    account.close()


def test_no_way_of_asking_shows_an_operator_a_secret(operator: Account) -> None:
    for way in WAYS:
        answer = operator.ask(way)
        assert answer.status_code == 403, f"{way}: {answer.status_code} {answer.text[:300]}"
        assert CONTENT not in answer.text, way


def test_a_name_that_is_taken_tells_an_operator_nothing_but_that(operator: Account) -> None:
    answer = operator.create("planes-db")
    assert (answer.status_code, answer.json()["reason"]) == (409, "AlreadyExists")
    assert CONTENT not in answer.text
    assert operator.create("one-of-its-own").status_code == 201


READING = {"patch": "an empty patch that is only tried", "delete": "a deletion that is only tried"}


@pytest.mark.parametrize(("verb", "way"), READING.items(), ids=READING.keys())
def test_whoever_may_patch_or_delete_secrets_reads_them(
    kube: KubeClient, room: Room, operator: Account, verb: str, way: str
) -> None:
    """Why operators are given neither verb: with it alone, and no right to get, all of it is answered."""
    room.allow("", "secrets", [verb])
    wait_for(f"it may {verb}", lambda: operator.ask(way).status_code == 200, 10)
    assert operator.ask(way).json()["data"] == {"url": CONTENT}
    assert operator.ask("get").status_code == 403
    assert kube.get("Secret", "planes-db", room.namespace) is not None, "nothing was changed"
