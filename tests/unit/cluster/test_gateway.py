"""What the gateway of a system looks like as objects, and a system over Istio."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cluster.toy_versions import toy_system

from capstan.adapters.kubernetes.serving import Artifact
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.gateway import GRACE_SECONDS
from capstan.cluster.settings import ClusterSettings, Images
from capstan.cluster.wiring.traffic import traffic_of, wire_traffic
from capstan.cluster.wiring.traffic.istio import shared_predictor
from capstan.cluster.wiring.traffic.provider import Surroundings
from capstan.domain.versions import Digest, SystemName, VersionName
from capstan.errors import InvalidSpecError
from capstan.gateway.agent import options

GOLDEN = Path(__file__).parent / "objects"
NAMES = SystemNames("team", SystemName("toy"))
SETTINGS = ClusterSettings(images=Images(gateway="capstan-gateway:1", serving="capstan-serving:1"))
V3 = VersionName("v3")
ARTIFACT = Artifact("toy:0123", Digest(f"sha256:{'ab' * 32}"))


def rendered(**traffic: Any) -> list[Any]:
    system = toy_system(traffic=traffic)
    return traffic_of(system).objects(NAMES, SETTINGS, Owner("toy", "uid-1"))


def test_objects_are_as_reviewed() -> None:
    """After a wanted change: REWRITE_OBJECTS=1, then read the diff."""
    text = yaml.safe_dump_all(rendered(), sort_keys=False, width=110)
    file = GOLDEN / "gateway.yaml"
    if os.environ.get("REWRITE_OBJECTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text


def test_the_config_map_is_rendered_without_data_so_that_applying_it_takes_none_away() -> None:
    [found] = [document for document in rendered() if document["kind"] == "ConfigMap"]
    assert "data" not in found


def test_the_agent_understands_what_it_is_started_with_and_drains_within_the_grace() -> None:
    [deployment] = [document for document in rendered() if document["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"][:3] == ["python", "-m", "capstan.gateway.agent"]
    asked = options(container["command"][3:])
    assert {port["containerPort"] for port in container["ports"]} == {asked.port, asked.agent_port}
    stops_seconds = 5
    assert asked.endpoints_seconds + asked.drain_seconds + stops_seconds < GRACE_SECONDS


def test_over_istio_there_is_no_gateway_of_ours_and_anybody_may_ask_the_predictors() -> None:
    models, collector = rendered(provider="Istio")
    assert {models["kind"], collector["kind"]} == {"NetworkPolicy"}
    assert models["spec"]["podSelector"] == {"matchLabels": NAMES.selector("model")}
    assert models["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8000}]}]
    assert collector["spec"]["podSelector"] == {"matchLabels": NAMES.selector("collector")}
    assert collector["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8081}]}]


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ((), r"traffic\.provider: 'Istio' needs Seldon"),
        (("SeldonDeployment",), r"traffic\.provider: 'Istio' needs Istio"),
    ],
    ids=["no Seldon", "no Istio"],
)
def test_istio_is_refused_where_it_is_not_installed(kinds: tuple[str, ...], said: str) -> None:
    kube = MemoryKube()
    kube.serves = lambda kind: kind in kinds  # type: ignore[method-assign]
    system = toy_system(traffic={"provider": "Istio"})
    with pytest.raises(InvalidSpecError, match=said):
        wire_traffic(system, Surroundings(kube, httpx.Client(), NAMES, SETTINGS, None, {"executor": "token"}))


@pytest.mark.parametrize(("shadow", "arm"), [(False, "live"), (True, "shadow")], ids=["live", "shadow"])
def test_behind_an_executor_the_executor_alone_logs_the_payloads(shadow: bool, arm: str) -> None:
    found = shared_predictor(toy_system(), NAMES, SETTINGS, V3, ARTIFACT, "t0", shadow=shadow)
    assert found["graph"]["logger"]["url"] == f"http://toy-collector.team.svc:8081/seldon/t0/{arm}"
    assert "CAPSTAN_COLLECTOR_URL" not in variables(found)


def test_without_an_executor_the_service_logs_its_payloads_itself() -> None:
    settings = SETTINGS.model_copy(update={"seldon_executor": False})
    found = shared_predictor(toy_system(), NAMES, settings, V3, ARTIFACT, "t0", shadow=True)
    assert "logger" not in found["graph"]
    assert "CAPSTAN_COLLECTOR_URL" in variables(found)


def variables(predictor: Any) -> set[str]:
    return {entry["name"] for entry in predictor["componentSpecs"][0]["spec"]["containers"][0]["env"]}
