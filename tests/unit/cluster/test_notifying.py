"""The Alertmanager of a system's own, for its people where no Prometheus operator configures one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.toy_versions import toy_system

from capstan.adapters.kubernetes.alerting import APPLY_AGAIN_SECONDS, ToldPeople
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.notifying import alertmanager_config, notifying, unwanted
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import SystemName
from capstan.errors import CapstanError
from capstan.ports.kube import FIELD_MANAGER, Object
from capstan.spec import MLSystem, parse

GOLDEN = Path(__file__).parent / "objects" / "notifying.yaml"
NAMES = SystemNames("team", SystemName("toy"))
OWNER = Owner("toy", "uid-1")
PEOPLE: list[dict[str, Any]] = [
    {
        "name": "on-call",
        "severity": "critical",
        "webhook": {
            "url": "https://pager.example.com/capstan",
            "tokenFrom": {"secretKeyRef": {"name": "pager", "key": "token"}},
        },
    },
    {"name": "team", "slack": {"urlFrom": {"secretKeyRef": {"name": "slack", "key": "url"}}}},
    {
        "name": "mail",
        "email": {
            "to": "ops@example.com",
            "sender": "capstan@example.com",
            "server": "smtp.example.com:587",
            "username": "capstan",
            "passwordFrom": {"secretKeyRef": {"name": "slack", "key": "password"}},
        },
    },
]


def telling(people: list[dict[str, Any]]) -> MLSystem:
    document = toy_system().model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["monitoring"] = {"receivers": people}
    return parse(document, base_dir=Path())


def test_objects_are_as_reviewed() -> None:
    """After a wanted change: REWRITE_OBJECTS=1, then read the diff."""
    documents = notifying(telling(PEOPLE), NAMES, ClusterSettings(), OWNER)
    text = yaml.safe_dump_all(documents, sort_keys=False, width=110)
    if os.environ.get("REWRITE_OBJECTS"):
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text


def test_another_file_is_another_pod_and_the_same_file_the_same() -> None:
    def marked(people: list[dict[str, Any]]) -> object:
        _, deployment, _ = notifying(telling(people), NAMES, ClusterSettings(), OWNER)
        return deployment["spec"]["template"]["metadata"]["annotations"]

    assert marked(PEOPLE) == marked(PEOPLE)
    assert marked(PEOPLE) != marked(PEOPLE[:1])


def test_alerts_of_a_system_of_the_same_name_elsewhere_are_not_its_own() -> None:
    route = yaml.safe_load(alertmanager_config(telling(PEOPLE), NAMES))["route"]
    assert route["receiver"] == "nobody"
    assert [one["matchers"][:2] for one in route["routes"]] == [['system="toy"', 'namespace="team"']] * 3


class Rules:
    """Alert rules that are in force at once."""

    def __init__(self) -> None:
        self.is_removed = False
        self.brought = 0

    def ensure(self) -> str:
        self.brought += 1
        return ""

    def remove(self) -> None:
        self.is_removed = True


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(kube: MemoryKube, people: list[dict[str, Any]], clock: Time) -> ToldPeople:
    objects = notifying(telling(people), NAMES, ClusterSettings(), OWNER)
    return ToldPeople(Rules(), kube, "team", objects, () if objects else unwanted(NAMES), clock=clock)


def kinds(kube: MemoryKube) -> list[str]:
    wanted = ("ConfigMap", "Deployment", "NetworkPolicy")
    return [kind for kind in wanted if kube.get(kind, NAMES.alertmanager, "team") is not None]


def test_it_comes_with_the_first_receiver_and_goes_with_the_last() -> None:
    kube, clock = MemoryKube(), Time()
    assert told(kube, [], clock).ensure() == ""
    assert kinds(kube) == []
    telling_all = told(kube, PEOPLE, clock)
    assert telling_all.ensure() == ""
    assert kinds(kube) == ["ConfigMap", "Deployment", "NetworkPolicy"]
    # The policy of pods that are not there does nothing, and the operator may not delete policies.
    assert told(kube, [], clock).ensure() == ""
    assert not {"ConfigMap", "Deployment"} & {*kinds(kube)}


def test_it_is_applied_now_and_then_since_somebody_may_have_deleted_it() -> None:
    kube, clock = MemoryKube(), Time()
    people = told(kube, PEOPLE, clock)
    people.ensure()
    kube.delete("Deployment", NAMES.alertmanager, "team")
    people.ensure()
    assert "Deployment" not in kinds(kube)
    clock.now += APPLY_AGAIN_SECONDS
    people.ensure()
    assert "Deployment" in kinds(kube)


class Refusing(MemoryKube):
    """A cluster in which a policy, or a quota, takes no Deployment."""

    refuses = True

    def apply(self, document: Object, *, manager: str = FIELD_MANAGER) -> Object:
        if self.refuses and document["kind"] == "Deployment":
            raise CapstanError("the API server refuses Deployment team/toy-alertmanager: exceeded quota")
        return super().apply(document, manager=manager)


def test_an_alertmanager_that_is_refused_is_told_and_keeps_no_rules_from_starting_trainings() -> None:
    kube, rules = Refusing(), Rules()
    people = ToldPeople(rules, kube, "team", notifying(telling(PEOPLE), NAMES, ClusterSettings(), OWNER), ())
    assert people.ensure() == (
        "nobody of monitoring.receivers is told: the API server refuses Deployment team/toy-alertmanager: "
        "exceeded quota"
    )
    assert rules.brought == 1
    kube.refuses = False
    assert people.ensure() == ""
    assert kinds(kube) == ["ConfigMap", "Deployment", "NetworkPolicy"]


def test_the_rules_go_with_the_system() -> None:
    rules = Rules()
    ToldPeople(rules, MemoryKube(), "team", (), ()).remove()
    assert rules.is_removed


@pytest.mark.parametrize("people", [[], PEOPLE[:1]], ids=["nobody", "somebody"])
def test_who_is_told_is_said_in_no_other_object(people: list[dict[str, Any]]) -> None:
    """So an edited receiver restarts neither collector nor monitor."""
    from capstan.cluster.objects.recording import recording

    def templates(system: MLSystem) -> list[object]:
        found = recording(system, NAMES, ClusterSettings(), OWNER)
        return [one["spec"]["template"] for one in found if one["kind"] == "Deployment"]

    assert templates(telling(people)) == templates(toy_system())
