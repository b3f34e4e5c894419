"""Batches port in a cluster: each try is one Job, which says that it was begun, how it ended and that it was cancelled.

A pod that was lost with its node is replaced by Kubernetes, and goes on at the file that it was writing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import orjson
from pydantic import ValidationError

from capstan.adapters.kubernetes.conditions import holds
from capstan.adapters.kubernetes.job_news import (
    CANCEL,
    CANCELLED,
    create_with_files,
    failed_as,
    held_up,
    lost_to,
    working_pod,
)
from capstan.adapters.kubernetes.pods import last_message, newest, why_ended
from capstan.domain.batch_calendar import BatchOrder, BatchStatus
from capstan.domain.training import RunPhase
from capstan.errors import NotFoundError
from capstan.ports.codec import from_json, to_json
from capstan.ports.kube import Kube, Object

Render = Callable[[BatchOrder, Mapping[str, str]], tuple[Object, Object]]
"""Function that gives the ConfigMap with these files and the Job that mounts it, both of one name."""
ORDER, SPEC = "order.json", "spec.json"
"""Files of a try."""


class JobBatches:
    """Tries of one system's batches as Jobs."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        *,
        name: Callable[[BatchOrder], str],
        document: Mapping[str, object],
        render: Render,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`document` is the file as plain data."""
        self._kube, self._namespace = kube, namespace
        self._name, self._document, self._render, self._now = name, document, render, now

    def start(self, order: BatchOrder) -> None:
        if self._job(order) is not None:
            return
        files = {ORDER: orjson.dumps(to_json(order)).decode(), SPEC: orjson.dumps(self._document).decode()}
        config, job = self._render(order, files)
        create_with_files(self._kube, self._namespace, config, job)

    def status(self, order: BatchOrder) -> BatchStatus:
        """Where the try stands; the message says why a pod waits, or what one was lost to."""
        job = self._job(order)
        if job is None:
            return BatchStatus(RunPhase.ABSENT)
        pods = self._kube.list("Pod", self._namespace, labels={"job-name": self._name(order)})
        if holds(job, "Complete"):
            # Without its pod nobody says what it has made: the next try finds its files and counts them.
            return _said(pods, RunPhase.SUCCEEDED) or BatchStatus(
                RunPhase.FAILED, "its Job is complete, and its pod, which knows the numbers of rows, is gone"
            )
        if holds(job, "Failed"):
            return _said(pods, RunPhase.FAILED) or BatchStatus(RunPhase.FAILED, _why_failed(job, pods))
        if CANCELLED in job["metadata"].get("annotations", {}):
            return BatchStatus(RunPhase.CANCELLED, "it was ended because the file asked for batches no more")
        pod = working_pod(pods)
        waits = held_up(self._kube, self._namespace, job, pod, self._now())
        return BatchStatus(RunPhase.RUNNING, f"{waits}{lost_to(pods)}".removeprefix("; "))

    def stop(self, order: BatchOrder) -> None:
        job = self._job(order)
        if job is None or holds(job, "Complete") or holds(job, "Failed"):
            return
        with contextlib.suppress(NotFoundError):
            self._kube.patch("Job", self._name(order), self._namespace, CANCEL)

    def _job(self, order: BatchOrder) -> Object | None:
        return self._kube.get("Job", self._name(order), self._namespace)


def _said(pods: Sequence[Object], phase: RunPhase) -> BatchStatus | None:
    """Last words of a pod that ended so."""
    for pod in pods:
        try:
            status = from_json(BatchStatus, orjson.loads(last_message(pod)))
        except (ValueError, ValidationError):
            continue
        if status.phase is phase:
            return status
    return None


def _why_failed(job: Object, pods: Sequence[Object]) -> str:
    last = newest(pods)
    reasons = [failed_as(job), *([why_ended(last), last_message(last)] if last is not None else [])]
    return "\n".join(filter(None, reasons))
