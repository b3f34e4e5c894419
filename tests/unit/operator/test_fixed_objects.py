"""Claims about the fixed objects: applied when they change, put back when somebody edits, and else left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import SYSTEM_LABEL
from capstan.cluster.watching.cache import WatchedKube
from capstan.errors import CapstanError, ConflictError
from capstan.ports.kube import Object
from capstan_operator.fixed_objects import APPLIED, AppliedObjects, EnsureResult, FixedObjects


def of_kind(api: str, kind: str, name: str, **more: object) -> Object:
    labels = {SYSTEM_LABEL: "s"}
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": "n", "labels": labels},
        **more,
    }


def rendered(port: int = 80) -> list[Object]:
    return [
        of_kind("apps/v1", "Deployment", "s-gateway", spec={"replicas": 2}),
        # As `capstan.cluster.names`: another name for another content.
        of_kind("v1", "Secret", f"s-tokens-{port}", data={"port": str(port)}),
        of_kind("v1", "Service", "s-gateway", spec={"ports": [{"port": port}]}),
    ]


@dataclass
class Cluster:
    """An API server, an operator's view of it, and what that operator remembers."""

    server: MemoryKube = field(default_factory=MemoryKube)
    seconds: float = 1000.0
    release: str = "0.1.0/settings"
    known: AppliedObjects = field(default_factory=AppliedObjects)

    def __post_init__(self) -> None:
        self.server.watchers.append(self._watch)
        self.start()

    def start(self) -> None:
        """A new operator process."""
        self.cache = WatchedKube(self.server, clock=lambda: self.seconds)
        for kind in self.cache.unlisted:
            self.cache.resync(kind)
        self.known = AppliedObjects()
        self.fixed = FixedObjects(self.cache, self.release, clock=lambda: self.seconds)
        self.server.calls.clear()

    def _watch(self, kind: str, event: str, document: Object) -> None:
        if self.cache.is_watched(kind):
            self.cache.observe(kind, event, document)

    def ensure(
        self, render: Callable[[], list[Object]] = rendered, *, is_new: bool = False, generation: int = 1
    ) -> EnsureResult:
        self.seconds += 10.0
        return self.fixed.ensure("n", self.known, generation, render, is_new=is_new)

    def applied(self) -> int:
        return sum(count for (method, _), count in self.server.calls.items() if method == "apply")

    def become_whole(self) -> None:
        self.server.edit("Deployment", "s-gateway", "n", {"status": {"availableReplicas": 2}})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_first_look_applies_everything_the_watched_kinds_last(cluster: Cluster):
    order: list[str] = []
    cluster.server.watchers.append(lambda kind, *_: order.append(kind))
    assert cluster.ensure(is_new=True) == EnsureResult(is_new=True)
    assert order == ["Secret", "Deployment", "Service"]


