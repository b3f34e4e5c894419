"""What a Deployment and its pods say about a version, in the words of the API server."""

from __future__ import annotations

from typing import Any

import pytest

from capstan.adapters.kubernetes.readiness import readiness_of, refusal_of, trouble_of
from capstan.artifacts.fetch import AWAY, NOT_FOUND, REFUSED
from capstan.domain.versions import Readiness
from capstan.errors import NotFoundError, UntrustedArtifactError

MADE = "2026-01-01T00:00:10Z"


def deployment(available: int = 0, wanted: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "toy-v1", "creationTimestamp": MADE},
        "spec": {"replicas": wanted},
        "status": {"availableReplicas": available, **status},
    }


def pod(*, init: Any = None, main: Any = None, made: str = MADE, **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "toy-v1-x", "creationTimestamp": made, **meta},
        "status": {
            "initContainerStatuses": [{"name": "fetch", **init}] if init else [],
            "containerStatuses": [{"name": "model", **main}] if main else [],
        },
    }


def ended(code: int, message: str = "", *, waiting: str | None = None, restarts: int = 1) -> dict[str, Any]:
    how = {"terminated": {"exitCode": code, "message": message}}
    if waiting is None:
        return {"state": how, "lastState": {}, "restartCount": restarts}
    return {"state": {"waiting": {"reason": waiting}}, "lastState": how, "restartCount": restarts}


STARTING = {"state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 0}
RUNNING = {"state": {"running": {}}, "restartCount": 0, "ready": False}
CASES = [
    pytest.param(deployment(1), [pod(main=RUNNING)], Readiness.READY, id="available"),
    pytest.param(deployment(), [], Readiness.STARTING, id="no pod yet"),
    pytest.param(deployment(), [pod(main=STARTING)], Readiness.STARTING, id="a pod that starts"),
    pytest.param(deployment(), [pod(main=RUNNING)], Readiness.STARTING, id="a pod that loads"),
    pytest.param(deployment(1, 3), [], Readiness.STARTING, id="one of three"),
    pytest.param(deployment(2, 3), [], Readiness.READY, id="two of three"),
    pytest.param(deployment(1, 2), [pod(main=ended(1))], Readiness.READY, id="one of two, the other ended"),
    pytest.param(deployment(0, 0), [], Readiness.STARTING, id="scaled to none"),
    pytest.param(deployment(), [pod(main=ended(1))], Readiness.CRASHED, id="ended"),
    pytest.param(
        deployment(), [pod(main=ended(1, waiting="CrashLoopBackOff"))], Readiness.CRASHED, id="crash loop"
    ),
    pytest.param(
        deployment(),
        [pod(main={"state": {"waiting": {"reason": "ImagePullBackOff"}}})],
        Readiness.CRASHED,
        id="no image",
    ),
    pytest.param(
        deployment(),
        [pod(main={"state": {"waiting": {"reason": "CreateContainerConfigError"}}})],
        Readiness.CRASHED,
        id="a Secret is missing",
    ),
    pytest.param(
        deployment(),
        [pod(main={**RUNNING, "restartCount": 1, "lastState": {"terminated": {"exitCode": 1}}})],
        Readiness.STARTING,
        id="restarted once",
    ),
    pytest.param(
        deployment(),
        [pod(main={**RUNNING, "restartCount": 2, "lastState": {"terminated": {"exitCode": 1}}})],
        Readiness.CRASHED,
        id="restarted twice",
    ),
    pytest.param(
        deployment(), [pod(init=ended(AWAY, restarts=0))], Readiness.CRASHED, id="object storage is away"
    ),
    pytest.param(
        deployment(),
        [pod(init=ended(0), main={**RUNNING, "restartCount": 0})],
        Readiness.STARTING,
        id="fetched, loading",
    ),
    pytest.param(deployment(), [pod(init=ended(REFUSED))], Readiness.ABSENT, id="refused"),
    pytest.param(
        deployment(),
        [pod(init=ended(NOT_FOUND, waiting="CrashLoopBackOff"))],
        Readiness.ABSENT,
        id="not found, waiting to look again",
    ),
    pytest.param(
        deployment(1, 2), [pod(init=ended(REFUSED))], Readiness.READY, id="refused to a second pod only"
    ),
    pytest.param(
        deployment(),
        [pod(init=ended(REFUSED), made="2026-01-01T00:00:09Z")],
        Readiness.STARTING,
        id="refused to a pod of an earlier Deployment",
    ),
    pytest.param(
        deployment(),
        [pod(main=ended(1), deletionTimestamp=MADE)],
        Readiness.STARTING,
        id="ended, on its way out",
    ),
    pytest.param(
        deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]),
        [],
        Readiness.CRASHED,
        id="no pod may be made",
    ),
]


@pytest.mark.parametrize(("found", "pods", "expected"), CASES)
def test_readiness_follows_what_the_api_server_says(found: Any, pods: Any, expected: Readiness) -> None:
    assert readiness_of(found, pods) is expected


def test_a_deployment_that_is_being_deleted_is_absent() -> None:
    found = deployment(1)
    found["metadata"]["deletionTimestamp"] = MADE
    assert readiness_of(found, []) is Readiness.ABSENT


@pytest.mark.parametrize(
    ("code", "kind"), [(REFUSED, UntrustedArtifactError), (NOT_FOUND, NotFoundError)], ids=["bytes", "name"]
)
def test_a_refusal_speaks_in_the_pods_words(code: int, kind: type[Exception]) -> None:
    words = f"{kind.__name__}: s3://b/toy/1.tar: its content hashes to sha256:1"
    refusal = refusal_of(deployment(), [pod(init=ended(code, words))])
    assert isinstance(refusal, kind)
    assert str(refusal) == "s3://b/toy/1.tar: its content hashes to sha256:1"


def test_trouble_is_one_line_that_names_pod_container_and_reason() -> None:
    crashed = pod(main=ended(1, "Traceback\n  no such module", waiting="CrashLoopBackOff"))
    assert (
        trouble_of(deployment(), [crashed]) == "toy-v1-x: model: CrashLoopBackOff: Traceback no such module"
    )


def test_a_long_trouble_keeps_its_end_where_programs_say_why_they_die() -> None:
    crashed = pod(main=ended(1, "x" * 5000 + " no module named 'encodings'", waiting="CrashLoopBackOff"))
    said = trouble_of(deployment(), [crashed])
    assert said is not None
    assert said.startswith("toy-v1-x: model: CrashLoopBackOff: x")
    assert said.endswith("no module named 'encodings'")
    assert len(said) < 600
