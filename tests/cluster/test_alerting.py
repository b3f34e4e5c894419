"""Alert rules as a real API server takes them: objects of the Prometheus operator, and keys of a ConfigMap."""

from __future__ import annotations

import pytest
from cluster.recorded_system import SYSTEM, recorded_system
from cluster.upstream import require_kinds

from capstan.adapters.kubernetes.alerting import MountedAlerting, OperatorAlerting, RuleFile, RuleReloader
from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.cluster.names import SystemNames
from capstan.cluster.objects.alerting import alerting, in_force, rule_file, rule_key
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import SystemName
from capstan.errors import CapstanError

KINDS = ("PrometheusRule", "PodMonitor", "AlertmanagerConfig")
AWAY = PrometheusQuery("http://127.0.0.1:1")


@pytest.fixture
def names(namespace: str) -> SystemNames:
    return SystemNames(namespace, SYSTEM)


def test_objects_of_the_prometheus_operator_are_taken_whole_and_change_nothing_the_second_time(
    kube: KubeClient, names: SystemNames
) -> None:
    require_kinds(kube, *KINDS)
    objects = alerting(recorded_system(), names, ClusterSettings(), None)
    assert OperatorAlerting(kube, objects).ensure() == ""
    first = {kind: kube.get(kind, names.rules, names.namespace) for kind in KINDS}
    for wanted in objects:
        found = first[wanted["kind"]]
        assert found is not None
        assert _within(wanted["spec"], found["spec"]), f"the API server dropped a part of {wanted['kind']}"
    assert OperatorAlerting(kube, objects).ensure() == ""
    for kind in KINDS:
        again, before = kube.get(kind, names.rules, names.namespace), first[kind]
        assert again is not None
        assert before is not None
        assert again["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_a_field_that_the_definitions_do_not_know_is_refused(kube: KubeClient, names: SystemNames) -> None:
    require_kinds(kube, *KINDS)
    (rule, *_) = alerting(recorded_system(), names, ClusterSettings(), None)
    rule["spec"]["groups"][0]["rules"][0]["for"] = "soon"
    with pytest.raises(CapstanError, match=r"spec\.groups"):
        kube.apply(rule)


def test_systems_share_a_config_map_and_leave_each_others_rules_alone(
    kube: KubeClient, names: SystemNames
) -> None:
    stack = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "prometheus-rules", "namespace": names.namespace},
    }
    kube.apply(stack)
    other = SystemNames("elsewhere", SystemName("other"))
    made = {one: _mounted(kube, names.namespace, one) for one in (names, other)}
    for mounted in made.values():
        assert "not yet in force" in mounted.ensure()
    kube.apply(stack)  # as an upgrade of the chart does
    assert sorted(_keys(kube, names.namespace)) == sorted(rule_key(one) for one in made)
    made[names].remove()
    assert _keys(kube, names.namespace) == [rule_key(other)]


def _mounted(kube: KubeClient, stack: str, names: SystemNames) -> MountedAlerting:
    system = recorded_system()
    file = RuleFile(
        stack, "prometheus-rules", rule_key(names), rule_file(system, names), in_force(system, names)
    )
    return MountedAlerting(kube, file, RuleReloader(AWAY))


def _keys(kube: KubeClient, stack: str) -> list[str]:
    found = kube.get("ConfigMap", "prometheus-rules", stack)
    assert found is not None
    return list(found.get("data") or {})


def _within(wanted: object, found: object) -> bool:
    """Whether all that is wanted is found; the API server adds defaults."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and _within(value, found[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_within, wanted, found))
    return wanted == found
