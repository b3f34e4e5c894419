"""How alert rules come to the Prometheus of a cluster: asked of a real Prometheus and an API server in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract.test_alert_rules import flights

from capstan.adapters.alertmanager.poller import AlertPoller
from capstan.adapters.alertmanager.server import AlertmanagerAlerts
from capstan.adapters.kubernetes.alerting import (
    CHECK_SECONDS,
    CONFIG_MAP_BYTES,
    RELOAD_SECONDS,
    MountedAlerting,
    OperatorAlerting,
    RuleFile,
    RuleReloader,
)
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.adapters.processes.children import ProcessSupervisor
from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.adapters.prometheus.server import PrometheusServer, PrometheusSettings
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.alerting import alerting, in_force, rule_file, rule_key
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import SystemName
from capstan.errors import CapstanError, NotFoundError, UnavailableError
from capstan.spec import MLSystem, parse
from capstan.testing.ports.waiting import eventually

OBJECTS = ("PrometheusRule", "PodMonitor", "AlertmanagerConfig")


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def names(system: str = "flight-delays", namespace: str = "team-a") -> SystemNames:
    return SystemNames(namespace, SystemName(system))


def file_of(system: MLSystem, of: SystemNames) -> RuleFile:
    return RuleFile("stack", "rules", rule_key(of), rule_file(system, of), in_force(system, of))


def config_map() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rules", "namespace": "stack"}}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    folder = tmp_path_factory.mktemp("prometheus")
    supervisor = ProcessSupervisor(folder / "processes", folder / "logs")
    server = PrometheusServer(
        supervisor, folder / "prometheus", PrometheusSettings(scrape_seconds=0.25, evaluate_seconds=0.25)
    )
    server.start()
    yield server
    supervisor.stop_all()


def mount(kube: MemoryKube, server: PrometheusServer) -> None:
    """What the kubelet does within a minute or two."""
    found = kube.get("ConfigMap", "rules", "stack")
    assert found is not None
    folder = server._folder / "rules"
    for file in folder.glob("*.yml"):
        file.unlink()
    for key, content in (found.get("data") or {}).items():
        (folder / key).write_text(content)


@pytest.mark.real
def test_rules_are_in_force_only_once_prometheus_evaluates_just_them(prometheus: PrometheusServer) -> None:
    kube, clock = MemoryKube(), Time()
    kube.create(config_map())
    reloader = RuleReloader(prometheus.query, clock=clock)
    system = flights()
    mounted = MountedAlerting(kube, file_of(system, names()), reloader, clock=clock)
    other = MountedAlerting(kube, file_of(system, names(namespace="team-b")), reloader, clock=clock)
    assert "not read them yet" in mounted.ensure()
    assert "not read them yet" in other.ensure()
    mount(kube, prometheus)

    def settled(one: MountedAlerting) -> bool:
        clock.now += RELOAD_SECONDS
        return one.ensure() == ""

    eventually(lambda: settled(mounted))
    eventually(lambda: settled(other))
    groups = {group["name"] for group in prometheus.query.ask("GET", "/api/v1/rules")["groups"]}
    assert groups == {
        f"{n}.flight-delays-{kind}" for n in ("team-a", "team-b") for kind in ("data", "operation")
    }
    calls = sum(kube.calls.values())
    assert mounted.ensure() == ""
    assert sum(kube.calls.values()) == calls
    # An edited file is in force only when its own rules are.
    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["monitoring"]["quality"]["maxDrop"] = 0.2
    edited = parse(document, base_dir=Path())
    changed = MountedAlerting(kube, file_of(edited, names()), reloader, clock=clock)
    assert changed.ensure()
    mount(kube, prometheus)
    eventually(lambda: settled(changed))
    # A stack that was installed anew has no rules: they are brought again.
    kube.delete("ConfigMap", "rules", "stack")
    kube.create(config_map())
    mount(kube, prometheus)
    prometheus.query.ask("POST", "/-/reload")
    eventually(lambda: not prometheus.query.instant(in_force(edited, names())))
    clock.now += CHECK_SECONDS
    assert changed.ensure()
    mount(kube, prometheus)
    eventually(lambda: settled(changed))
    changed.remove()
    changed.remove()
    found = kube.get("ConfigMap", "rules", "stack")
    assert found is not None
    assert not (found.get("data") or {}).keys() & {rule_key(names())}


def test_a_prometheus_that_is_away_is_told_and_not_waited_for() -> None:
    kube = MemoryKube()
    kube.create(config_map())
    away = PrometheusQuery("http://127.0.0.1:1")
    mounted = MountedAlerting(kube, file_of(flights(), names()), RuleReloader(away))
    began = time.monotonic()
    assert "not yet in force" in mounted.ensure()
    assert time.monotonic() - began < 2
    found = kube.get("ConfigMap", "rules", "stack")
    assert found is not None
    assert list(found["data"]) == ["team-a.flight-delays.yml"]


def test_a_full_or_absent_config_map_names_the_way_out() -> None:
    kube = MemoryKube()
    mounted = MountedAlerting(
        kube, file_of(flights(), names()), RuleReloader(PrometheusQuery("http://127.0.0.1:1"))
    )
    with pytest.raises(NotFoundError, match="charts/capstan-stack"):
        mounted.ensure()
    kube.create({**config_map(), "data": {"others.yml": "#" * CONFIG_MAP_BYTES}})
    with pytest.raises(CapstanError, match="install the Prometheus operator"):
        mounted.ensure()


def test_objects_are_applied_where_the_cluster_knows_them() -> None:
    objects = alerting(flights(), names(), ClusterSettings(), Owner("flight-delays", "uid"))
    assert [one["kind"] for one in objects] == list(OBJECTS)
    clock, kube = Time(), MemoryKube()
    by_objects = OperatorAlerting(kube, objects, clock=clock)
    assert by_objects.ensure() == ""
    calls = sum(kube.calls.values())
    assert by_objects.ensure() == ""
    assert sum(kube.calls.values()) == calls
    assert kube.get("PodMonitor", "flight-delays-capstan", "team-a") is not None
    without = OperatorAlerting(MemoryKube(without=OBJECTS), objects)
    assert "install charts/capstan-stack or the Prometheus operator" in without.ensure()


class Manager(httpx.BaseTransport):
    """An Alertmanager's answer, counted."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("refused")
        alert = {"annotations": {"as_of": "1362373200", "summary": "why"}, "fingerprint": "f"}
        labels = {"alertname": "DriftDetected", "kind": "data", "version": "v1", "system": "flight-delays"}
        return httpx.Response(
            200,
            json=[
                {**alert, "labels": {**labels, "namespace": "team-a"}},
                {**alert, "labels": {**labels, "namespace": "team-b", "version": "v2"}},
                {**alert, "labels": {**labels, "namespace": "team-a", "kind": "operation"}},
            ],
        )


def test_one_question_answers_all_systems_for_a_few_seconds_and_namespaces_stay_apart() -> None:
    clock, manager = Time(), Manager()
    poller = AlertPoller("http://alertmanager", max_age_seconds=3, clock=clock)
    poller._client = httpx.Client(transport=manager, base_url="http://alertmanager")
    systems = [
        AlertmanagerAlerts(poller, SystemName(name), namespace=namespace)
        for name in ("flight-delays", "other")
        for namespace in ("team-a", "team-b")
    ]
    found = [[alert.version for alert in system.active()] for system in systems]
    assert (found, manager.asked) == ([["v1"], ["v2"], [], []], 1)
    clock.now += 3
    systems[0].active()
    assert manager.asked == 2
    poller.forget()
    systems[0].active()
    assert manager.asked == 3
    clock.now, manager.away = clock.now + 3, True
    for system in systems:
        with pytest.raises(UnavailableError, match="Alertmanager"):
            system.active()
    assert manager.asked == 4
