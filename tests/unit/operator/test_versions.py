"""Claims about what somebody else does to a version's objects: it is put back and told, our own doing is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cluster.toy_versions import toy_system

from capstan.adapters.kubernetes.serving import DeploymentServing
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.watching.cache import WatchedKube
from capstan.cluster.wiring.serving import serving_of
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.ports.kube import Object
from capstan_operator.versions import VersionMemory, VersionObjects

NAMES = SystemNames("team", SystemName("toy"))
V1, V2 = VersionName("v1"), VersionName("v2")


def version(name: VersionName) -> ModelVersion:
    digest = Digest(f"sha256:{'a' * 64}")
    return ModelVersion(name, digest, RunName("run-1"), "toy:0123", datetime(2026, 3, 1, tzinfo=UTC))


class Versions:
    """Versions as Deployments, an operator's view of them, and what that operator remembers."""

    def __init__(self) -> None:
        self.server = MemoryKube(without=("SeldonDeployment",))
        self.server.watchers.append(self._watch)
        self.seconds = 1000.0
        self.settled = 0
        self.start()

    def start(self) -> None:
        """A new operator process."""
        self.cache = WatchedKube(self.server, clock=lambda: self.seconds)
        for kind in self.cache.unlisted:
            self.cache.resync(kind)
        self.objects = VersionObjects(self.cache, clock=lambda: self.seconds)
        self.known = VersionMemory()
        system = toy_system(replicas={"min": 2, "max": 2})
        found = serving_of(self.cache, system, NAMES, ClusterSettings(), Owner("toy", "uid-1"))
        assert isinstance(found, DeploymentServing)
        self.serving = found

    def _watch(self, kind: str, event: str, document: Object) -> None:
        if self.cache.is_watched(kind):
            self.cache.observe(kind, event, document)

    def look(self) -> tuple[str, ...]:
        self.seconds += 10.0
        return self.objects.ensure(NAMES, self.known, self._settle)

    def _settle(self) -> None:
        self.settled += 1
        self.serving.settle()


@pytest.fixture
def versions() -> Versions:
    versions = Versions()
    versions.serving.deploy(version(V1))
    assert versions.look() == ()
    versions.settled = 0
    return versions


def test_versions_that_nobody_touches_are_left_alone_without_a_call(versions: Versions) -> None:
    versions.server.calls.clear()
    assert [versions.look() for _ in range(20)] == [()] * 20
    assert versions.settled == 0
    assert not versions.server.calls


def test_an_edited_deployment_of_a_version_is_put_back_and_told(versions: Versions) -> None:
    versions.server.edit("Deployment", "toy-v1", "team", {"spec": {"replicas": 0}})
    assert versions.look() == ("Deployment toy-v1",)
    found = versions.server.get("Deployment", "toy-v1", "team")
    assert found is not None
    assert found["spec"]["replicas"] == 2
    assert versions.look() == ()


def test_a_deleted_service_of_a_version_is_put_back_and_told(versions: Versions) -> None:
    versions.server.delete("Service", "toy-v1", "team")
    assert versions.look() == ("Service toy-v1",)
    assert versions.server.get("Service", "toy-v1", "team") is not None


def test_a_deleted_disruption_budget_of_a_version_is_put_back_and_told(versions: Versions) -> None:
    versions.server.delete("PodDisruptionBudget", "toy-v1", "team")
    assert versions.look() == ("PodDisruptionBudget toy-v1",)
    assert versions.server.get("PodDisruptionBudget", "toy-v1", "team") is not None


def test_a_deleted_deployment_is_told_once_the_loop_has_deployed_it_again(versions: Versions) -> None:
    versions.server.delete("Deployment", "toy-v1", "team")
    assert versions.look() == ()
    versions.serving.deploy(version(V1))
    assert versions.look() == ("Deployment toy-v1",)
    assert versions.look() == ()


def test_a_version_that_the_loop_retires_and_deploys_again_is_no_repair(versions: Versions) -> None:
    versions.serving.retire(V1)
    assert versions.look() == ()
    versions.serving.deploy(version(V1))
    assert versions.look() == ()
    versions.serving.retire(V1)
    versions.serving.deploy(version(V1))
    assert versions.look() == (), "within one look"
    assert versions.settled == 0


def test_a_version_that_somebody_deleted_and_nobody_needs_is_forgotten(versions: Versions) -> None:
    versions.server.delete("Deployment", "toy-v1", "team")
    versions.server.delete("Service", "toy-v1", "team")
    for _ in range(3):
        assert versions.look() == ()
    versions.serving.deploy(version(V1))
    assert versions.look() == (), "a month later, by a rollback"


def test_a_new_version_is_no_repair(versions: Versions) -> None:
    versions.serving.deploy(version(V2))
    assert versions.look() == ()
    assert versions.settled == 0


def test_a_field_that_is_not_ours_is_left_alone(versions: Versions) -> None:
    versions.server.edit("Deployment", "toy-v1", "team", {"metadata": {"annotations": {"team": "blue"}}})
    assert versions.look() == ()
    assert versions.settled == 0


def test_what_was_deleted_while_no_operator_ran_is_put_back(versions: Versions) -> None:
    versions.server.delete("Service", "toy-v1", "team")
    versions.start()
    versions.look()
    assert versions.server.get("Service", "toy-v1", "team") is not None


def test_what_somebody_edits_again_and_again_is_not_answered_at_once(versions: Versions) -> None:
    for _ in range(10):
        versions.server.edit("Deployment", "toy-v1", "team", {"spec": {"replicas": 0}})
        versions.objects.ensure(NAMES, versions.known, versions._settle)
        versions.seconds += 1.0
    assert versions.settled <= 3
    assert versions.look() == ("Deployment toy-v1",)
