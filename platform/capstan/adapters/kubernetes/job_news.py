"""What a Job and its pods say: what holds them up, what they were lost to, and who keeps its files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime

from capstan.adapters.kubernetes.conditions import true_condition
from capstan.adapters.kubernetes.pods import (
    is_held_up,
    is_old,
    newest,
    newest_warning,
    why_ended,
    why_waiting,
)
from capstan.errors import ConflictError, NotFoundError
from capstan.ports.kube import Kube, Object

CANCELLED = "capstan.dev/cancelled"
"""Annotation of a Job that somebody ended; such a Job is suspended too."""
CANCEL: Object = {"metadata": {"annotations": {CANCELLED: "true"}}, "spec": {"suspend": True}}
"""What is changed of a Job to end it."""


def create_with_files(kube: Kube, namespace: str, config: Object, job: Object) -> None:
    """Create a Job and its files, which it owns; one that is there already is left as it is."""
    kube.apply(config)
    try:
        made = kube.create(job)
    except ConflictError:
        return
    _hand_over(kube, namespace, config, made)


def _hand_over(kube: Kube, namespace: str, config: Object, job: Object) -> None:
    """Give the files to the Job, which owns them; the system would keep them for years."""
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    change = {"metadata": {"ownerReferences": [owner]}}
    with contextlib.suppress(NotFoundError):
        kube.patch("ConfigMap", config["metadata"]["name"], namespace, change)


def working_pod(pods: Sequence[Object]) -> Object | None:
    """The pod that works or waits; None: none does."""
    return newest([pod for pod in pods if pod["status"].get("phase") in (None, "Pending", "Running")])


def lost_to(pods: Sequence[Object]) -> str:
    """`; started again after Evicted: ...`; empty: no pod was lost."""
    lost = [reason for pod in pods if pod["status"].get("phase") == "Failed" and (reason := why_ended(pod))]
    return f"; started again after {lost[-1]}" if lost else ""


def held_up(kube: Kube, namespace: str, job: Object, pod: Object | None, now: datetime) -> str:
    """Why a Job does not work yet; empty: nothing is known to be wrong."""
    name = str(job["metadata"]["name"])
    if pod is None:
        return newest_warning(kube, namespace, name) if is_old(job, now) else ""
    reason = why_waiting(pod)
    if not reason and is_held_up(pod) and is_old(pod, now):
        reason = newest_warning(kube, namespace, pod["metadata"]["name"])
    return reason


def failed_as(job: Object) -> str:
    """`BackoffLimitExceeded: ...`"""
    condition = true_condition(job, "Failed")
    return ": ".join(filter(None, (condition.get("reason"), condition.get("message"))))
