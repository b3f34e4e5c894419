"""Claims about the gateway, made with a real Envoy, real connections and tiny model services."""

from __future__ import annotations

import errno
import http.client
import json
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from contract.envoy_worlds import V3, OneGatewayWorld
from contract.model_services import EventLoop

from capstan import files
from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.gateway import EnvoyGateway
from capstan.adapters.envoy.stats import PredictionCounts
from capstan.adapters.processes.children import ProcessSupervisor
from capstan.adapters.prometheus.operation import PrometheusOperation
from capstan.adapters.prometheus.server import PrometheusServer, PrometheusSettings
from capstan.domain.payload_limits import LARGEST_CALL
from capstan.domain.traffic import Arm, Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.verdicts.evidence import OperationEvidence
from capstan.domain.versions import SystemName, VersionName
from capstan.errors import DiskFullError, NotAllowedError, PortInUseError, UnavailableError
from capstan.testing.ports.traffic import V1, V2, split
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path, loop: EventLoop) -> Iterator[OneGatewayWorld]:
    world = OneGatewayWorld(tmp_path, loop)
    yield world
    world.close()


def test_without_a_split_predictions_are_refused_not_lost(world: OneGatewayWorld) -> None:
    assert world.gateway.read_back() is None
    assert world.send(3).statuses == {503: 3}


@pytest.mark.parametrize(
    "wanted",
    [champion_only(V1), split(75, 25), split(75, 25, mirror=V3), split(40, 60, salt=r"odd/\1$ salt")],
    ids=["champion", "canary", "mirror", "salt"],
)
def test_what_was_applied_is_read_back(world: OneGatewayWorld, wanted: TrafficSplit) -> None:
    world.apply(wanted)
    assert world.gateway.read_back() == wanted
    world.apply(wanted)
    assert world.gateway.read_back() == wanted


@pytest.mark.parametrize("keyed", [False, True], ids=["random", "sticky"])
def test_shares_follow_the_weights(world: OneGatewayWorld, keyed: bool) -> None:
    world.apply(split(75, 25))
    answers = world.send(2000, keyed=keyed)
    assert answers.failed == 0
    four_sigma = 4 * math.sqrt(2000 * 0.25 * 0.75)
    assert abs(answers.versions["v2"] - 500) < four_sigma
    assigned = world.gateway.assigned()
    assert sum(assigned.values()) == 2000
    # On a busy machine a try may take too long: the other version answers, and the arm was assigned all the same.
    assert abs(assigned[V2] - answers.versions["v2"]) < 10


def test_a_key_stays_and_a_higher_weight_only_adds_keys(world: OneGatewayWorld) -> None:
    world.apply(split(75, 25, salt="rollout-1"))
    first, again = world.send(400, keyed=True).by_key, world.send(400, keyed=True).by_key
    assert first == again
    world.apply(split(50, 50, salt="rollout-1"))
    more = world.send(400, keyed=True).by_key
    challenged = {key for key, version in first.items() if version == "v2"}
    assert challenged < {key for key, version in more.items() if version == "v2"}
    world.apply(split(75, 25, salt="rollout-2"))
    other = world.send(400, keyed=True).by_key
    assert len(challenged & {key for key, version in other.items() if version == "v2"}) < 0.6 * len(
        challenged
    )


def test_a_mirror_gets_every_prediction_once(world: OneGatewayWorld) -> None:
    world.apply(split(100, 0, mirror=V3))
    answers = world.send(300)
    world.send(1, path="/feedback")
    mirror, champion = world.services[V3], world.services[V1]
    eventually(lambda: len(mirror.seen) >= 300)
    assert answers.versions == {"v1": 300}
    assert len(mirror.seen) == 300
    assert {seen[":host"] for seen in mirror.seen} == {"capstan-shadow"}
    assert {seen["X-Request-ID"] for seen in mirror.seen} == {seen["X-Request-ID"] for seen in champion.seen}
    assert {seen[":host"] for seen in champion.seen} == {"capstan"}
    assert world.gateway.completed_predictions() == 300