def test_further_looks_cost_no_call(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.become_whole()
    cluster.server.calls.clear()
    for _ in range(100):
        assert cluster.ensure() == EnsureResult()
    assert not cluster.server.calls


def test_an_edited_object_is_put_back(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.server.edit("Deployment", "s-gateway", "n", {"spec": {"replicas": 0}})
    assert cluster.ensure().put_back == ("Deployment s-gateway",)
    found = cluster.server.get("Deployment", "s-gateway", "n")
    assert found is not None
    assert found["spec"]["replicas"] == 2


def test_a_deleted_object_is_put_back(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.server.delete("Service", "s-gateway", "n")
    assert cluster.ensure().put_back == ("Service s-gateway",)
    assert cluster.server.get("Service", "s-gateway", "n") is not None


def test_fields_that_are_not_ours_are_left_alone(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.become_whole()
    cluster.server.edit("Deployment", "s-gateway", "n", {"metadata": {"annotations": {"team": "blue"}}})
    cluster.server.calls.clear()
    assert cluster.ensure() == EnsureResult()
    assert not cluster.server.calls


def test_a_changed_file_applies_anew(cluster: Cluster):
    cluster.ensure(is_new=True)
    done = cluster.ensure(lambda: rendered(port=8080), is_new=True, generation=2)
    assert done == EnsureResult(is_new=True)
    found = cluster.server.get("Secret", "s-tokens-8080", "n")
    assert found is not None
    assert found["data"] == {"port": "8080"}
    assert cluster.server.get("Secret", "s-tokens-80", "n") is not None, "pods that run may still mount it"


def test_a_secret_is_only_ever_created(cluster: Cluster):
    """To patch, replace or delete one is to read it."""
    cluster.ensure(is_new=True)
    cluster.ensure(lambda: rendered(port=8080), is_new=True, generation=2)
    cluster.ensure(is_new=True, generation=3)
    assert {method for method, kind in cluster.server.calls if kind == "Secret"} == {"create"}


def test_a_secret_that_is_there_is_no_refusal(cluster: Cluster):
    cluster.ensure(is_new=True)
    done = cluster.ensure(lambda: [*rendered()], is_new=True, generation=2)
    assert done == EnsureResult(is_new=True)


def test_a_quota_that_is_written_meanwhile_is_no_secret_that_is_there(cluster: Cluster):
    cluster.server.faults.on("create", 1, ConflictError("resourcequotas: the object has been modified"))
    with pytest.raises(ConflictError):
        cluster.ensure(is_new=True)
    cluster.ensure(is_new=True)
    assert cluster.server.get("Secret", "s-tokens-80", "n") is not None


def test_a_new_operator_of_the_same_release_adopts_without_a_call(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.start()
    assert cluster.ensure(is_new=True) == EnsureResult()
    assert cluster.applied() == 0


def test_another_release_or_other_settings_apply_everything_anew(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.release = "0.2.0/settings"
    cluster.start()
    assert cluster.ensure(is_new=True).is_new
    assert cluster.applied() == 2
    assert cluster.server.calls["create", "Secret"] == 1


def test_what_was_deleted_while_no_operator_ran_is_applied_again(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.server.delete("Service", "s-gateway", "n")
    cluster.start()
    cluster.ensure(is_new=True)
    assert cluster.server.get("Service", "s-gateway", "n") is not None


def test_what_somebody_edited_while_no_operator_ran_is_applied_again(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.server.edit(
        "Deployment",
        "s-gateway",
        "n",
        {
            "spec": {"replicas": 0},
            "metadata": {
                "managedFields": [
                    {"manager": "capstan", "operation": "Apply", "fieldsV1": {}},
                    {
                        "manager": "kubectl-edit",
                        "operation": "Update",
                        "fieldsV1": {"f:spec": {"f:replicas": {}}},
                    },
                ]
            },
        },
    )
    cluster.start()
    cluster.ensure(is_new=True)
    found = cluster.server.get("Deployment", "s-gateway", "n")
    assert found is not None
    assert found["spec"]["replicas"] == 2


def test_a_deployment_that_stays_broken_has_everything_applied_again_now_and_then(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.server.delete("Secret", "s-tokens-80", "n")
    cluster.server.calls.clear()
    for _ in range(120):
        assert not cluster.ensure().put_back
    assert cluster.server.get("Secret", "s-tokens-80", "n") is not None
    assert 2 * 3 <= cluster.applied() <= 2 * 4, "every five minutes of twenty"


def test_a_refused_object_is_told_once_and_does_not_keep_the_others(cluster: Cluster):
    cluster.server.faults.on("create", 1, CapstanError("it is too large"))
    first = cluster.ensure(is_new=True)
    assert first.refused == ("Secret s-tokens-80: it is too large",)
    assert cluster.server.get("Service", "s-gateway", "n") is not None
    cluster.become_whole()
    assert cluster.ensure() == EnsureResult()
    cluster.seconds += 300
    cluster.ensure()
    assert cluster.server.get("Secret", "s-tokens-80", "n") is not None


def test_what_was_refused_is_an_obstacle_until_it_is_applied(cluster: Cluster):
    cluster.server.faults.on("apply", 1, CapstanError("spec.replicas: Invalid value"))
    cluster.ensure(is_new=True)
    assert cluster.known.obstacle == "Deployment s-gateway is refused: spec.replicas: Invalid value"
    cluster.seconds += 300
    cluster.ensure()
    assert cluster.known.obstacle == ""


def test_an_operator_that_starts_afresh_hears_of_an_unwatched_object_that_is_refused(cluster: Cluster):
    cluster.server.faults.on("create", 1, CapstanError("exceeded quota"))
    cluster.ensure(is_new=True)
    cluster.start()
    cluster.server.faults.on("create", 1, CapstanError("exceeded quota"))
    assert cluster.ensure(is_new=True).refused == ("Secret s-tokens-80: exceeded quota",)
    assert cluster.known.obstacle == "Secret s-tokens-80 is refused: exceeded quota"


def test_two_that_want_different_things_write_seldom(cluster: Cluster):
    cluster.ensure(is_new=True)
    cluster.become_whole()
    cluster.server.calls.clear()
    for _ in range(100):
        cluster.server.edit("Deployment", "s-gateway", "n", {"spec": {"replicas": 7}})
        cluster.fixed.ensure("n", cluster.known, 1, rendered, is_new=False)
        cluster.seconds += 0.5
    assert cluster.applied() <= 2 * 11


def test_every_object_says_by_which_rendering_it_was_written(cluster: Cluster):
    cluster.ensure(is_new=True)
    marks = {
        document["metadata"]["annotations"][APPLIED]
        for kind in ("Deployment", "Secret", "Service")
        for document in cluster.server.list(kind)
    }
    assert len(marks) == 1
