"""The router of Seldon graphs, run by the real `seldon-core-microservice`: it routes, learns and remembers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from capstan.adapters.seldon.router import RouterPods
from capstan.cluster.objects.routed_graph import parameters_of
from capstan.domain.drawn_shares import read_shares
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import Outcome
from capstan.domain.traffic import ArmRewards
from capstan.domain.verdicts.bandits import BanditRule, Rewards, shares_of
from capstan.domain.verdicts.experiments import Better
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError

PROJECT = Path(__file__).parents[2] / "platform/images/bandit-router"
UNIT = "router"
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def environment() -> Path:
    """The router's own environment; made out of its lock file once, and kept below ~/.cache."""
    made = subprocess.run([PROJECT / "environment"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def running(environment: Path, folder: Path, **parameters: object) -> Iterator[httpx.Client]:
    """The component as Seldon runs it, with an HTTP client for it."""
    http, grpc, metrics = free_ports(3)
    given = {"state": str(folder / "bandit.db"), "salt": "test", **parameters}
    kinds = {bool: "BOOL", int: "INT", float: "FLOAT", str: "STRING"}
    listed = [
        {"name": name, "value": str(value), "type": kinds[type(value)]} for name, value in given.items()
    ]
    command = [
        environment / "bin/seldon-core-microservice",
        "capstan_bandit_router.router.BanditRouter",
        "--service-type=ROUTER",
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        f"--parameters={json.dumps(listed)}",
    ]
    log = folder / "log"
    with log.open("a") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            # Its packages are not compiled. With their bytecode kept, every start but the first takes a third.
            env={**os.environ, "PREDICTIVE_UNIT_ID": UNIT, "PYTHONDONTWRITEBYTECODE": ""},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=10) as client:
            _wait_for(client, process, log)
            yield client
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        with suppress(httpx.TransportError):
            if client.get("/health/ping").status_code == 200:
                return
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"did not start:\n{log.read_text()}")


