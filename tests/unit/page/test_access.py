"""Claims about who is let in to the page of a cluster, by which door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient
from unit.page.test_reviews import ApiServer

from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.dashboard.app import create_app
from capstan.dashboard.page import SystemShown
from capstan.dashboard.systems import SystemAddress
from capstan.domain.reasons import Tone
from capstan.domain.versions import RunName
from capstan.errors import InvalidSpecError
from capstan.ports.store import Store
from capstan_page.access import ClusterAccess
from capstan_page.reviews import Reviews
from capstan_page.sessions import Sessions
from capstan_page.settings import PageSettings, Proxy

TOKEN = "token-of-ann"
OWN = {"x-capstan-page": "1"}
PROXY = "10.0.12.7"


class TwoSystems:
    """One in `shop`, one in `bank`."""

    only = None

    def addresses(self) -> Sequence[SystemAddress]:
        return [SystemAddress("bank", "loans"), SystemAddress("shop", "flights")]

    def shown(self, address: SystemAddress) -> SystemShown:
        return SystemShown(
            namespace=address.namespace,
            name=address.name,
            objective="",
            phase="Serving",
            tone=Tone.GOOD,
            message="",
            champion="v1",
            champion_weight=100,
            challenger="",
            challenger_weight=None,
            verdict="",
            verdict_tone=Tone.IDLE,
            drift="",
            alerts=0,
            alert_names=(),
            waits_for_a_person="",
        )

    def view(self, address: SystemAddress) -> Any:
        raise AssertionError("nobody who may not see it looks at it")

    def mark(self, address: SystemAddress) -> object:
        return None

    def store(self, address: SystemAddress) -> Store:
        return KubeStore(MemoryKube(), address.namespace)

    def log(self, address: SystemAddress, run: RunName) -> str:
        return ""


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


def client_of(server: ApiServer, *, peer: str = "127.0.0.1", **options: Any) -> TestClient:
    access = ClusterAccess(
        Reviews(server.create, clock=lambda: server.now),
        Sessions(b"k" * 40, hours=8),
        lambda token, namespace: KubeStore(MemoryKube(), namespace),
        **options,
    )
    app = create_app(TwoSystems(), access)
    return TestClient(app, base_url="http://localhost", follow_redirects=False, client=(peer, 4000))


def names(client: TestClient, **headers: str) -> list[str] | int:
    answer = client.get("/api/systems", headers=headers)
    return (
        [line["name"] for line in answer.json()["systems"]]
        if answer.status_code == 200
        else answer.status_code
    )


def test_nobody_gets_in_without_a_token_and_is_told_how(server: ApiServer) -> None:
    client = client_of(server)
    answer = client.get("/")
    assert answer.status_code == 401
    assert "Kubernetes token" in answer.text
    assert names(client) == 401
    assert names(client, authorization="Bearer made-up") == 401


def test_a_person_sees_the_systems_of_their_namespaces_and_no_other(server: ApiServer) -> None:
    client = client_of(server)
    assert names(client, authorization=f"Bearer {TOKEN}") == ["flights"]
    answer = client.get("/systems/bank/loans/api/state", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 403
    assert "it takes the right to list MLSystems, which the role view gives" in answer.json()["reason"]
    none = client.get("/systems/bank/nothing/api/state", headers={"authorization": f"Bearer {TOKEN}"})
    assert none.json() == answer.json()


def test_signing_in_leaves_a_sealed_cookie_and_signing_out_takes_it(server: ApiServer) -> None:
    client = client_of(server)
    assert client.post("/api/session", json={"token": TOKEN}).status_code == 403
    answer = client.post("/api/session", json={"token": f" {TOKEN}\n"}, headers=OWN)
    assert answer.json() == {"name": "ann"}
    cookie = answer.headers["set-cookie"].lower()
    for word in ("httponly", "samesite=strict", "path=/"):
        assert word in cookie
    assert TOKEN not in cookie
    assert names(client) == ["flights"]
    client.delete("/api/session", headers=OWN)
    assert names(client) == 401


def test_under_tls_the_cookie_is_for_tls_alone(server: ApiServer) -> None:
    headers = {**OWN, "x-forwarded-proto": "https"}
    answer = client_of(server).post("/api/session", json={"token": TOKEN}, headers=headers)
    assert "; secure" in answer.headers["set-cookie"].lower()


def test_a_long_token_is_kept_in_several_cookies(server: ApiServer) -> None:
    long = "x" * 9000
    server.people[long] = server.people[TOKEN]
    client = client_of(server)
    answer = client.post("/api/session", json={"token": long}, headers=OWN)
    assert len(answer.headers.get_list("set-cookie")) == 4
    assert all(len(cookie) < 4000 for cookie in answer.headers.get_list("set-cookie"))
    assert names(client) == ["flights"]


def test_a_session_ends_with_the_token(server: ApiServer) -> None:
    client = client_of(server)
    client.post("/api/session", json={"token": TOKEN}, headers=OWN)
    del server.people[TOKEN]
    server.now = 31.0
    assert names(client) == 401


def test_a_code_stands_for_the_token_once(server: ApiServer) -> None:
    client = client_of(server)
    assert client.post("/api/session/code").status_code == 401
    code = client.post("/api/session/code", headers={"authorization": f"Bearer {TOKEN}"}).json()["code"]
    assert client.post("/api/session", json={"code": code}, headers=OWN).json() == {"name": "ann"}
    again = client.post("/api/session", json={"code": code}, headers=OWN)
    assert again.status_code == 401
    assert "capstan open" in again.json()["reason"]


@pytest.mark.parametrize(
    ("peer", "addresses", "headers", "seen"),
    [
        (PROXY, ("10.0.12.0/24",), {"x-forwarded-user": "ann"}, ["flights"]),
        ("10.0.13.7", ("10.0.12.0/24",), {"x-forwarded-user": "ann"}, 401),
        ("127.0.0.1", ("10.0.12.0/24",), {"x-forwarded-user": "ann"}, 401),
        (PROXY, (), {"x-forwarded-user": "ann"}, 401),
        (PROXY, ("10.0.12.0/24",), {}, 401),
        (PROXY, ("10.0.12.0/24",), {"x-forwarded-user": "system:admin"}, 401),
        (
            PROXY,
            ("10.0.12.0/24",),
            {"x-forwarded-user": "ann", "x-forwarded-groups": "a,system:masters"},
            401,
        ),
        ("10.0.13.7", ("10.0.12.0/24",), {"x-forwarded-user": "ann", "x-forwarded-for": PROXY}, 401),
    ],
    ids=[
        "proxy",
        "elsewhere",
        "port-forward",
        "off",
        "nobody",
        "system user",
        "system group",
        "forged address",
    ],
)
def test_a_name_in_a_header_is_believed_of_the_proxy_alone(
    server: ApiServer, peer: str, addresses: tuple[str, ...], headers: dict[str, str], seen: object
) -> None:
    client = client_of(server, peer=peer, proxy=Proxy(addresses=addresses))
    assert names(client, **headers) == seen


def test_who_comes_by_a_name_alone_can_order_nothing(server: ApiServer) -> None:
    client = client_of(server, peer=PROXY, proxy=Proxy(addresses=("10.0.12.0/24",)))
    server.rights.add(("ann", "update", "shop"))
    answer = client.get("/systems/shop/flights/api/may", headers={"x-forwarded-user": "ann"})
    assert "no Kubernetes token" in answer.json()["order"]


@pytest.mark.parametrize("address", ["127.0.0.0/8", "::1/128", "0.0.0.0/0", "nonsense"])
def test_a_proxy_that_would_be_everybody_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="addresses"):
        PageSettings.model_validate({"proxy": {"addresses": [address]}})


def test_foreign_hosts_are_refused_where_hosts_are_named(server: ApiServer) -> None:
    client = client_of(server, hosts=("ml.example.com",))
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/", headers={"host": "ml.example.com"}).status_code == 401
    assert client.get("/", headers={"host": "localhost:8089"}).status_code == 401


def test_an_api_server_that_is_away_is_said_and_lets_nobody_in(server: ApiServer) -> None:
    server.is_away = True
    answer = client_of(server).get("/api/systems", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["reason"]


def test_settings_with_a_mistake_name_the_field(tmp_path: Any) -> None:
    from capstan_page.settings import read_page_settings

    file = tmp_path / "page.json"
    file.write_text('{"prefix": "capstan/", "session_hours": 200}')
    with pytest.raises(InvalidSpecError, match=r"prefix.*\n?.*session_hours"):
        read_page_settings(file)
