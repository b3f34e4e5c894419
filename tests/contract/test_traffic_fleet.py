"""Claims about several gateway pods as one, made with real Envoys behind real agents on addresses of this machine."""

from __future__ import annotations

import copy
import json
import math
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from contract.envoy_worlds import HTTP, TOKEN, V3, FleetWorld, Pod
from contract.model_services import EventLoop

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import DIFFERING, GatewaySettings
from capstan.adapters.envoy.fleet import EnvoyFleet
from capstan.adapters.envoy.host import GENERATION_HEADER
from capstan.domain.traffic import Arm, TrafficSplit, Weight, champion_only
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.ports.kube import Object
from capstan.ports.serving import Endpoint
from capstan.testing.ports.traffic import V1, V2, TrafficContract, split
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path, loop: EventLoop) -> Iterator[FleetWorld]:
    world = FleetWorld(tmp_path, loop)
    yield world
    world.close()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, loop: EventLoop) -> Iterator[FleetWorld]:
    """For tests that leave it as it is."""
    world = FleetWorld(tmp_path_factory.mktemp("lasting"), loop)
    world.apply(split(75, 25))
    yield world
    world.close()


class TestFleet(TrafficContract):
    @pytest.fixture
    def traffic(self, world: FleetWorld) -> EnvoyFleet:
        return world.fleet

    @pytest.fixture
    def endpoints(self, world: FleetWorld) -> Mapping[VersionName, Endpoint]:
        return world.endpoints(V1, V2, V3)


def test_a_key_has_the_same_arm_on_every_pod_and_shares_follow_the_weights(world: FleetWorld) -> None:
    world.apply(split(75, 25, salt="r1"))
    first, second = (world.clients_of(pod).send(600, keyed=True) for pod in world.cluster.pods)
    assert first.failed == second.failed == 0
    assert first.by_key == second.by_key
    challenged = first.versions["v2"] + second.versions["v2"]
    assert abs(challenged - 300) < 2 * 4 * math.sqrt(600 * 0.25 * 0.75)
    assert world.fleet.assigned() == {V1: 1200 - challenged, V2: challenged}
    assert world.fleet.completed_predictions() == 1200
    assert world.fleet.active_requests() == 0


def test_pods_that_differ_obey_no_split_that_was_wanted_and_use_all_versions(world: FleetWorld) -> None:
    world.apply(split(75, 25, salt="r1"))
    edited, other = world.cluster.pods
    content = json.loads(edited.ask("/config").json()["routes"]["content"])
    routes = envoy_config.routes(champion_only(V1), world.settings)
    changed = envoy_config.document([routes])[1]
    answer = put(edited, "routes", changed, generation=int(data_of(world, "generation")))
    assert answer.status_code == 200, answer.text
    eventually(lambda: edited.split() == champion_only(V1))
    found = world.fleet.read_back()
    assert found is not None
    assert (found.salt, found.versions) == (DIFFERING, {V1, V2})
    world.apply(split(75, 25, salt="r1"))
    assert world.fleet.read_back() == split(75, 25, salt="r1")
    assert edited.split() == other.split()
    assert json.loads(edited.ask("/config").json()["routes"]["content"]) == content


def test_a_config_map_edited_by_hand_is_seen_and_put_back(world: FleetWorld) -> None:
    wanted = split(75, 25, salt="r1")
    world.apply(wanted)
    assert world.cluster.config_map is not None
    data = world.cluster.config_map["data"]
    data["routes.json"] = re.sub(r'"weight": 75', '"weight": 5', data["routes.json"])
    found = world.fleet.read_back()
    assert found is not None
    assert found != wanted
    world.apply(wanted)
    assert world.fleet.read_back() == wanted
    assert '"weight": 5' not in data_of(world, "routes.json")


def test_a_config_map_that_was_deleted_is_written_anew_with_newer_numbers(world: FleetWorld) -> None:
    world.apply(split(75, 25))
    generation = int(data_of(world, "generation"))
    world.cluster.config_map = None
    assert world.fleet.read_back() != split(75, 25)
    world.apply(split(50, 50))
    assert world.fleet.read_back() == split(50, 50)
    assert int(data_of(world, "generation")) > generation


def test_an_old_copy_of_the_whole_config_map_is_put_back_to_what_was_wanted(world: FleetWorld) -> None:
    """Its number too is an old one: pods refuse what is told under it."""
    world.apply(split(75, 25, salt="r1"))
    old = copy.deepcopy(world.cluster.config_map)
    world.apply(split(50, 50, salt="r1"))
    generation = int(data_of(world, "generation"))
    load = world.start(keyed=True, connections=4, pause=0.01)
    world.cluster.restore(old)
    found = world.fleet.read_back()
    assert found is not None
    assert found != split(50, 50, salt="r1")
    world.apply(split(50, 50, salt="r1"))
    assert load.end().failed == 0
    assert world.fleet.read_back() == split(50, 50, salt="r1")
    assert int(data_of(world, "generation")) > generation
    late = world.add_pod()
    eventually(late.is_ready)
    assert late.split() == split(50, 50, salt="r1")


