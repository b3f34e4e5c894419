"""What the gateway of a system looks like as objects, and a system over Istio."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cluster.toy_versions import toy_system

from capstan.adapters.kubernetes.serving import Artifact
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.alerting import alerting
from capstan.cluster.objects.gateway import GRACE_SECONDS
from capstan.cluster.settings import ClusterSettings, Images
from capstan.cluster.wiring.traffic import traffic_of, wire_traffic
from capstan.cluster.wiring.traffic.istio import shared_predictor
from capstan.cluster.wiring.traffic.provider import Surroundings
from capstan.domain.traffic import Interleaved, Weight, champion_only
from capstan.domain.verdicts.interleaving import Method
from capstan.domain.versions import Digest, SystemName, VersionName
from capstan.errors import InvalidSpecError
from capstan.gateway.agent import options
from capstan.ports.combining import INTERLEAVED_METRIC
from capstan.serving.combiner.process import CombinerConfig
from capstan.spec.interleave import Interleave
from capstan.spec.rollout import Step

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "objects"
NAMES = SystemNames("team", SystemName("toy"))
SETTINGS = ClusterSettings(images=Images(gateway="capstan-gateway:1", serving="capstan-serving:1"))
V1, V3 = VersionName("v1"), VersionName("v3")
ARTIFACT = Artifact("toy:0123", Digest(f"sha256:{'ab' * 32}"))


def rendered(**traffic: Any) -> list[Any]:
    system = toy_system(traffic=traffic)
    return traffic_of(system).objects(system, NAMES, SETTINGS, Owner("toy", "uid-1"))


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


def test_a_step_that_interleaves_puts_the_combiner_beside_each_envoy() -> None:
    system = toy_system()
    steps = (Step(interleave=Interleave(event="click")),)
    rollout = system.spec.rollout.model_copy(update={"steps": steps})
    system = system.model_copy(update={"spec": system.spec.model_copy(update={"rollout": rollout})})
    objects = traffic_of(system).objects(system, NAMES, SETTINGS, None)
    [deployment] = [document for document in objects if document["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    [combiner], [envoy] = spec["initContainers"], spec["containers"]
    assert combiner["restartPolicy"] == "Always", "it ends after Envoy, whose requests it answers"
    assert combiner["image"] == "capstan-serving:1"
    assert combiner["securityContext"] == envoy["securityContext"]
    config = CombinerConfig(**json.loads(combiner["command"][-1]))
    [port] = combiner["ports"]
    asked = options(envoy["command"][3:])
    assert config.port == port["containerPort"] == asked.combiner_port
    assert config.port not in (asked.port, asked.agent_port, asked.admin_port)
    assert config.collector_url == "http://toy-collector.team.svc:8081"
    for probe in ("startupProbe", "livenessProbe"):
        assert combiner[probe]["httpGet"]["port"] == port["name"]
    assert "readinessProbe" not in combiner, "without it Envoy asks the champion, and the pod takes requests"
    around = Surroundings(MemoryKube(), httpx.Client(), NAMES, SETTINGS, None, {"internal": "token"})
    _, fleet = wire_traffic(system, around)
    wanted = replace(champion_only(V1), interleaved=Interleaved(V3, Weight(100), Method.TEAM_DRAFT))
    assert fleet.refusal(wanted) is None
    _, plain = wire_traffic(toy_system(), around)
    assert "where a step of the file interleaves" in (plain.refusal(wanted) or "")


@pytest.mark.parametrize("where", ["the stack's Prometheus", "the Prometheus operator"])
def test_prometheus_keeps_what_the_gateway_and_its_combiner_count(where: str) -> None:
    if where == "the stack's Prometheus":
        text = (ROOT / "charts/capstan-stack/files/prometheus.yml").read_text()
        [kept] = re.findall(r'\[job, __name__\], regex: "(.+?)", action: keep', text)
    else:
        rules = alerting(toy_system(), NAMES, SETTINGS, None)
        [endpoint] = next(one for one in rules if one["kind"] == "PodMonitor")["spec"]["podMetricsEndpoints"]
        [kept] = [one["regex"] for one in endpoint["metricRelabelings"]]
    for name in (INTERLEAVED_METRIC, "envoy_cluster_upstream_rq_retry"):
        assert re.fullmatch(kept, f"envoy;{name}"), name
    assert not re.fullmatch(kept, "envoy;envoy_server_uptime")


def test_over_istio_there_is_no_gateway_of_ours_and_anybody_may_ask_the_predictors() -> None:
    models, collector, budget = rendered(provider="Istio")
    assert {models["kind"], collector["kind"]} == {"NetworkPolicy"}
    assert models["spec"]["podSelector"] == {"matchLabels": NAMES.selector("model")}
    assert models["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8000}]}]
    assert collector["spec"]["podSelector"] == {"matchLabels": NAMES.selector("collector")}
    assert collector["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8081}]}]
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "selector": {"matchLabels": {"seldon-deployment-id": str(NAMES.system)}},
    }


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


@pytest.mark.parametrize(("shadow", "copies"), [(False, "0"), (True, "1")], ids=["live", "shadow"])
def test_without_an_executor_the_service_logs_its_payloads_itself_and_knows_if_they_are_copies(
    shadow: bool, copies: str
) -> None:
    settings = SETTINGS.model_copy(update={"seldon_executor": False})
    found = shared_predictor(toy_system(), NAMES, settings, V3, ARTIFACT, "t0", shadow=shadow)
    assert "logger" not in found["graph"]
    assert "CAPSTAN_COLLECTOR_URL" in variables(found)
    assert variables(found)["CAPSTAN_COPIES"] == copies


def variables(predictor: Any) -> dict[str, str | None]:
    entries = predictor["componentSpecs"][0]["spec"]["containers"][0]["env"]
    return {entry["name"]: entry.get("value") for entry in entries}
