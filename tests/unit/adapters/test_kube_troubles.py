"""Claims about what is told of parts that do not start, with the pods as an API server shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capstan.adapters.kubernetes.troubles import PodTroubles, way_out
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import SystemNames
from capstan.cluster.troubles import part_of
from capstan.domain.trouble import Trouble
from capstan.domain.versions import RunName, SystemName, VersionName

NAMES = SystemNames("shop", SystemName("churn"))
MADE = datetime(2026, 1, 1, tzinfo=UTC)
LATER = MADE + timedelta(minutes=2)
LABELS = {
    "gateway": NAMES.labels("gateway"),
    "collector": NAMES.labels("collector"),
    "monitor": NAMES.labels("monitor"),
    "v2": NAMES.version_labels(VersionName("v2")),
    "training churn-1": NAMES.run_labels(RunName("churn-1")),
}


def pod(part: str, *, phase: str = "Pending", conditions: Any = (), **container: Any) -> dict[str, Any]:
    name = part.replace(" ", "-")
    statuses = [{"name": "main", "image": "registry/capstan-python:1", **container}] if container else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"churn-{name}-x",
            "namespace": "shop",
            "labels": LABELS[part],
            "creationTimestamp": MADE.isoformat(),
        },
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": statuses},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def warning(about: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about}.1", "namespace": "shop"},
        "involvedObject": {"name": about},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": MADE.isoformat(),
    }


def troubles(*objects: dict[str, Any], now: datetime = LATER) -> tuple[Trouble, ...]:
    kube = MemoryKube()
    for document in objects:
        kube.create(document)
    return PodTroubles(kube, "shop", {"capstan.dev/system": "churn"}, part_of, now=lambda: now)()


UNSCHEDULED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient cpu.",
}
NO_SECRET = 'MountVolume.SetUp failed for volume "secrets" : secret "planes-db" not found'


@pytest.mark.parametrize("part", LABELS)
def test_every_part_that_cannot_pull_its_image_is_told_with_the_image(part: str) -> None:
    (told,) = troubles(pod(part, **waiting("ErrImagePull", "not found")))
    assert (told.part, told.reason) == (part, "ImagePullBackOff")
    assert "registry/capstan-python:1" in told.message
    assert "images" in told.message


@pytest.mark.parametrize(
    ("document", "reason", "said"),
    [
        pytest.param(
            pod("training churn-1", conditions=[UNSCHEDULED]),
            "Unschedulable",
            "training.resources",
            id="room",
        ),
        pytest.param(
            pod("v2", **waiting("CreateContainerConfigError", 'secret "keys" not found')),
            "CreateContainerConfigError",
            "`kubectl -n shop create secret generic keys",
            id="variable-from-a-missing-secret",
        ),
        pytest.param(
            pod("v2", **waiting("CreateContainerConfigError", "couldn't find key url in Secret shop/keys")),
            "CreateContainerConfigError",
            "adds the key url",
            id="missing-key",
        ),
        pytest.param(
            pod(
                "collector",
                phase="Running",
                state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}},
                lastState={"terminated": {"exitCode": 1, "message": "No space left on device"}},
                restartCount=3,
                ready=False,
            ),
            "CrashLoopBackOff",
            "exit code 1: No space left on device; `kubectl -n shop logs churn-collector-x -c main --previous`",
            id="crash",
        ),
    ],
)
def test_what_holds_a_pod_up_is_told_with_what_mends_it(
    document: dict[str, Any], reason: str, said: str
) -> None:
    (told,) = troubles(document)
    assert told.reason == reason
    assert said in told.message


def test_a_volume_that_cannot_be_mounted_is_told_from_the_events_with_the_command_that_makes_the_secret() -> (
    None
):
    hung = pod("training churn-1", **waiting("ContainerCreating"))
    (told,) = troubles(hung, warning(hung["metadata"]["name"], "FailedMount", NO_SECRET))
    assert told.reason == "FailedMount"
    assert "`kubectl -n shop create secret generic planes-db --from-literal=KEY=VALUE`" in told.message


def test_a_quota_that_lets_no_pod_be_made_is_told_of_the_part() -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "churn-monitor", "namespace": "shop", "labels": LABELS["monitor"]},
        "status": {
            "conditions": [
                {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "reason": "FailedCreate",
                    "message": "exceeded quota: small",
                }
            ]
        },
    }
    assert troubles(deployment) == (Trouble("monitor", "FailedCreate", "exceeded quota: small"),)


STARTING = [
    pytest.param(
        pod("gateway", **waiting("ContainerCreating")), MADE + timedelta(seconds=5), id="being-made"
    ),
    pytest.param(pod("gateway", **waiting("PodInitializing")), LATER, id="initialising-without-a-warning"),
    pytest.param(
        pod("gateway", conditions=[UNSCHEDULED]), MADE + timedelta(seconds=5), id="not-yet-scheduled"
    ),
    pytest.param(
        pod("gateway", phase="Running", state={"running": {}}, restartCount=0, ready=False),
        LATER,
        id="loading",
    ),
    pytest.param(
        pod("gateway", phase="Running", state={"terminated": {"exitCode": 1}}, restartCount=0),
        LATER,
        id="once",
    ),
    pytest.param(
        pod("training churn-1", phase="Failed", state={"terminated": {"exitCode": 1}}),
        LATER,
        id="a-run-that-ended",
    ),
]


@pytest.mark.parametrize(("document", "now"), STARTING)
def test_a_part_that_simply_starts_is_in_no_trouble(document: dict[str, Any], now: datetime) -> None:
    assert troubles(document, now=now) == ()


def test_the_reason_stays_the_same_while_the_kubelet_changes_its_words() -> None:
    reasons = {
        troubles(pod("gateway", **waiting(word, said)))[0].reason
        for word, said in [("ErrImagePull", "rpc error: not found"), ("ImagePullBackOff", "Back-off pulling")]
    }
    assert reasons == {"ImagePullBackOff"}


def test_of_what_the_kubelet_says_about_an_image_the_cause_is_told() -> None:
    said = (
        'Back-off pulling image "x:1": ErrImagePull: failed to resolve reference "docker.io/library/x:1": failed to do '
        'request: Head "http://127.0.0.1:9/v2/library/x/manifests/1": dial tcp 127.0.0.1:9: connect: connection refused'
    )
    (told,) = troubles(pod("gateway", **waiting("ImagePullBackOff", said)))
    assert told.message.startswith(
        "the image registry/capstan-python:1 cannot be pulled (connection refused); correct"
    )


def test_events_are_asked_for_seldom_while_a_pod_hangs() -> None:
    kube, now = MemoryKube(), [LATER]
    hung = pod("gateway", **waiting("ContainerCreating"))
    kube.create(hung)
    kube.create(warning(hung["metadata"]["name"], "FailedMount", NO_SECRET))
    tell = PodTroubles(kube, "shop", {"capstan.dev/system": "churn"}, part_of, now=lambda: now[0])
    for _ in range(20):
        assert len(tell()) == 1
    assert kube.calls["list", "Event"] == 1
    now[0] += timedelta(seconds=11)
    tell()
    assert kube.calls["list", "Event"] == 2


def test_a_message_that_misses_nothing_known_names_no_command() -> None:
    assert way_out("shop", "rpc error: deadline exceeded") == ""