def test_after_an_old_copy_was_put_back_the_next_step_goes_on_from_what_pods_obey(world: FleetWorld) -> None:
    """And no state of the ConfigMap routes to the version that the copy knew and that is gone."""
    world.apply(champion_only(V3))
    old = copy.deepcopy(world.cluster.config_map)
    world.apply(split(75, 25))
    world.services[V3].stop()
    world.cluster.restore(old)
    since = len(world.cluster.history)
    world.apply(split(50, 50))
    assert world.fleet.read_back() == split(50, 50)
    for state in world.cluster.history[since:]:
        table = json.loads(state["data"]["routes.json"])["resources"][0]
        assert "arm-v3" not in envoy_config.used_clusters(table)
        clusters = json.loads(state["data"]["clusters.json"])["resources"]
        assert V3 not in {cluster["name"] for cluster in clusters}
        assert all(V3 not in envoy_config.members(cluster) for cluster in clusters)


NUMBERS = {"lower": "1", "none": "", "a word": "newest", "huge": "9" * 40, "negative": "-5"}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS.keys())
def test_a_number_that_somebody_edited_stops_no_further_step(world: FleetWorld, number: str) -> None:
    world.apply(split(75, 25))
    assert world.cluster.config_map is not None
    world.cluster.config_map["data"]["generation"] = number
    pod = world.cluster.pods[0]
    world.cluster.mount(pod.config)
    time.sleep(2.5)
    assert pod.is_alive(), "it has looked at what is mounted"
    world.apply(split(50, 50))
    assert world.fleet.read_back() == split(50, 50)
    late = world.add_pod()
    eventually(late.is_ready)
    assert late.split() == split(50, 50)


def test_a_higher_number_with_an_old_split_that_pods_have_followed_is_put_back(world: FleetWorld) -> None:
    world.apply(split(75, 25))
    old = copy.deepcopy(world.cluster.config_map)
    world.apply(split(50, 50))
    assert old is not None
    old["data"]["generation"] = str(int(data_of(world, "generation")) + 1000)
    world.cluster.restore(old)
    for pod in world.cluster.pods:
        world.cluster.mount(pod.config)
    eventually(lambda: all(pod.split() == split(75, 25) for pod in world.cluster.pods))
    world.apply(split(50, 50))
    assert world.fleet.read_back() == split(50, 50)
    assert all(pod.split() == split(50, 50) for pod in world.cluster.pods)


def test_applying_what_is_so_writes_nothing(lasting: FleetWorld) -> None:
    lasting.apply(split(75, 25))
    written = len(lasting.cluster.history)
    lasting.apply(split(75, 25))
    lasting.operator().apply(split(75, 25), lasting.endpoints(V1, V2))
    assert len(lasting.cluster.history) == written


def test_no_state_of_the_config_map_routes_to_what_it_lacks_or_was_not_ready(world: FleetWorld) -> None:
    world.apply(split(75, 25))
    world.apply(champion_only(V2))
    world.apply(TrafficSplit((Arm(V2, Weight(60)), Arm(V3, Weight(40)))))
    for state in world.cluster.history:
        clusters = {c["name"] for c in json.loads(state["data"]["clusters.json"])["resources"]}
        table = json.loads(state["data"]["routes.json"])["resources"][0]
        assert envoy_config.used_clusters(table) <= clusters
    world.services[V1].ready = False
    world.fleet._ready_timeout = 0.5
    with pytest.raises(UnavailableError, match="v1 does not pass its health check"):
        world.apply(champion_only(V1))
    table = json.loads(data_of(world, "routes.json"))["resources"][0]
    assert envoy_config.split_of(table) == TrafficSplit((Arm(V2, Weight(60)), Arm(V3, Weight(40))))


def test_a_pod_that_starts_while_the_operator_is_away_takes_the_config_map(world: FleetWorld) -> None:
    world.apply(split(75, 25, salt="r1"))
    late = world.add_pod()
    eventually(late.is_ready)
    assert late.split() == split(75, 25, salt="r1")
    assert world.clients_of(late).send(100).failed == 0


def test_a_pod_that_starts_is_ready_when_it_finds_the_champion_well(world: FleetWorld) -> None:
    world.apply(champion_only(V1))
    world.services[V1].ready = False
    late = world.add_pod()
    eventually(late.is_alive)
    eventually(lambda: late.split() == champion_only(V1))
    time.sleep(1.0)
    assert not late.is_ready(), "its users would be told that nothing is well"
    world.services[V1].ready = True
    eventually(late.is_ready)
    assert world.clients_of(late).send(100).failed == 0