def test_a_copy_that_is_not_answered_yet_is_active(world: OneGatewayWorld) -> None:
    world.apply(split(100, 0, mirror=V3))
    world.services[V3].behaviour = "slow"
    assert world.gateway.active_requests() == 0
    world.send(5)
    assert world.gateway.active_requests() == 5
    eventually(lambda: world.gateway.active_requests() == 0)


def test_a_mirror_of_half_gets_about_half(world: OneGatewayWorld) -> None:
    world.apply(TrafficSplit(arms=(Arm(V1, Weight(100)),), mirrors=(Mirror(V3, Weight(50)),)))
    world.send(600)
    time.sleep(0.3)
    assert abs(len(world.services[V3].seen) - 300) < 4 * math.sqrt(600 * 0.25)


@pytest.mark.parametrize("fault", ["raises", "hangs", "slow", "resets", "dies"])
def test_a_broken_mirror_changes_nothing_for_users(world: OneGatewayWorld, fault: str) -> None:
    world.apply(split(100, 0, mirror=V3))
    if fault == "dies":
        world.services[V3].stop()
    world.services[V3].behaviour = fault
    answers = world.send(300)
    assert answers.versions == {"v1": 300}
    assert answers.failed == 0
    assert answers.slowest < 0.65  # a user who waited for the slow copy would take 0.7 s
    assert world.gateway.predictions().failed == 0


@pytest.mark.parametrize("fault", ["raises", "hangs", "slow", "resets", "dies"])
def test_a_broken_challenger_costs_no_user_a_request(world: OneGatewayWorld, fault: str) -> None:
    world.apply(split(50, 50))
    if fault == "dies":
        world.services[V2].stop()
    world.services[V2].behaviour = fault
    answers = world.send(200)
    assert answers.versions == {"v1": 200}
    assert answers.failed == 0
    assert answers.slowest < 1.9
    assert world.gateway.completed_predictions() == 200
    assigned = world.gateway.assigned()
    assert sum(assigned.values()) == 200
    assert assigned[V2] > 50


def test_a_retry_says_so_and_keeps_its_id_and_arm(world: OneGatewayWorld) -> None:
    world.services[V2].behaviour = "raises"
    world.apply(TrafficSplit(arms=(Arm(V1, Weight(0)), Arm(V2, Weight(100)))))
    world.send(20)
    tried, answered = world.services[V2].seen, world.services[V1].seen
    assert {(s["x-envoy-attempt-count"], s["x-capstan-role"]) for s in tried} == {("1", "challenger")}
    assert {(s["x-envoy-attempt-count"], s["x-capstan-role"]) for s in answered} == {("2", "challenger")}
    assert {s["X-Request-ID"] for s in tried} == {s["X-Request-ID"] for s in answered}


def test_a_client_cannot_choose_its_id_its_arm_or_its_time_limit(world: OneGatewayWorld) -> None:
    world.apply(champion_only(V1))
    forged = {
        "x-request-id": "mine",
        "x-capstan-role": "challenger",
        "x-envoy-attempt-count": "7",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-max-retries": "0",
    }
    world.services[V1].behaviour = "answers"
    assert world.send(5, headers=forged).failed == 0
    for seen in world.services[V1].seen:
        assert seen["X-Request-ID"] != "mine"
        assert (seen["x-capstan-role"], seen["x-envoy-attempt-count"]) == ("champion", "1")


def test_the_sender_of_a_replay_names_its_requests_and_nothing_else(tmp_path: Path, loop: EventLoop) -> None:
    world = OneGatewayWorld(tmp_path, loop, keeps_request_ids=True)
    try:
        world.apply(champion_only(V1))
        world.send(2, headers={"x-request-id": "mine", "x-capstan-role": "challenger"})
        world.send(2)
        ids = [(seen["X-Request-ID"], seen["x-capstan-role"]) for seen in world.services[V1].seen]
        assert ids[:2] == [("mine", "champion")] * 2
        assert len({name for name, _ in ids[2:]} - {"mine", ""}) == 2
    finally:
        world.close()


