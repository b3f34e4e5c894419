"""Why a pod does not run, or has ended, in the words of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from capstan.adapters.kubernetes.conditions import true_condition
from capstan.ports.kube import Kube, Object

_PATIENT = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons that every pod passes through."""
_HELD_UP_AFTER = timedelta(seconds=20)


def is_old(document: Object, now: datetime) -> bool:
    """Whether the pod is so old that what has not happened to it yet is worth a word."""
    made = document["metadata"].get("creationTimestamp")
    return bool(made) and now - datetime.fromisoformat(made) > _HELD_UP_AFTER


def why_waiting(pod: Object) -> str:
    """`Unschedulable: 0/1 nodes are available: ...`, `ImagePullBackOff: ...`; empty if nothing is known to be wrong."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _joined(condition.get("reason"), condition.get("message"))
    for state in _states(pod, "state"):
        waiting = state.get("waiting")
        if waiting and waiting.get("reason") not in _PATIENT:
            return _joined(waiting.get("reason"), waiting.get("message"))
    return ""


def why_ended(pod: Object) -> str:
    """`OOMKilled`, `Evicted: The node was low on resource: memory`, ...; empty for a pod that has not failed."""
    status = pod.get("status", {})
    if disruption := true_condition(pod, "DisruptionTarget"):
        return _joined(disruption.get("reason"), disruption.get("message"))
    if status.get("reason"):
        return _joined(status["reason"], status.get("message"))
    for state in _states(pod, "state"):
        ended = state.get("terminated")
        if ended and ended.get("exitCode"):
            return f"{ended.get('reason') or 'Error'} (exit code {ended['exitCode']})"
    return ""


def is_held_up(pod: Object) -> bool:
    """Whether a node has it, but it has not begun: a volume or a ConfigMap may be missing, which only events tell."""
    return (
        any((state.get("waiting") or {}).get("reason") in _PATIENT for state in _states(pod, "state"))
        and pod.get("status", {}).get("phase") == "Pending"
    )


def last_message(pod: Object) -> str:
    """The termination message of its container, or of the init container that failed; empty while it runs.

    An init container that went well has ended too, and mostly without a word.
    """
    found = ((state.get("terminated") or {}).get("message") for state in _states(pod, "state"))
    return next((str(message) for message in found if message), "")


def newest(pods: Sequence[Object]) -> Object | None:
    """The pod that was made last."""
    return max(
        pods,
        key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]),
        default=None,
    )


def newest_warning(kube: Kube, namespace: str, *names: str) -> str:
    """What the latest Warning event about any of these objects says; empty if there is none."""
    found = [
        event
        for event in kube.list("Event", namespace)
        if event.get("type") == "Warning" and event.get("involvedObject", {}).get("name") in names
    ]
    event = max(found, key=_moment, default=None)
    return _joined(event.get("reason"), event.get("message")) if event is not None else ""


def _moment(event: Object) -> str:
    return str(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def _states(pod: Object, which: str) -> Iterator[dict[str, Any]]:
    status = pod.get("status", {})
    for kind in ("initContainerStatuses", "containerStatuses"):
        for found in status.get(kind, ()):
            yield found.get(which) or {}


def _joined(reason: object, message: object) -> str:
    return ": ".join(str(part) for part in (reason, message) if part)