def test_a_push_waits_until_the_pod_finds_the_new_version_well(world: FleetWorld) -> None:
    """A pod that became ready while the operator looked at the others."""
    world.apply(champion_only(V1))
    pod = world.cluster.pods[0]
    generation = int(data_of(world, "generation"))
    world.services[V3].stop()
    clusters = envoy_config.clusters(champion_only(V1), world.endpoints(V1, V3), world.settings)
    clusters += envoy_config.clusters(champion_only(V3), {}, GatewaySettings())
    assert put(pod, "clusters", envoy_config.document(clusters)[1], generation=generation + 1).is_success
    load = world.clients_of(pod).start(connections=4, pause=0.01)
    threading.Timer(1.0, world.services[V3].start).start()
    routes = envoy_config.document([envoy_config.routes(champion_only(V3), world.settings)])[1]
    assert put(pod, "routes", routes, generation=generation + 1).is_success
    eventually(lambda: pod.split() == champion_only(V3))
    time.sleep(0.5)
    answers = load.end()
    assert answers.failed == 0
    assert answers.versions["v3"] > 0


def test_a_pod_whose_volume_was_mounted_too_early_asks_its_peers(world: FleetWorld) -> None:
    world.apply(split(75, 25))
    folder = world.folder / "pod-2"
    world.cluster.mount(folder / "config")
    world.apply(champion_only(V3))
    late = Pod("gw-2", "127.0.0.4", folder, folder / "config", world.ports)
    world.cluster.pods.append(late.start(peers=world.cluster.pods[0].agent))
    eventually(late.is_ready)
    assert late.split() == champion_only(V3)


def test_a_pod_that_nobody_told_follows_the_mounted_config_map_in_the_safe_order(world: FleetWorld) -> None:
    world.apply(split(50, 50))
    deaf = world.cluster.pods.pop()
    world.apply(champion_only(V3))
    assert deaf.split() == split(50, 50)
    load = world.clients_of(deaf).start(connections=4, pause=0.01)
    world.cluster.mount(deaf.config)
    eventually(lambda: deaf.split() == champion_only(V3))
    eventually(lambda: V1 not in {c["name"] for c in clusters_of(deaf)})
    assert load.end().failed == 0
    world.cluster.pods.append(deaf)
    assert world.fleet.read_back() == champion_only(V3)


def test_a_mounted_version_that_is_not_ready_takes_no_request_from_those_that_answer(
    world: FleetWorld,
) -> None:
    world.apply(split(50, 50))
    deaf = world.cluster.pods.pop()
    world.apply(champion_only(V3))
    world.services[V3].ready = False
    load = world.clients_of(deaf).start(connections=4, pause=0.01)
    world.cluster.mount(deaf.config)
    # Its agent looks every two seconds and waits two more for the version.
    eventually(lambda: V3 in {cluster["name"] for cluster in clusters_of(deaf)})
    time.sleep(2.5)
    answers = load.end()
    assert (answers.failed, answers.versions["v3"]) == (0, 0)
    assert deaf.split() == split(50, 50)
    world.services[V3].ready = True
    eventually(lambda: deaf.split() == champion_only(V3))


def test_a_container_that_starts_again_keeps_what_it_was_pushed(world: FleetWorld) -> None:
    world.apply(split(75, 25))
    pod = world.cluster.pods[0]
    world.apply(split(60, 40))
    pod.kill()
    assert world.fleet.read_back() == split(60, 40)
    pod.start()
    eventually(pod.is_ready)
    assert pod.split() == split(60, 40)
    assert world.fleet.read_back() == split(60, 40)


def test_a_ready_pod_that_refuses_holds_everything_back(world: FleetWorld) -> None:
    world.apply(split(75, 25))
    refusing = world.cluster.pods[1]
    (refusing.folder / "token").write_text("another")
    with pytest.raises(UnavailableError, match=r"pod gw-1: it answers with HTTP status 401"):
        world.apply(split(50, 50))
    assert world.cluster.pods[0].split() == split(75, 25)
    (refusing.folder / "token").write_text(TOKEN)
    world.apply(split(50, 50))
    assert world.fleet.read_back() == split(50, 50)


def test_a_pod_about_to_end_is_told_but_not_waited_for(world: FleetWorld) -> None:
    world.apply(split(75, 25))
    ending, gone = world.cluster.pods[1], world.add_pod()
    eventually(gone.is_ready)
    ending.deleted = gone.deleted = True
    gone.kill()
    world.apply(split(50, 50))
    assert world.fleet.read_back() == split(50, 50)
    eventually(lambda: ending.split() == split(50, 50))


