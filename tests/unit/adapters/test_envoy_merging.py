"""Claims about one Envoy's documents made of those of several systems."""

from __future__ import annotations

import re
from typing import Any, cast

import orjson
from hypothesis import given
from hypothesis import strategies as st

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy import merging
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.merging import Fragment
from capstan.adapters.envoy.shared import EnvoyShare, SharedEnvoy
from capstan.adapters.envoy.stats import PREDICTIONS
from capstan.domain.traffic import Arm, Mirror, TrafficSplit, Weight
from capstan.domain.versions import VersionName
from capstan.ports.serving import Endpoint

V1, V2, V3 = VersionName("v1"), VersionName("v2"), VersionName("v3")
SETTINGS = GatewaySettings(collector=Endpoint("127.0.0.1", 9999))
ENDPOINTS = {name: Endpoint("127.0.0.1", 5000 + number) for number, name in enumerate((V1, V2, V3))}
CANARY = TrafficSplit(
    arms=(Arm(V1, Weight(75)), Arm(V2, Weight(25))), mirrors=(Mirror(V3, Weight(50)),), salt="r1"
)


def fragments(*names: str, split: TrafficSplit = CANARY) -> dict[str, dict[Any, Fragment]]:
    clusters = envoy_config.document(envoy_config.clusters(split, ENDPOINTS, SETTINGS))[1]
    routes = envoy_config.document([envoy_config.routes(split, SETTINGS)])[1]
    return {
        "clusters": {name: Fragment.of(clusters) for name in names},
        "routes": {name: Fragment.of(routes) for name in names},
    }


def merged(kind: Any, *names: str, root: str | None = None, split: TrafficSplit = CANARY) -> dict[str, Any]:
    content = merging.merged(kind, fragments(*names, split=split)[kind], root=root, port=7480)
    document: dict[str, Any] = orjson.loads(content)
    return document


def table(*names: str, root: str | None = None) -> list[dict[str, Any]]:
    """Routes for those who name no host."""
    hosts = merged("routes", *names, root=root)["resources"][0]["virtual_hosts"]
    [everybody] = [host for host in hosts if host["domains"] == ["*"]]
    found: list[dict[str, Any]] = everybody["routes"]
    return found


def test_versions_of_the_same_name_are_apart() -> None:
    names = [cluster["name"] for cluster in merged("clusters", "bikes", "flights")["resources"]]
    assert len(names) == len(set(names))
    assert {"bikes/v1", "flights/v1", "bikes/collector", "flights/arm-v2-else-v1"} <= set(names)


def test_an_arm_stands_for_clusters_of_its_own_system() -> None:
    found = {cluster["name"]: cluster for cluster in merged("clusters", "bikes", "flights")["resources"]}
    assert envoy_config.members(found["bikes/arm-v2-else-v1"]) == {"bikes/v2", "bikes/v1"}


def test_each_route_leads_to_clusters_that_are_there() -> None:
    clusters = {cluster["name"] for cluster in merged("clusters", "bikes", "flights")["resources"]}
    routes = merged("routes", "bikes", "flights", root="flights")["resources"][0]
    used = envoy_config.used_clusters(routes)
    assert used <= clusters
    assert {name.partition("/")[0] for name in used} == {"bikes", "flights"}


def test_the_first_system_alone_answers_paths_without_a_name() -> None:
    [bare] = [
        route for route in table("bikes", "flights", root="flights") if route["match"] == {"path": "/predict"}
    ]
    assert {part["name"].partition("/")[0] for part in bare["route"]["weighted_clusters"]["clusters"]} == {
        "flights"
    }


def test_without_a_first_the_answer_names_the_systems() -> None:
    [other] = [route for route in table("bikes", "flights") if route["match"] == {"prefix": "/"}]
    assert other["direct_response"]["status"] == 404
    assert "/bikes/predict, /flights/predict" in other["direct_response"]["body"]["inline_string"]


def test_with_a_first_a_path_that_nobody_has_names_the_other_systems_too() -> None:
    said = [
        route["direct_response"]["body"]["inline_string"]
        for route in table("bikes", "flights", "ships", root="flights")
        if route["match"] == {"prefix": "/"} and "direct_response" in route
    ]
    assert [text.endswith("asked at /bikes/predict, /ships/predict") for text in said] == [True]
    assert not [one for one in table("bikes", root="bikes") if "Other systems" in str(one)]


