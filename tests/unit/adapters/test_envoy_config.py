"""Claims about Envoy's configuration as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.adapters.envoy import bootstrap as envoy_bootstrap
from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import GatewaySettings
from capstan.domain.traffic import Arm, Interleaved, Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.verdicts.interleaving import Method
from capstan.domain.versions import VersionName
from capstan.ports.serving import Endpoint

V1, V2, V3 = VersionName("v1"), VersionName("v2"), VersionName("v3")
SETTINGS = GatewaySettings(collector=Endpoint("127.0.0.1", 9999))
ENDPOINTS = {name: Endpoint("127.0.0.1", 5000 + number) for number, name in enumerate((V1, V2, V3))}
CANARY = TrafficSplit(
    arms=(Arm(V1, Weight(75)), Arm(V2, Weight(25))), mirrors=(Mirror(V3, Weight(50)),), salt="r1"
)


def route_for(path: str, split: TrafficSplit = CANARY) -> dict[str, Any]:
    table = envoy_config.routes(split, SETTINGS)["virtual_hosts"][0]["routes"]
    return next(route for route in table if route["match"] in ({"path": path}, {"prefix": path}))["route"]


@given(
    weight=st.integers(0, 100),
    percent=st.integers(0, 100),
    salt=st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20),
    mirrored=st.booleans(),
)
def test_a_route_table_tells_its_split(weight: int, percent: int, salt: str, mirrored: bool) -> None:
    split = TrafficSplit(
        arms=(Arm(V1, Weight(100 - weight)), Arm(V2, Weight(weight))),
        mirrors=(Mirror(V3, Weight(percent)),) if mirrored else (),
        salt=salt,
    )
    table = orjson.loads(orjson.dumps(envoy_config.routes(split, SETTINGS)))
    assert envoy_config.split_of(table) == split


@given(
    percent=st.integers(1, 100),
    salt=st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20),
    method=st.sampled_from(Method),
)
def test_a_route_table_tells_what_is_interleaved(percent: int, salt: str, method: Method) -> None:
    split = TrafficSplit(
        champion_only(V1).arms, salt=salt, interleaved=Interleaved(V2, Weight(percent), method)
    )
    table = orjson.loads(orjson.dumps(envoy_config.routes(split, SETTINGS, ENDPOINTS)))
    assert envoy_config.split_of(table) == split
    assert split.versions == {V1, V2}


def test_only_predictions_are_interleaved() -> None:
    split = TrafficSplit(champion_only(V1).arms, interleaved=Interleaved(V2, Weight(100), Method.TEAM_DRAFT))
    table = envoy_config.routes(split, SETTINGS, ENDPOINTS)["virtual_hosts"][0]["routes"]
    by_match = {orjson.dumps(route["match"]).decode(): route.get("route", {}) for route in table}
    arms = {
        match: [arm["name"] for arm in route["weighted_clusters"]["clusters"]]
        for match, route in by_match.items()
        if "weighted_clusters" in route
    }
    others = [arms.pop(match) for match in ('{"prefix":"/v2/"}', '{"path":"/explain"}')]
    assert others == [["arm-v1"], ["arm-v1"]]
    assert set(map(tuple, arms.values())) == {("arm-v1", "arm-combiner-else-v1")}


def test_a_combiner_falls_back_to_the_champion() -> None:
    split = TrafficSplit(champion_only(V1).arms, interleaved=Interleaved(V2, Weight(100), Method.TEAM_DRAFT))
    found = {cluster["name"]: cluster for cluster in envoy_config.clusters(split, ENDPOINTS, SETTINGS)}
    assert envoy_config.members(found["arm-combiner-else-v1"]) == {"combiner", "v1"}


def test_differing_gateways_tell_a_challenger_that_one_of_them_interleaves() -> None:
    split = TrafficSplit(champion_only(V1).arms, interleaved=Interleaved(V2, Weight(100), Method.TEAM_DRAFT))
    found = envoy_config.agreed([split, champion_only(V1)])
    assert found is not None
    assert found.versions == {V1, V2}
    assert found not in (split, champion_only(V1))


def test_no_split_routes_nothing() -> None:
    assert envoy_config.split_of(envoy_config.routes(None, SETTINGS)) is None


def test_a_challenger_falls_back_to_the_champion_and_the_champion_to_nobody() -> None:
    found = {cluster["name"]: cluster for cluster in envoy_config.clusters(CANARY, ENDPOINTS, SETTINGS)}
    members = {
        name: cluster["cluster_type"]["typed_config"]["clusters"]
        for name, cluster in found.items()
        if "cluster_type" in cluster
    }
    assert members == {"arm-v1": ["v1"], "arm-v2-else-v1": ["v2", "v1"]}
    assert found.keys() == {"v1", "v2", "v3", "collector", *members}


def test_another_champion_is_another_fallback_cluster() -> None:
    swapped = TrafficSplit(arms=(Arm(V3, Weight(75)), Arm(V2, Weight(25))))
    names = {cluster["name"] for cluster in envoy_config.clusters(swapped, ENDPOINTS, SETTINGS)}
    assert "arm-v2-else-v3" in names
    assert "arm-v2-else-v1" not in names


def test_every_retry_may_run_at_once() -> None:
    for cluster in envoy_config.clusters(CANARY, ENDPOINTS, SETTINGS):
        assert cluster["circuit_breakers"]["thresholds"][0]["max_retries"] > 1000


def test_only_the_key_decides_the_arm() -> None:
    policies = route_for("/predict")["hash_policy"]
    assert [policy["header"]["header_name"] for policy in policies] == ["x-capstan-key"]


def test_predictions_are_mirrored_and_metadata_is_not() -> None:
    assert [policy["cluster"] for policy in route_for("/predict")["request_mirror_policies"]] == ["v3"]
    assert "request_mirror_policies" not in route_for("/v2/")
    assert "request_mirror_policies" not in route_for("/explain")


@pytest.mark.parametrize("path", ["/feedback", "/events"])
def test_feedback_and_events_are_neither_split_nor_mirrored_nor_retried(path: str) -> None:
    assert route_for(path) == {"cluster": "collector", "timeout": "15s"}


@pytest.mark.parametrize("host", ["models.internal", "localhost"])
def test_a_host_name_is_resolved_and_an_address_is_not(host: str) -> None:
    assert envoy_config.version_cluster(V1, Endpoint(host, 1))["type"] == "STRICT_DNS"
    assert envoy_config.version_cluster(V1, Endpoint("10.0.0.7", 1))["type"] == "STATIC"


def test_the_same_configuration_has_the_same_version_and_another_another() -> None:
    one = envoy_config.document([envoy_config.routes(CANARY, SETTINGS)])
    assert one == envoy_config.document([envoy_config.routes(CANARY, SETTINGS)])
    assert one[0] != envoy_config.document([envoy_config.routes(champion_only(V1), SETTINGS)])[0]


def test_the_bootstrap_listens_where_it_is_told_and_shares_its_port_with_nobody() -> None:
    settings = GatewaySettings(port=7480, host="127.0.0.1", admin_port=9901)
    bootstrap = envoy_bootstrap.bootstrap(settings, Path("/c/clusters.json"), Path("/r/routes.json"))
    listener = bootstrap["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 7480}
    assert listener["enable_reuse_port"] is False
    assert bootstrap["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