def test_no_request_is_lost_while_weights_versions_and_pods_change(world: FleetWorld) -> None:
    world.apply(champion_only(V1))
    load = world.start(keyed=True, connections=8, pause=0.01)
    story = [
        split(100, 0, mirror=V2),
        split(75, 25),
        champion_only(V2),
        TrafficSplit(arms=(Arm(V2, Weight(60)), Arm(V3, Weight(40)))),
        champion_only(V3),
        champion_only(V1),
    ]
    try:
        for number, wanted in enumerate(story):
            leaving = [v for v in (V1, V2, V3) if v not in wanted.versions]
            world.apply(wanted)
            assert world.fleet.read_back() == wanted
            for version in leaving:
                world.services[version].stop()
            if number == 2:
                world.add_pod()
                eventually(world.cluster.pods[2].is_ready)
            if number == 3:
                world.cluster.pods[0].end()
            time.sleep(0.25)
            for version in leaving:
                world.services[version].start()
    finally:
        answers = load.end()
    assert answers.failed == 0
    assert sum(answers.versions.values()) > 300
    assert set(answers.versions) == {"v1", "v2", "v3"}


def test_envoy_dies_and_the_whole_container_with_it(world: FleetWorld) -> None:
    pod = world.cluster.pods[0]
    assert pod.process is not None
    children = Path(f"/proc/{pod.process.pid}/task/{pod.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert pod.process.wait(10) != 0


@pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x"], ids=["none", "wrong", "longer"])
def test_only_health_and_exported_counters_are_told_without_the_token(
    lasting: FleetWorld, token: str | None
) -> None:
    pod = lasting.cluster.pods[0]
    for path in ("/config", "/config_dump", "/stats", "/clusters", "/certs"):
        assert pod.ask(path, token).status_code == 401
    assert put(pod, "routes", b"{}", generation=2**40, token=token).status_code == 401
    counters = pod.ask("/stats/prometheus?filter=.*", token)
    assert counters.status_code == 200
    assert {line.split("{")[0].split(" ")[0] for line in counters.text.splitlines() if line[:1] != "#"} <= {
        "envoy_cluster_membership_healthy",
        "envoy_cluster_upstream_cx_connect_fail",
        "envoy_cluster_upstream_rq",
        "envoy_cluster_upstream_rq_completed",
        "envoy_cluster_upstream_rq_per_try_timeout",
        "envoy_cluster_upstream_rq_retry",
        "envoy_cluster_upstream_rq_rx_reset",
        "envoy_cluster_upstream_rq_timeout",
        "envoy_cluster_upstream_rq_xx",
        "envoy_http_downstream_rq_active",
        "envoy_http_downstream_rq_total",
        "envoy_http_downstream_rq_xx",
        "envoy_vhost_vcluster_upstream_rq",
        "envoy_vhost_vcluster_upstream_rq_completed",
        "envoy_vhost_vcluster_upstream_rq_time_bucket",
        "envoy_vhost_vcluster_upstream_rq_time_count",
        "envoy_vhost_vcluster_upstream_rq_time_sum",
        "envoy_vhost_vcluster_upstream_rq_xx",
        "",
    }


def test_what_could_do_harm_is_not_passed_on_even_with_the_token(lasting: FleetWorld) -> None:
    pod = lasting.cluster.pods[0]
    for path in ("/certs", "/quitquitquit", "/config/clusters", "/memory"):
        assert pod.ask(path).status_code == 404
    assert HTTP.post(f"{pod.agent}/quitquitquit").status_code == 501


def test_a_push_that_is_old_or_would_lose_requests_changes_nothing(lasting: FleetWorld) -> None:
    pod = lasting.cluster.pods[0]
    generation = int(data_of(lasting, "generation"))
    none = envoy_config.document([])[1]
    answer = put(pod, "clusters", none, generation=generation + 1)
    assert answer.status_code == 422
    assert "the routes use arm-v1, arm-v2-else-v1" in answer.json()["error"]
    old = put(pod, "routes", data_of(lasting, "routes.json").encode(), generation=generation - 1)
    assert old.status_code == 409
    for broken in (b"{ not json", b"[]", b'{"resources": [1]}'):
        assert put(pod, "routes", broken, generation=generation + 1).status_code == 422
    assert put(pod, "clusters", b"x" * (5 << 20), generation=generation + 1).status_code == 413
    assert lasting.fleet.read_back() == split(75, 25)


def put(pod: Pod, kind: str, content: bytes, *, generation: int, token: str | None = TOKEN) -> httpx.Response:
    headers = {GENERATION_HEADER: str(generation)}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return HTTP.put(f"{pod.agent}/config/{kind}", content=content, headers=headers)


def clusters_of(pod: Pod) -> list[Object]:
    dump = pod.ask("/config_dump?resource=dynamic_active_clusters").json()
    return [config["cluster"] for config in dump["configs"]]


def data_of(world: FleetWorld, key: str) -> str:
    assert world.cluster.config_map is not None
    return str(world.cluster.config_map["data"][key])
