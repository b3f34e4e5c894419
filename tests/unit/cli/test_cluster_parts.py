"""Claims about what `capstan doctor --context` says of pods and systems."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cli.cluster_parts import look_at_parts
from capstan.cli.diagnosis import Health, Row
from capstan.errors import NotAllowedError

OPERATOR = "capstan-system"
OLD = (datetime.now(UTC) - timedelta(hours=1)).isoformat()


def pod(name: str, namespace: str, *, ready: bool = False, waiting: str = "", of_system: bool = False) -> Any:
    state = {"waiting": {"reason": waiting, "message": "not found"}} if waiting else {"running": {}}
    container = {"name": "main", "image": "registry/x:1", "state": state, "ready": ready, "restartCount": 0}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": OLD,
            "labels": {"app.kubernetes.io/part-of": "capstan"} if of_system else {},
        },
        "status": {
            "phase": "Pending" if waiting else "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [container],
        },
    }


def system(**conditions: str) -> Any:
    found = [
        {"type": kind, "status": "True", "reason": reason, "message": "the way out"}
        for kind, reason in conditions.items()
    ]
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "churn", "namespace": "shop"},
        "status": {"phase": "Starting", "conditions": found},
    }


def rows(*documents: Any) -> list[Row]:
    kube = MemoryKube()
    for document in documents:
        kube.create(document)
    return list(look_at_parts(kube, [OPERATOR], "default"))


def errors(found: list[Row]) -> list[Row]:
    return [row for row in found if row.health is Health.ERROR]


def test_a_stack_whose_images_cannot_be_pulled_is_an_error_that_names_pod_and_image() -> None:
    found = rows(
        pod("capstan-operator-1", OPERATOR, ready=True), pod("mlflow-0", OPERATOR, waiting="ImagePullBackOff")
    )
    (error,) = errors(found)
    assert error.what == f"{OPERATOR}/mlflow-0"
    assert "registry/x:1" in error.found


def test_pods_of_a_system_in_its_own_namespace_are_looked_at() -> None:
    found = rows(
        pod("capstan-operator-1", OPERATOR, ready=True),
        system(),
        pod("churn-gateway-1", "shop", waiting="ImagePullBackOff", of_system=True),
        pod("somebody-elses", "shop", waiting="ImagePullBackOff"),
    )
    assert [row.what for row in errors(found)] == ["shop/churn-gateway-1"]


def test_a_pod_that_hangs_without_a_word_is_a_warning_and_not_counted_as_ready() -> None:
    found = rows(pod("capstan-operator-1", OPERATOR, waiting="ContainerCreating"))
    (row,) = found
    assert row.health is Health.WARNING
    assert row.found == "0 of 1 ready; not yet: capstan-operator-1"


def test_what_runs_is_told_in_one_row() -> None:
    found = rows(pod("capstan-operator-1", OPERATOR, ready=True), pod("mlflow-0", OPERATOR, ready=True))
    assert found == [Row(f"pods of {OPERATOR}", Health.OK, "2 of 2 ready")]


def test_an_operator_without_any_pod_is_an_error() -> None:
    (error,) = errors(rows())
    assert error.found == "there are none"


@pytest.mark.parametrize(
    ("conditions", "health"),
    [
        ({"Stalled": "TrainingFailed"}, Health.ERROR),
        ({"Degraded": "PartAway"}, Health.WARNING),
        ({}, Health.OK),
    ],
)
def test_a_system_that_is_stuck_says_so_to_the_doctor(conditions: dict[str, str], health: Health) -> None:
    row = next(row for row in rows(system(**conditions)) if row.what == "system shop/churn")
    assert row.health is health
    assert all(reason in row.found and "the way out" in row.found for reason in conditions.values())


class Closed(MemoryKube):
    """Whose user may look at nothing but his own namespace."""

    def list(self, kind: str, namespace: str | None = None, *, labels: Any = None) -> Any:
        if namespace != "default":
            raise NotAllowedError("no right")
        return super().list(kind, namespace, labels=labels)


def test_what_the_user_may_not_look_at_is_said_and_ends_nothing() -> None:
    (row,) = look_at_parts(Closed(), [OPERATOR], "default")
    assert (row.health, row.found) == (Health.WARNING, "you may not look at pods there")
