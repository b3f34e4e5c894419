"""Whether the pods of a version can take requests, read from its Deployment and its pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from capstan.adapters.kubernetes.conditions import true_condition
from capstan.artifacts.fetch import NOT_FOUND, REFUSED
from capstan.domain.versions import Readiness
from capstan.errors import CapstanError, NotFoundError, UntrustedArtifactError
from capstan.ports.kube import Object

_HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "ImagePullBackOff",
        "ImageInspectError",
        "InvalidImageName",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that end only by somebody's help or after a long wait."""
_LONGEST_LINE = 500
_RESTARTS_BORNE = 1
"""Restarts before a container counts as crashing, whatever it does between two crashes."""


def readiness_of(deployment: Object, pods: Sequence[Object]) -> Readiness:
    """READY while half of the replicas are available; CRASHED if a pod cannot start, or ends again and again.

    ABSENT if its Bento was refused: nothing of it may run, and deploying it again says why.
    """
    if deployment["metadata"].get("deletionTimestamp"):
        return Readiness.ABSENT
    if _is_available(deployment):
        return Readiness.READY
    if refusal_of(deployment, pods) is not None:
        return Readiness.ABSENT
    return Readiness.STARTING if trouble_of(deployment, pods) is None else Readiness.CRASHED


def refusal_of(deployment: Object, pods: Sequence[Object]) -> CapstanError | None:
    """Why the Bento was not loaded, where an init container found that it is not the registered one, or none.

    None while the version is available: what was loaded before the bytes were changed goes on.
    """
    if _is_available(deployment):
        return None
    for pod in _own(deployment, pods):
        for container in _statuses(pod, "initContainerStatuses"):
            ended = _ended(container)
            if ended is None:
                continue
            # The error's own words, without its name in front.
            text = str(ended.get("message") or "").strip().partition(": ")[2] or "the Bento was refused"
            if ended.get("exitCode") == REFUSED:
                return UntrustedArtifactError(text)
            if ended.get("exitCode") == NOT_FOUND:
                return NotFoundError(text)
    return None


def trouble_of(deployment: Object, pods: Sequence[Object]) -> str | None:
    """Why the version does not start, in one line; None: it may simply need time."""
    for pod in _own(deployment, pods):
        for container in _containers(pod):
            said = _trouble(container)
            if said is not None:
                return f"{pod['metadata']['name']}: {container['name']}: {said}"
    # There is no pod at all: a quota, Pod Security or a missing ServiceAccount is in the way.
    if failure := true_condition(deployment, "ReplicaFailure"):
        return str(failure.get("message") or failure.get("reason"))
    return None


def _is_available(deployment: Object) -> bool:
    wanted = int(deployment.get("spec", {}).get("replicas", 1))
    available = int(deployment.get("status", {}).get("availableReplicas", 0))
    return available * 2 >= max(wanted, 1)


def _own(deployment: Object, pods: Sequence[Object]) -> Iterator[Object]:
    """The pods without those that are being deleted and those of an earlier Deployment of this name."""
    made = deployment["metadata"].get("creationTimestamp", "")
    for pod in pods:
        meta = pod["metadata"]
        if not meta.get("deletionTimestamp") and meta.get("creationTimestamp", made) >= made:
            yield pod


def _trouble(container: Object) -> str | None:
    state, restarts = container.get("state", {}), container.get("restartCount", 0)
    waiting, ended = state.get("waiting", {}), _ended(container)
    if waiting.get("reason") in _HOPELESS:
        return _line(waiting.get("reason"), (ended or {}).get("message") or waiting.get("message"))
    failed = ended is not None and ended.get("exitCode") != 0
    if failed and not container.get("ready") and ("terminated" in state or restarts > _RESTARTS_BORNE):
        return _line(f"ended with {ended['exitCode']}" if ended else "", (ended or {}).get("message"))
    return None


def _line(reason: object, message: object) -> str:
    text = ": ".join(" ".join(str(part).split()) for part in (reason, message) if part)
    # A program that dies says why at the end.
    return text if len(text) <= _LONGEST_LINE else f"{text[:100]} ... {text[-(_LONGEST_LINE - 105) :]}"


def _containers(pod: Object) -> Iterator[Any]:
    yield from _statuses(pod, "initContainerStatuses")
    yield from _statuses(pod, "containerStatuses")


def _statuses(pod: Object, key: str) -> Sequence[Any]:
    return pod.get("status", {}).get(key) or ()


def _ended(container: Object) -> Any:
    """How it ended last; None: it never ended."""
    return container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