def test_a_version_never_sees_the_prefix() -> None:
    rewritten = 0
    for route in table("bikes"):
        action = route.get("route")
        if action is not None and "weighted_clusters" in action:
            rewrite = action.get("regex_rewrite")
            if rewrite is None:
                matched = route["match"].get("path") or route["match"]["prefix"]
                assert f"/bikes{action['prefix_rewrite']}".rstrip("/") == matched.rstrip("/")
                continue
            asked = "/bikes/v2/models/m/infer"
            assert re.fullmatch(route["match"]["safe_regex"]["regex"], asked)
            seen = re.sub(rewrite["pattern"]["regex"], rewrite["substitution"], asked)
            assert seen == "/v2/models/m/infer"
            rewritten += 1
    assert rewritten == 1


def test_a_system_with_the_name_of_a_path_is_asked_by_its_host_alone() -> None:
    routes = merged("routes", "v2", "flights", root="flights")["resources"][0]
    assert not any(str(route["match"]).startswith("{'path': '/v2/") for route in table("v2", "flights"))
    assert "v2.localhost" in next(host["domains"] for host in routes["virtual_hosts"] if host["name"] == "v2")


def test_a_system_called_capstan_reads_its_own_split_alone() -> None:
    whole = TrafficSplit((Arm(V1, Weight(100)),), salt="alone")
    parts = {
        "bikes": fragments("bikes")["routes"]["bikes"],
        "capstan": fragments("capstan", split=whole)["routes"]["capstan"],
    }
    document = orjson.loads(merging.merged("routes", parts, root="bikes", port=7480))
    dump = [{"version_info": document["version_info"], "route_config": document["resources"][0]}]
    [own] = merging.own_routes(dump, "capstan")
    assert [host["name"] for host in own["route_config"]["virtual_hosts"]] == ["capstan"]
    assert envoy_config.split_of(own["route_config"]) == whole


class Counting:
    """An Envoy that has counted predictions of two systems by path."""

    def __init__(self) -> None:
        routes = merged("routes", "bikes", "capstan")["resources"][0]
        [host] = [host["name"] for host in routes["virtual_hosts"] if host["domains"] == ["*"]]
        self.stats = {
            f"vhost.{host}.vcluster.bikes.upstream_rq_2xx": 5,
            f"vhost.{host}.vcluster.capstan.upstream_rq_2xx": 2,
            "vhost.capstan.vcluster.capstan.upstream_rq_2xx": 1,
        }

    def ask(self, path: str, **query: str) -> Any:
        assert path == "/stats"
        found = {name: value for name, value in self.stats.items() if re.search(query["filter"], name)}
        return {"stats": [{"name": name, "value": value} for name, value in found.items()]}


def test_predictions_are_counted_by_path_and_by_host() -> None:
    for system, count in (("bikes", 5), ("capstan", 3)):
        share = EnvoyShare(cast("SharedEnvoy", Counting()), system)
        [stat] = share.ask("/stats", filter="^vhost")["stats"]
        assert stat == {"name": f"{PREDICTIONS}2xx", "value": count}


@given(
    weight=st.integers(0, 100),
    salt=st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20),
)
def test_a_system_reads_its_own_documents_back(weight: int, salt: str) -> None:
    split = TrafficSplit((Arm(V1, Weight(100 - weight)), Arm(V2, Weight(weight))), salt=salt)
    routes = merged("routes", "bikes", "flights", split=split)
    dump = [{"version_info": routes["version_info"], "route_config": routes["resources"][0]}]
    [own] = merging.own_routes(dump, "bikes")
    assert envoy_config.split_of(own["route_config"]) == split
    assert own["version_info"] == fragments("bikes", split=split)["routes"]["bikes"].version
    clusters = merged("clusters", "bikes", "flights", split=split)
    found = merging.own_clusters([{"cluster": cluster} for cluster in clusters["resources"]], "bikes")
    assert [one["cluster"] for one in found] == envoy_config.clusters(split, ENDPOINTS, SETTINGS)


def test_another_first_system_is_another_document() -> None:
    versions = {
        merged("routes", "bikes", "flights", root=root)["version_info"] for root in (None, "bikes", "flights")
    }
    assert len(versions) == 3
