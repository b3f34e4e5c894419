"""Claims about interleaved requests, made with a real Envoy, the real combiner and two tiny rankers."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from contract.envoy_worlds import CONFIG_MAP, HTTP, LABELS, TOKEN, Cluster, Pod
from contract.model_services import EventLoop, Service
from sent_payloads import Record, records

from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.fleet import EnvoyFleet
from capstan.adapters.envoy.gateway import EnvoyGateway
from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor, free_port
from capstan.domain.traffic import Interleaved, TrafficSplit, Weight, champion_only
from capstan.domain.verdicts.interleaving import Method, coins, interleave
from capstan.domain.versions import VersionName
from capstan.errors import NotAllowedError
from capstan.ports.combining import INSTRUCTION_HEADER
from capstan.ports.serving import Endpoint
from capstan.testing.ports.traffic import V1, V2, split
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real

RANKS = {V1: [1, 2, 3, 4, 5], V2: [5, 4, 1, 2, 3]}
"""Of each row of every request."""
INFER = "/v2/models/toy/infer"


class Ranker(Service):
    """Answers each request with the same ranks."""

    ranks: list[int]

    async def predict(self, request: web.Request) -> web.StreamResponse:
        answer = await super().predict(request)
        if self.behaviour in ("refuses", "resets"):
            return answer
        ranks = self.ranks[:-1] if self.behaviour == "forgets" else self.ranks
        scores = [float(-rank) for rank in ranks]
        if request.path.startswith("/v2/"):
            outputs = [
                {"name": "score", "datatype": "FP64", "shape": [len(ranks)], "data": scores},
                {"name": "rank", "datatype": "INT64", "shape": [len(ranks)], "data": ranks},
            ]
            return web.json_response({"model_name": "toy", "model_version": self.name, "outputs": outputs})
        rows = [{"score": score, "rank": rank} for score, rank in zip(scores, ranks, strict=True)]
        return web.json_response(
            {"version": self.name, "predictions": rows}, headers={"x-capstan-version": self.name}
        )


class Kept:
    """A collector that keeps what it is sent."""

    def __init__(self, loop: EventLoop) -> None:
        self.loop = loop
        self.port = free_port()
        self.payloads: list[Record] = []
        self.versions: set[str] = set()
        self.loop.run(self._serve())

    async def _serve(self) -> None:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_post("/{anything:.*}", self._take)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()

    async def _take(self, request: web.Request) -> web.Response:
        sent = await request.read()
        self.payloads += records(sent)
        self.versions |= {block["version"] for block in orjson.loads(sent)}
        return web.json_response({})

    def of(self, request_id: str) -> list[Record]:
        return [payload for payload in self.payloads if payload.request_id == request_id]


class World:
    """Envoy, the combiner, two rankers and a collector."""

    def __init__(self, folder: Path, loop: EventLoop) -> None:
        self.loop = loop
        self.rankers = {name: Ranker(name, loop) for name in (V1, V2)}
        for name, ranker in self.rankers.items():
            ranker.ranks = RANKS[name]
            ranker.start()
        self.kept = Kept(loop)
        self.supervisor = ProcessSupervisor(folder / "processes", folder / "logs")
        self.port = free_port()
        token = folder / "token"
        token.write_text("a-token")
        config = folder / "combiner.json"
        config.write_text(
            json.dumps(
                {
                    "port": self.port,
                    "system": "toy",
                    "collector_url": f"http://127.0.0.1:{self.kept.port}",
                    "token": str(token),
                }
            )
        )
        argv = (sys.executable, "-m", "capstan.serving.combiner.process", "--config", str(config))
        self.supervisor.ensure(
            ProcessSpec("combiner", argv, health_url=f"http://127.0.0.1:{self.port}/v2/health/ready")
        )
        settings = GatewaySettings(
            port=free_port(),
            combiner=Endpoint("127.0.0.1", self.port),
            per_try_timeout_seconds=2.0,
            timeout_seconds=5.0,
        )
        self.gateway = EnvoyGateway(self.supervisor, folder / "envoy", settings, ready_timeout_seconds=10.0)
        self.gateway.start()
        self.supervisor.wait_healthy("combiner")

    @property
    def endpoints(self) -> Mapping[VersionName, Endpoint]:
        return {name: ranker.endpoint for name, ranker in self.rankers.items()}

    def apply(self, wanted: TrafficSplit) -> None:
        self.gateway.apply(wanted, {name: self.endpoints[name] for name in wanted.versions})

    def interleave(self, method: Method = Method.TEAM_DRAFT, percent: int = 100) -> None:
        self.apply(interleaved(method, percent))
        eventually(lambda: self.gateway.healthy().get("combiner", False))

    def ask(self, path: str = "/predict", **headers: str) -> tuple[int, Mapping[str, str], Any]:
        async def asked() -> tuple[int, Mapping[str, str], Any]:
            url = f"{self.gateway.address}{path}"
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=b"{}", headers=headers) as answer,
            ):
                is_json = answer.content_type == "application/json"
                return answer.status, answer.headers, await (answer.json() if is_json else answer.text())

        return self.loop.run(asked())

    def metrics(self) -> str:
        async def asked() -> str:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}/metrics") as answer,
            ):
                return await answer.text()

        return self.loop.run(asked())

    def close(self) -> None:
        self.supervisor.stop_all()
        for ranker in self.rankers.values():
            ranker.stop()
        self.loop.run(self.kept.runner.cleanup())


def interleaved(method: Method = Method.TEAM_DRAFT, percent: int = 100) -> TrafficSplit:
    return TrafficSplit(
        champion_only(V1).arms, salt="r 1%", interleaved=Interleaved(V2, Weight(percent), method)
    )


@pytest.fixture
def world(tmp_path: Path, loop: EventLoop) -> Iterator[World]:
    world = World(tmp_path, loop)
    yield world
    world.close()


@pytest.mark.parametrize("method", Method)
def test_a_split_with_interleaving_is_read_back_step_by_step(world: World, method: Method) -> None:
    for wanted in (
        champion_only(V1),
        interleaved(method, 40),
        interleaved(method, 100),
        split(50, 50, salt="r 1%"),
        interleaved(method, 1),
        champion_only(V2),
    ):
        assert world.gateway.refusal(wanted) is None
        world.apply(wanted)
        assert world.gateway.read_back() == wanted


@pytest.mark.parametrize("path", ["/predict", INFER])
@pytest.mark.parametrize("method", Method)
def test_both_are_asked_and_one_list_is_answered(world: World, path: str, method: Method) -> None:
    world.interleave(method)
    rankings = [sorted(range(5), key=lambda row: RANKS[name][row]) for name in (V1, V2)]
    for _ in range(6):
        status, headers, body = world.ask(path)
        assert (status, headers["x-capstan-version"]) == (200, "v1+v2")
        if path == INFER:
            told = {tensor["name"]: tensor["data"] for tensor in body["outputs"]}
            ranks, scores = told["rank"], told["score"]
        else:
            ranks = [row["rank"] for row in body["predictions"]]
            scores = [row["score"] for row in body["predictions"]]
        made = interleave(method, *rankings, coins("r 1%", headers["x-request-id"]))
        assert [ranks.index(place) for place in range(1, 6)] == list(made.items)
        assert sorted(range(5), key=lambda row: -scores[row]) == list(made.items)


def test_who_gave_what_is_written_down_and_stands_for_no_second_request(world: World) -> None:
    world.interleave()
    _, headers, body = world.ask()
    request_id = headers["x-request-id"]
    eventually(lambda: len(world.kept.of(request_id)) == 5)
    made = interleave(
        Method.TEAM_DRAFT,
        [0, 1, 2, 3, 4],
        [2, 3, 4, 1, 0],
        coins("r 1%", request_id),
    )
    for payload in world.kept.of(request_id):
        row = payload.row
        assert (payload.role, payload.status) == ("shadow", 200)
        place = made.items.index(row)
        assert payload.outputs == {
            "score": body["predictions"][row]["score"],
            "rank": place + 1,
            "team": made.rankers[place],
            "championRank": RANKS[V1][row],
            "challengerRank": RANKS[V2][row],
            "method": "TeamDraft",
            "champion": "v1",
            "challenger": "v2",
        }
    assert world.kept.versions == {"combiner"}
    champion, challenger = (world.rankers[name].seen for name in (V1, V2))
    assert [(seen[":host"], seen["x-capstan-role"]) for seen in champion] == [("capstan", "champion")]
    assert [seen[":host"] for seen in challenger] == ["capstan-shadow"]
    assert {seen["X-Request-ID"] for seen in (*champion, *challenger)} == {request_id}


def test_a_share_of_users_is_interleaved_and_a_higher_one_only_adds_users(world: World) -> None:
    world.interleave(percent=30)

    def users() -> set[int]:
        return {
            n for n in range(150) if world.ask(**{"x-capstan-key": f"u{n}"})[1]["x-capstan-version"] != "v1"
        }

    first = users()
    assert first == users()
    assert 20 < len(first) < 75
    world.interleave(percent=60)
    assert first < users()


@pytest.mark.parametrize("fault", ["raises", "hangs", "slow", "resets", "dies", "refuses", "forgets"])
def test_a_challenger_that_answers_no_list_costs_no_user_a_request(world: World, fault: str) -> None:
    world.interleave()
    if fault == "dies":
        world.rankers[V2].stop()
    world.rankers[V2].behaviour = fault
    for _ in range(5):
        started = time.monotonic()
        status, headers, body = world.ask()
        # The champion's answer goes out 0.3 s after it came; without that, one that hangs would cost 1.8 s.
        assert time.monotonic() - started < 1.5
        assert (status, headers["x-capstan-version"]) == (200, "v1")
        assert [row["rank"] for row in body["predictions"]] == RANKS[V1]
        eventually(lambda request_id=headers["x-request-id"]: len(world.kept.of(request_id)) == 1)
        [payload] = world.kept.of(headers["x-request-id"])
        assert (payload.status, payload.outputs) == (502, {"champion": "v1", "challenger": "v2"})
    outcome = {"refuses": "refused", "forgets": "answered"}.get(fault, "failed")
    assert f'capstan_interleaved_total{{system="toy",version="v2",outcome="{outcome}"}} 5' in world.metrics()


def test_a_combiner_that_is_dead_costs_no_user_a_request(world: World) -> None:
    world.interleave()
    world.supervisor.stop("combiner")
    answers = Counter(world.ask()[1]["x-capstan-version"] for _ in range(20))
    assert answers == {"v1": 20}


def test_a_champion_that_raises_is_asked_again_by_the_gateway(world: World) -> None:
    world.interleave()
    world.rankers[V1].behaviour = "raises"
    assert world.ask()[0] == 500
    attempts = [seen["x-envoy-attempt-count"] for seen in world.rankers[V1].seen]
    assert attempts[:2] == ["1", "2"]
    assert all(payload.status != 200 for payload in world.kept.payloads)


def test_what_the_champion_refuses_is_told_as_it_says(world: World) -> None:
    world.interleave()
    for ranker in world.rankers.values():
        ranker.behaviour = "refuses"
    assert world.ask()[0] == 422


def test_a_client_cannot_say_whom_the_combiner_asks(world: World) -> None:
    world.interleave()
    forged = (
        '{"champion":["v9","127.0.0.1",1],"challenger":["v9","127.0.0.1",1],"method":"Balanced","salt":""}'
    )
    assert world.ask(**{INSTRUCTION_HEADER: forged})[1]["x-capstan-version"] == "v1+v2"
    world.apply(champion_only(V1))
    world.ask(**{INSTRUCTION_HEADER: forged})
    assert INSTRUCTION_HEADER not in world.rankers[V1].seen[-1]


def test_no_request_is_lost_while_interleaving_begins_and_ends(world: World) -> None:
    world.apply(champion_only(V1))
    eventually(lambda: world.gateway.healthy().get("combiner", False))

    async def many(done: asyncio.Event, statuses: Counter[int]) -> None:
        async with aiohttp.ClientSession() as session:
            while not done.is_set():
                async with session.post(f"{world.gateway.address}/predict", data=b"{}") as answer:
                    await answer.read()
                    statuses[answer.status] += 1

    statuses: Counter[int] = Counter()
    done = asyncio.Event()
    load = [world.loop.start(many(done, statuses)) for _ in range(4)]
    for wanted in (interleaved(), champion_only(V1), interleaved(percent=50), champion_only(V2)):
        world.apply(wanted)
        time.sleep(0.3)
    world.loop.loop.call_soon_threadsafe(done.set)
    for one in load:
        one.result(10)
    assert set(statuses) == {200}
    assert statuses[200] > 100


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        pytest.param(
            TrafficSplit(
                split(50, 50).arms, interleaved=Interleaved(VersionName("v3"), Weight(10), Method.BALANCED)
            ),
            "no other arm beside it",
            id="beside a canary",
        ),
        pytest.param(
            TrafficSplit(
                split(100, 0, mirror=V2).arms,
                split(100, 0, mirror=V2).mirrors,
                interleaved=Interleaved(V2, Weight(10), Method.BALANCED),
            ),
            "receive copies at once",
            id="with copies",
        ),
        pytest.param(interleaved(percent=0), "write 1 to 100", id="no share"),
    ],
)
def test_what_cannot_be_interleaved_is_refused(world: World, wanted: TrafficSplit, why: str) -> None:
    assert why in (world.gateway.refusal(wanted) or "")
    with pytest.raises(NotAllowedError):
        world.gateway.apply(wanted, {})


def test_a_gateway_pod_of_a_cluster_interleaves_by_the_combiner_beside_it_and_tells_its_counters(
    world: World, tmp_path: Path
) -> None:
    ports = {"gateway": free_port(), "agent": free_port()}
    pod = Pod("gw-0", "127.0.0.2", tmp_path / "pod", tmp_path / "config", ports, combiner=world.port)
    cluster = Cluster(pods=[pod])
    cluster.mount(pod.config)
    fleet = EnvoyFleet(
        cluster,  # type: ignore[arg-type]
        HTTP,
        config_map=dict(CONFIG_MAP),
        labels=LABELS,
        agent_port=ports["agent"],
        token=TOKEN,
        settings=GatewaySettings(combiner=Endpoint("127.0.0.1", world.port)),
        ready_timeout_seconds=5.0,
    )
    pod.start()
    try:
        eventually(pod.is_ready)
        fleet.apply(interleaved(), world.endpoints)
        assert fleet.read_back() == interleaved()
        eventually(lambda: fleet.healthy().get("combiner", False))
        answer = HTTP.post(f"http://{pod.address}:{ports['gateway']}/predict", content=b"{}")
        assert (answer.status_code, answer.json()["version"]) == (200, "v1+v2")
        told = HTTP.get(f"{pod.agent}/stats/prometheus").text
        assert 'capstan_interleaved_total{system="toy",version="v2",outcome="answered"} ' in told
        assert "envoy_cluster_upstream_rq_completed" in told
        fleet.apply(champion_only(V1), world.endpoints)
        assert fleet.read_back() == champion_only(V1)
    finally:
        pod.kill()