def route(client: httpx.Client, request: str) -> dict[str, Any]:
    body = {"meta": {"puid": request}, "data": {"ndarray": [[1.0]]}}
    answer = client.post("/route", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def arm_of(answer: dict[str, Any]) -> int:
    return int(answer["data"]["ndarray"][0][0])


def reward(client: httpx.Client, request: str, arm: int, value: float) -> httpx.Response:
    response = {"meta": {"puid": request, "routing": {UNIT: arm}}}
    return client.post(
        "/send-feedback",
        json={"request": {"data": {"ndarray": [[1.0]]}}, "response": response, "reward": value},
    )


def shares(client: httpx.Client, prefix: str, count: int) -> list[float]:
    arms = [arm_of(route(client, f"{prefix}{number}")) for number in range(count)]
    return [arms.count(arm) / count for arm in (0, 1)]


def test_the_router_learns_which_child_earns_more_and_knows_it_after_a_restart(
    environment: Path, tmp_path: Path
) -> None:
    with running(environment, tmp_path, floor=10, least_rewards=20) as client:
        for number in range(100):
            answer = route(client, f"r{number}")
            assert answer["meta"]["tags"]["bandit_share"] == 50 or number >= 40
            arm = arm_of(answer)
            # Every second request to child 1 is rewarded, every tenth to child 0.
            value = float(number % (2 if arm == 1 else 10) == 0)
            assert reward(client, f"r{number}", arm, value).json()["meta"]["tags"]["counted"] is True
        learned = shares(client, "after", 40)
        assert learned[1] > 0.75
        again = reward(client, "r0", arm_of(route(client, "r0")), 1.0)
        assert again.json()["meta"]["tags"]["counted"] is False
        tags = route(client, "one")["meta"]["tags"]

    with running(environment, tmp_path, floor=10, least_rewards=20) as client:
        assert route(client, "one")["meta"]["tags"] == tags
        assert shares(client, "after", 40) == learned
        assert reward(client, "r0", 1, 1.0).json()["meta"]["tags"]["counted"] is False


class Pods:
    """The API server's list of the router's pods."""

    def __init__(self, *names: str, phase: str = "Running") -> None:
        self.pods: list[dict[str, Any]] = [
            {
                "metadata": {"name": name},
                "status": {
                    "phase": phase,
                    "podIP": "127.0.0.1",
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }
            for name in names
        ]

    def list(self, *_: object, **__: object) -> list[Any]:
        return self.pods


def test_the_loop_tells_each_pod_the_rewards_and_sees_whether_it_knows_them(
    environment: Path, tmp_path: Path
) -> None:
    rewards = (
        ArmRewards(VersionName("v1"), 100, 10_000_000, 10_000_000),
        ArmRewards(VersionName("v2"), 90, 45_500_001, 45_500_001),
        ArmRewards(VersionName("v3"), 70, 1_000_000, 1_000_000),
    )
    token = tmp_path / "token"
    token.write_text("secret")
    step = BanditStep(
        Outcome("clicks", Better.HIGHER, timedelta(hours=1), timedelta(0), is_loss=False, is_share=True),
        BanditRule(floor=7, is_binary=True),
        by_request=True,
    )
    written = parameters_of(step, [one.version for one in rewards], "shop")
    types = {"BOOL": lambda text: text == "True", "INT": int, "FLOAT": float, "STRING": str}
    options = {one["name"]: types[one["type"]](one["value"]) for one in written}
    options |= {"state": str(tmp_path / "bandit.db"), "token_file": str(token)}
    with running(environment, tmp_path, **options) as client, httpx.Client() as http:

        def pods(kube: Pods, token: str = "secret") -> RouterPods:
            port = client.base_url.port
            assert port is not None
            return RouterPods(kube, http, namespace="n", labels={}, port=port, token=token)  # type: ignore[arg-type]

        assert not pods(Pods()).knows(rewards)
        assert not pods(Pods("a")).knows(rewards)
        # It knows no rewards yet.
        untold = infer(client, "r", {"inputs": []})["parameters"]
        assert (untold["capstan_arm"], untold["capstan_shares"]) == ("v1", "v1=100 v2=0 v3=0")
        pods(Pods("a")).tell(rewards)
        assert pods(Pods("a")).knows(rewards)
        assert not pods(Pods("a")).knows(rewards[::-1][:2])
        shares = infer(client, "r", {"inputs": []})["parameters"]["capstan_shares"]
        expected = shares_of(
            step.shares,
            {one.version: Rewards(one.count, one.total / 1e6, one.squares / 1e6) for one in rewards},
        )
        assert read_shares(shares) == expected
        # One pod that is away keeps nothing from the others.
        listed = Pods("0-away", "a", "c-away")
        for pod in (listed.pods[0], listed.pods[2]):
            pod["status"]["podIP"] = "255.255.255.255"
        with pytest.raises(UnavailableError, match="pod c-away"):
            pods(listed).tell(rewards)
        assert pods(Pods("a")).knows(rewards)
        with pytest.raises(UnavailableError, match=r"pod a: .*401"):
            pods(Pods("a"), token="guessed").tell(rewards)
        away = RouterPods(Pods("a"), http, namespace="n", labels={}, port=free_ports(1)[0], token="")  # type: ignore[arg-type]
        with pytest.raises(UnavailableError, match="the router of Seldon's graph"):
            away.knows(rewards)


def test_rewards_that_say_nothing_are_refused_and_change_nothing(environment: Path, tmp_path: Path) -> None:
    with running(environment, tmp_path, policy="UCB1", least_rewards=1, floor=5) as client:
        assert reward(client, "a", 0, 0.5).status_code >= 400
        assert reward(client, "b", 7, 1.0).status_code >= 400
        assert "no child of this router" in reward(client, "b", 7, 1.0).text
        assert route(client, "c")["meta"]["tags"]["bandit_share"] == 50
        # One good and one bad reward: UCB1 prefers the good child, and the other keeps its floor.
        assert reward(client, "d", 1, 1.0).status_code == 200
        assert reward(client, "e", 0, 0.0).status_code == 200
        answers = [route(client, f"f{number}") for number in range(40)]
        assert {arm_of(one): one["meta"]["tags"]["bandit_share"] for one in answers}[1] == 95


def infer(client: httpx.Client, request: str, document: dict[str, Any]) -> dict[str, Any]:
    """What Seldon's executor makes of the root of a graph by protocol v2: it transforms, then it asks for the route."""
    headers = {"Seldon-Puid": request}
    made = client.post("/v2/models/flights/infer", json=document, headers=headers)
    assert made.status_code == 200, made.text
    child = client.post("/v2/models/flights/route", content=made.content, headers=headers)
    found: dict[str, Any] = made.json()
    assert child.json() == [["v1", "v2", "v3"].index(found["parameters"]["capstan_arm"])]
    return found


def test_by_protocol_v2_the_child_is_told_which_arm_it_is_and_by_which_shares(
    environment: Path, tmp_path: Path
) -> None:
    sent = {
        "id": "case-7",
        "parameters": {"mine": 1, "capstan_arm": "v9"},
        "inputs": [{"name": "n", "shape": [1], "datatype": "INT64", "data": [9007199254740993]}],
    }
    with running(environment, tmp_path, arms="v1,v2,v3") as client:
        made = infer(client, "r1", sent)
        assert made["inputs"] == sent["inputs"]
        assert made["id"] == "case-7"
        assert made["parameters"]["mine"] == 1
        assert made["parameters"]["capstan_arm"] in ("v1", "v2", "v3")
        assert made["parameters"]["capstan_shares"] == "v1=34 v2=33 v3=33"
        assert infer(client, "r1", sent) == made
        refused = client.post("/v2/models/flights/infer", content=b"[")
        assert refused.status_code == 400
        assert "JSON object" in refused.json()["error"]


def test_rewards_that_a_loop_tells_move_shares_and_outlive_a_restart(
    environment: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    told = {"arms": {"v1": [100, 10, 10], "v2": [100, 90, 90], "v3": [100, 50, 50]}, "closed": []}
    allowed = {"Authorization": "Bearer secret"}
    options = {"arms": "v1,v2,v3", "token_file": str(token), "floor": 5}
    with running(environment, tmp_path, **options) as client:
        assert client.put("/rewards", json=told).status_code == 401
        assert client.get("/rewards", headers=allowed).json() is None
        wrong = client.put("/rewards", json={"arms": {"v1": [1, 2, 3]}}, headers=allowed)
        assert wrong.status_code == 422
        assert "arms.v2" in wrong.json()["error"]
        assert client.put("/rewards", json=told, headers=allowed).status_code == 200
        assert infer(client, "r1", {"inputs": []})["parameters"]["capstan_shares"] == "v1=5 v2=90 v3=5"
        gauges = {
            (one.name, one.labels["arm"]): one.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for one in family.samples
        }
        assert gauges["capstan_bandit_share_percent", "v2"] == 90
        assert gauges["capstan_bandit_rewards", "v1"] == 100
        assert gauges["capstan_bandit_mean", "v3"] == 0.5
    with running(environment, tmp_path, **options) as client:
        assert client.get("/rewards", headers=allowed).json() == told
        closed = {**told, "closed": ["v2"]}
        assert client.put("/rewards", json=closed, headers=allowed).status_code == 200
        made = [infer(client, f"r{number}", {"inputs": []})["parameters"] for number in range(20)]
        assert {one["capstan_shares"] for one in made} == {"v1=5 v2=0 v3=95"}
        assert {one["capstan_arm"] for one in made} <= {"v1", "v3"}