def test_the_answer_carries_the_request_id(world: OneGatewayWorld) -> None:
    world.apply(champion_only(V1))

    async def ask() -> str:
        url = f"{world.gateway.address}/predict"
        async with aiohttp.ClientSession() as session, session.post(url, data=b"{}") as answer:
            return answer.headers["x-request-id"]

    assert world.loop.run(ask()) == world.services[V1].seen[0]["X-Request-ID"]


def test_a_body_over_the_limit_is_refused_and_one_below_survives_a_retry(world: OneGatewayWorld) -> None:
    world.apply(split(50, 50))
    assert world.send(3, body=b"x" * 1_100_000).statuses == {413: 3}
    world.services[V2].behaviour = "resets"
    assert world.send(20, body=b"x" * 900_000, connections=4).failed == 0


def exchange(world: OneGatewayWorld, request: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON body of a request as it goes over the wire."""
    host, port = world.gateway.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(body)


def test_http_1_0_without_a_host_is_answered(world: OneGatewayWorld) -> None:
    world.apply(champion_only(V1))
    status, headers, body = exchange(world, b"POST /predict HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
    assert (status, body) == (200, {"version": "v1"})
    assert headers["x-request-id"] == world.services[V1].seen[0]["X-Request-ID"]
    kept = b"POST /predict HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}"
    assert exchange(world, kept)[0] == 200


def test_a_slash_after_a_path_changes_nothing(world: OneGatewayWorld) -> None:
    world.apply(champion_only(V1))
    assert world.send(5, path="/predict/").versions == {"v1": 5}
    assert world.gateway.completed_predictions() == 5
    assert world.send(3, path="/feedback/").versions == {"collector": 3}
    assert world.send(3, path="/events/").versions == {"collector": 3}


REFUSED = {
    "no such route": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "path"),
    "a route of the page": (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404, "path"),
    "no HTTP": (b"nonsense\r\n\r\n", 400, "request"),
    "a large body": (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1100000\r\n\r\n" + b"x" * 1_100_000,
        413,
        "body",
    ),
    "large headers": (
        b"GET /predict HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 100_000 + b"\r\n\r\n",
        431,
        "headers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_gateway_refuses_is_told_in_json(world: OneGatewayWorld, case: str) -> None:
    world.apply(champion_only(V1))
    request, wanted, field = REFUSED[case]
    status, headers, body = exchange(world, request)
    assert (status, body["error"]["field"]) == (wanted, field)
    assert headers["content-type"] == "application/json"
    assert len(body["error"]["rule"].split()) > 2


def test_a_path_that_is_not_there_is_told_where_to_go(world: OneGatewayWorld) -> None:
    world.apply(champion_only(V1))
    body = exchange(world, b"POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")[2]
    assert "POST a row to /predict" in body["error"]["rule"]


@pytest.mark.parametrize("path", ["/predict", "/v2/models/toy/infer"])
def test_a_version_that_is_missing_or_silent_is_told_in_the_shape_of_its_route(
    world: OneGatewayWorld, path: str
) -> None:
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    told = [exchange(world, request)]
    world.apply(champion_only(V1))
    world.services[V1].behaviour = "hangs"
    told.append(exchange(world, request))
    assert [status for status, _, _ in told] == [503, 504]
    for (_, _, body), words in zip(
        told, ("no version is ready yet", "none answered within 2 s"), strict=True
    ):
        said = body["error"] if path.startswith("/v2/") else body["error"]["rule"]
        assert words in said


@pytest.mark.parametrize("path", ["/feedback", "/events"])
def test_what_is_posted_may_be_as_large_as_the_collector_takes(world: OneGatewayWorld, path: str) -> None:
    world.apply(champion_only(V1))
    assert world.send(1, path=path, body=b"x" * 7_000_000).statuses == {200: 1}
    assert world.send(1, path=path, body=b"x" * 10_500_000).statuses == {413: 1}


def test_a_signed_call_may_be_as_large_as_the_collector_takes(world: OneGatewayWorld) -> None:
    world.apply(champion_only(V1))
    assert world.send(1, path="/webhooks/airflow", body=b"x" * LARGEST_CALL).statuses == {200: 1}
    assert world.send(1, path="/webhooks/airflow/", body=b"x" * (LARGEST_CALL + 1)).statuses == {413: 1}
    assert world.send(1, path="/webhooks/a/b").statuses == {404: 1}


@pytest.mark.parametrize("path", ["/feedback", "/events", "/webhooks/airflow"])
def test_what_is_posted_reaches_the_collector_and_is_no_prediction(world: OneGatewayWorld, path: str) -> None:
    world.apply(champion_only(V1))
    assert world.send(7, path=path, headers={"Authorization": "Bearer t"}).statuses == {200: 7}
    assert len(world.collector.seen) == 7
    assert world.collector.seen[0]["Authorization"] == "Bearer t"
    assert world.send(4, path="/v2/models/m/infer").failed == 0
    assert world.gateway.completed_predictions() == 4


def test_refused_requests_are_completed_and_not_retried(world: OneGatewayWorld) -> None:
    world.services[V1].behaviour = "refuses"
    world.apply(champion_only(V1))
    assert world.send(9).statuses == {422: 9}
    assert len(world.services[V1].seen) == 9
    assert world.gateway.completed_predictions() == 9
    world.services[V1].behaviour = "answers"
    assert world.send(4).failed == 0
    assert world.gateway.predictions() == PredictionCounts(answered=4, refused=9, failed=0)


def test_no_request_is_lost_while_weights_and_versions_change(world: OneGatewayWorld) -> None:
    world.apply(champion_only(V1))
    load = world.start(keyed=True, connections=8)
    story = [
        split(100, 0, mirror=V2),
        split(75, 25),
        split(50, 50),
        champion_only(V2),
        TrafficSplit(arms=(Arm(V2, Weight(60)), Arm(V3, Weight(40)))),
        champion_only(V3),
        champion_only(V1),
    ]
    try:
        for wanted in story:
            leaving = [v for v in (V1, V2, V3) if v not in wanted.versions]
            world.apply(wanted)
            for version in leaving:
                world.services[version].stop()
            time.sleep(0.25)
            for version in leaving:
                world.services[version].start()
    finally:
        answers = load.end()
    assert answers.failed == 0
    assert sum(answers.versions.values()) > 500
    assert set(answers.versions) == {"v1", "v2", "v3"}
    assert world.gateway.completed_predictions() == sum(answers.versions.values())


@pytest.mark.parametrize("later", [split(75, 25), champion_only(V2)], ids=["v1 stays", "v1 leaves"])
def test_a_request_whose_body_comes_late_is_answered_though_its_arm_left_meanwhile(
    world: OneGatewayWorld, later: TrafficSplit
) -> None:
    world.apply(split(50, 50))
    bodies = [_LateBody(world.gateway.address) for _ in range(8)]
    timers = [threading.Timer(0.5, body.send) for body in bodies]
    for timer in timers:
        timer.start()
    world.apply(later)
    for version in {V1, V2} - later.versions:
        world.services[version].stop()
    for timer in timers:
        timer.join()
    assert [body.status() for body in bodies] == [200] * len(bodies)


class _LateBody:
    """A prediction whose head is sent at once and whose body is sent when it is asked for."""

    _BODY = b'{"x": 1}'

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        head = ["POST /predict HTTP/1.1", "host: capstan", f"content-length: {len(self._BODY)}", "", ""]
        self._socket.sendall("\r\n".join(head).encode() + self._BODY[:1])

    def send(self) -> None:
        self._socket.sendall(self._BODY[1:])

    def status(self) -> int:
        with self._socket:
            return int(self._socket.recv(1024).split(b" ", 2)[1])


def test_nothing_is_routed_to_a_version_that_is_not_ready(world: OneGatewayWorld) -> None:
    world.apply(champion_only(V1))
    world.services[V2].ready = False
    world.gateway._ready_timeout = 0.5
    with pytest.raises(UnavailableError, match="v2 does not pass its health check; nothing was routed"):
        world.apply(split(50, 50))
    assert world.gateway.read_back() == champion_only(V1)
    assert world.send(50).versions == {"v1": 50}


def test_prometheus_sees_the_failures_that_the_gateway_hid(world: OneGatewayWorld) -> None:
    admin = world.gateway.admin_address.removeprefix("http://")
    rates = PrometheusSettings(scrape_seconds=0.3, evaluate_seconds=1, envoy_admin=admin)
    server = PrometheusServer(world.supervisor, world.folder / "prometheus", rates)
    server.start()
    metrics = PrometheusOperation(server.query, SystemName("flights"))
    world.apply(split(50, 50, mirror=V3))
    since = datetime.now(UTC)
    world.services[V2].behaviour = "hangs"
    world.services[V3].behaviour = "raises"
    answers = world.send(200)
    assert answers.failed == 0

    def seen(challenger: VersionName, *, shadow: bool) -> OperationEvidence:
        now = datetime.now(UTC)
        return metrics.operation(V1, challenger, since_wall=since, now_wall=now, shadow=shadow)

    eventually(lambda: sum(seen(V2, shadow=False).assigned.values()) == 200)
    canary = seen(V2, shadow=False)
    assert canary.challenger.requests == canary.assigned[V2] > 50
    assert canary.challenger.errors == canary.challenger.requests
    assert canary.champion.errors == 0
    eventually(lambda: seen(V3, shadow=True).challenger.requests == 200)
    assert seen(V3, shadow=True).challenger.errors == 200


def test_a_split_can_be_put_back_while_its_challenger_is_dead(world: OneGatewayWorld) -> None:
    world.apply(split(75, 25))
    world.services[V2].stop()
    eventually(lambda: not world.gateway.healthy()["v2"])
    started = time.monotonic()
    world.apply(split(75, 25))
    world.apply(split(90, 10))
    assert time.monotonic() - started < 3
    assert world.gateway.read_back() == split(90, 10)


def test_a_collector_that_moved_is_found_after_a_restart(world: OneGatewayWorld) -> None:
    world.apply(split(75, 25))
    world.collector.stop()
    world.collector.port = 0
    world.collector.start()
    settings = replace(world.gateway.settings, collector=world.collector.endpoint)
    EnvoyGateway(world.supervisor, world.folder / "envoy", settings).start()
    assert world.send(3, path="/feedback").failed == 0
    assert world.gateway.read_back() == split(75, 25)


@pytest.mark.parametrize("moment", ["_await_ready", "_set_routes", "_drain"])
def test_a_loop_killed_inside_a_change_finishes_it_next_time(
    world: OneGatewayWorld, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    world.apply(split(75, 25))
    load = world.start(keyed=True, connections=4)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.gateway, moment, killed)
    wanted = TrafficSplit(arms=(Arm(V2, Weight(50)), Arm(V3, Weight(50))))
    with pytest.raises(KeyboardInterrupt):
        world.apply(wanted)
    monkeypatch.undo()
    time.sleep(0.2)
    heir = EnvoyGateway(world.supervisor, world.folder / "envoy", world.gateway.settings)
    assert heir.read_back() == (wanted if moment == "_drain" else split(75, 25))
    heir.apply(wanted, {name: world.services[name].endpoint for name in wanted.versions})
    assert load.end().failed == 0
    assert heir.read_back() == wanted
    clusters = {cluster["name"]: envoy_config.members(cluster) for cluster in heir._live("clusters")}
    detours = {"arm-v1", "arm-v2-else-v1"} & clusters.keys()
    assert clusters.keys() - detours == {"v2", "v3", "collector", "arm-v2", "arm-v3-else-v2"}
    assert all(clusters[name] == {V2} for name in detours), (
        "late requests of arms that left are answered by v2"
    )


def test_a_full_disk_changes_nothing(world: OneGatewayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply(split(75, 25))

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DiskFullError, match="no room left"):
        world.apply(split(50, 50))
    monkeypatch.undo()
    assert world.gateway.read_back() == split(75, 25)
    assert world.send(50).failed == 0
    world.apply(split(50, 50))
    assert world.gateway.read_back() == split(50, 50)


@pytest.mark.parametrize("how", ["renamed over", "edited in place"])
def test_an_edit_by_hand_is_seen_and_put_back(world: OneGatewayWorld, how: str) -> None:
    wanted = split(75, 25)
    world.apply(wanted)
    file = world.folder / "envoy" / "routes" / "routes.json"
    content = json.loads(file.read_text())
    action = next(
        r
        for r in content["resources"][0]["virtual_hosts"][0]["routes"]
        if r["match"].get("path") == "/predict"
    )
    for arm, weight in zip(action["route"]["weighted_clusters"]["clusters"], (10, 90), strict=True):
        arm["weight"] = weight
    if how == "renamed over":
        edited = file.with_name("edited")
        edited.write_text(json.dumps(content))
        edited.rename(file)
        eventually(lambda: world.gateway.read_back() == split(10, 90))
    else:
        file.write_text(json.dumps(content))
        time.sleep(0.3)
    world.apply(wanted)
    assert world.gateway.read_back() == wanted
    assert '"weight": 90' not in file.read_text()


def test_a_broken_file_leaves_the_old_routes_and_is_put_back(world: OneGatewayWorld) -> None:
    world.apply(split(75, 25))
    file = world.folder / "envoy" / "routes" / "routes.json"
    broken = file.with_name("broken")
    broken.write_text("{ not json")
    broken.rename(file)
    time.sleep(0.3)
    assert world.send(50).failed == 0
    world.apply(split(50, 50))
    assert world.gateway.read_back() == split(50, 50)


def test_a_killed_envoy_comes_back_with_its_split_and_counts_on(world: OneGatewayWorld) -> None:
    world.apply(split(75, 25))
    assert world.send(40).failed == 0
    assert world.gateway.completed_predictions() == 40
    pid = world.supervisor.status()["envoy"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: bool(world.supervisor.tick()) and world.supervisor.status()["envoy"].restarts == 1)
    world.supervisor.wait_healthy("envoy")
    assert world.gateway.read_back() == split(75, 25)
    assert world.send(60).failed == 0
    assert world.gateway.completed_predictions() == 100


def test_the_next_supervisor_adopts_envoy_without_a_pause(world: OneGatewayWorld) -> None:
    world.apply(split(75, 25))
    pid = world.supervisor.status()["envoy"].pid
    world.send(10)
    assert world.gateway.completed_predictions() == 10
    supervisor = ProcessSupervisor(world.folder / "processes", world.folder / "logs")
    heir = EnvoyGateway(supervisor, world.folder / "envoy", world.gateway.settings)
    heir.start()
    assert supervisor.status()["envoy"].pid == pid
    assert heir.read_back() == split(75, 25)
    world.send(5)
    assert heir.completed_predictions() == 15


def test_a_dead_envoy_is_unavailable_not_a_traceback(world: OneGatewayWorld) -> None:
    world.supervisor.stop("envoy")
    with pytest.raises(UnavailableError, match="gateway"):
        world.gateway.read_back()
    with pytest.raises(UnavailableError, match="gateway"):
        world.apply(champion_only(V1))


def test_a_taken_port_is_named(world: OneGatewayWorld, tmp_path: Path) -> None:
    supervisor = ProcessSupervisor(tmp_path / "other", tmp_path / "other-logs")
    settings = GatewaySettings(port=world.services[V1].port)
    with pytest.raises(PortInUseError, match="--gateway-port"):
        EnvoyGateway(supervisor, tmp_path / "other-envoy", settings).start()


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        (TrafficSplit(arms=(Arm(V1, Weight(75)),)), "do not sum to 100"),
        (TrafficSplit(arms=(Arm(V1, Weight(50)), Arm(V1, Weight(50)))), "two arms"),
        (
            TrafficSplit(arms=(Arm(V1, Weight(100)),), mirrors=(Mirror(V1, Weight(100)),)),
            "answer requests and receive",
        ),
        (TrafficSplit(arms=(Arm(V1, Weight(100)),), mirrors=(Mirror(V2, Weight(101)),)), "outside 0-100"),
    ],
    ids=["sum", "twice", "mirror-of-arm", "percent"],
)
def test_a_split_that_cannot_be_is_refused_with_its_rule(
    world: OneGatewayWorld, wanted: TrafficSplit, rule: str
) -> None:
    assert rule in (world.gateway.refusal(wanted) or "")
    assert world.gateway.refusal(split(75, 25, mirror=V3)) is None
    with pytest.raises(NotAllowedError, match=rule):
        world.apply(wanted)
