"""Claims about who reaches the page's pods and whom they reach, by the policies that charts and operator make."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cluster.charts.rendering import NAMESPACE, objects
from cluster.toy_versions import toy_system

from capstan.cluster.names import MONITOR_PORT, Owner, SystemNames
from capstan.cluster.objects.recording import recording
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import SystemName
from capstan_page.app import METRICS_PORT, PORT

GOLDEN = Path(__file__).parents[2] / "cluster/charts/golden"
NAMES = SystemNames("team", SystemName("toy"))
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
STRANGER = {"app.kubernetes.io/name": "shop"}
Labels = Mapping[str, str]
Document = dict[str, Any]


def golden(case: str) -> list[Document]:
    return objects((GOLDEN / f"{case}.yaml").read_text())


def fits(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a label selector takes these labels; None, which is no selector, takes none."""
    if selector is None:
        return False
    told = {"In": lambda key, values: labels.get(key) in values, "Exists": lambda key, _: key in labels}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        told[one["operator"]](one["key"], one.get("values")) for one in selector.get("matchExpressions", ())
    )


class Cluster:
    """What some objects let through."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents

    def of(self, kind: str) -> Iterator[Document]:
        return (document for document in self._documents if document["kind"] == kind)

    def named(self, kind: str, name: str) -> Document:
        [found] = [one for one in self.of(kind) if one["metadata"]["name"] == name]
        return found

    def pod(self, selector: Labels) -> Document:
        """The template of the pods that a Service's selector takes."""
        [found] = [
            one["spec"]["template"]
            for kind in ("Deployment", "StatefulSet")
            for one in self.of(kind)
            if fits({"matchLabels": selector}, one["spec"]["template"]["metadata"]["labels"])
        ]
        return found

    def lets_in(self, namespace: str, pod: Document, port: int, origin: str, labels: Labels) -> bool:
        """Whether pods with these labels in the namespace `origin` reach the port."""
        about = [
            one["spec"]
            for one in self.of("NetworkPolicy")
            if one["metadata"]["namespace"] == namespace
            and "Ingress" in one["spec"]["policyTypes"]
            and fits(one["spec"]["podSelector"], pod["metadata"]["labels"])
        ]
        assert about, "no policy selects the pod"
        rules = [rule for policy in about for rule in policy.get("ingress") or ()]
        return any(
            port in {number_of(pod, one["port"]) for one in rule["ports"]}
            and any(is_peer(peer, namespace, origin, labels) for peer in rule["from"])
            for rule in rules
        )


def is_peer(peer: Mapping[str, Any], home: str, origin: str, labels: Labels) -> bool:
    if "namespaceSelector" in peer:
        there = fits(peer["namespaceSelector"], {"kubernetes.io/metadata.name": origin})
    else:
        there = home == origin
    return there and fits(peer.get("podSelector", {}), labels)


def number_of(pod: Document, port: int | str) -> int:
    """The number of a port of the pod, by its name; raises StopIteration where it has none of this name."""
    ports = [one for container in pod["spec"]["containers"] for one in container.get("ports", ())]
    return next(int(one["containerPort"]) for one in ports if port in (one["name"], one["containerPort"]))


@pytest.fixture(scope="module")
def page() -> Document:
    return Cluster(golden("operator")).named("Deployment", "capstan-page")["spec"]["template"]


@pytest.mark.parametrize("case", ["operator", "page-behind-a-proxy"])
def test_policy_budget_and_service_select_the_pods_of_the_deployment(case: str) -> None:
    cluster = Cluster(golden(case))
    template = cluster.named("Deployment", "capstan-page")["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert fits(cluster.named("NetworkPolicy", "capstan-page")["spec"]["podSelector"], labels)
    assert fits(cluster.named("PodDisruptionBudget", "capstan-page")["spec"]["selector"], labels)
    service = cluster.named("Service", "capstan-page")["spec"]
    assert fits({"matchLabels": service["selector"]}, labels)
    assert number_of(template, service["ports"][0]["targetPort"]) == PORT
    others = [one for one in cluster.of("Deployment") if one["metadata"]["name"] != "capstan-page"]
    policy = cluster.named("NetworkPolicy", "capstan-page")["spec"]
    for other in others:
        assert not fits(policy["podSelector"], other["spec"]["template"]["metadata"]["labels"])


def test_prometheus_reads_the_metrics_and_nobody_in_the_cluster_reaches_people_s_port(page: Document) -> None:
    cluster = Cluster(golden("operator"))
    assert cluster.lets_in(NAMESPACE, page, METRICS_PORT, NAMESPACE, PROMETHEUS)
    assert not cluster.lets_in(NAMESPACE, page, METRICS_PORT, NAMESPACE, STRANGER)
    for labels in (PROMETHEUS, STRANGER):
        assert not cluster.lets_in(NAMESPACE, page, PORT, NAMESPACE, labels)


def test_what_page_from_names_reaches_the_port_of_people_and_not_the_metrics() -> None:
    cluster = Cluster(golden("page-behind-a-proxy"))
    page = cluster.named("Deployment", "capstan-page")["spec"]["template"]
    assert cluster.lets_in(NAMESPACE, page, PORT, "ingress-nginx", STRANGER)
    assert not cluster.lets_in(NAMESPACE, page, METRICS_PORT, "ingress-nginx", STRANGER)
    assert not cluster.lets_in(NAMESPACE, page, PORT, "shop", STRANGER)


@pytest.mark.parametrize("setting", ["tracking_uri", "prometheus_url", "alertmanager_url"])
def test_the_page_reaches_what_its_settings_name(page: Document, setting: str) -> None:
    told = Cluster(golden("operator")).named("ConfigMap", "capstan-operator")["data"]["settings.json"]
    address = urlsplit(json.loads(told)[setting])
    stack = Cluster(golden("stack"))
    service = stack.named("Service", str(address.hostname).partition(".")[0])["spec"]
    [port] = [one for one in service["ports"] if one["port"] == address.port]
    pod = stack.pod(service["selector"])
    number = number_of(pod, port["targetPort"])
    assert stack.lets_in(NAMESPACE, pod, number, NAMESPACE, page["metadata"]["labels"])
    assert not stack.lets_in(NAMESPACE, pod, number, NAMESPACE, STRANGER)


def test_the_page_reaches_the_monitors_of_systems_in_other_namespaces(page: Document) -> None:
    settings = ClusterSettings(namespace=NAMESPACE)
    cluster = Cluster(recording(toy_system(), NAMES, settings, Owner("toy", "uid-1")))
    service = cluster.named("Service", NAMES.monitor)["spec"]
    pod = cluster.pod(service["selector"])
    labels = page["metadata"]["labels"]
    assert [one["port"] for one in service["ports"]] == [MONITOR_PORT]
    assert number_of(pod, service["ports"][0]["targetPort"]) == MONITOR_PORT
    assert cluster.lets_in("team", pod, MONITOR_PORT, NAMESPACE, labels)
    assert not cluster.lets_in("team", pod, MONITOR_PORT, "shop", STRANGER)


def test_no_policy_keeps_the_page_from_the_api_server() -> None:
    """Its address is the cluster's own, and a rule could only name it by a guess."""
    policy = Cluster(golden("operator")).named("NetworkPolicy", "capstan-page")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
