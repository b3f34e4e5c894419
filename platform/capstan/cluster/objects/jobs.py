"""A Job that works until its end, with its files: what a training and a batch of predictions are in a cluster."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.cluster.names import Owner, SystemNames
from capstan.ports.kube import Object

FAILED_EXIT_CODE = 1
"""Exit code of work that failed by itself; with any other code a process was lost."""
LONGEST_SECONDS = 24 * 3600
KEPT_SECONDS = 7 * 24 * 3600
"""Seconds for which a finished Job can be looked at. What it made stays where it was put."""


def job_with_files(
    names: SystemNames,
    owner: Owner | None,
    name: str,
    labels: Mapping[str, str],
    files: Mapping[str, str],
    pod: Object,
    *,
    container: str,
    lost_pods: int,
) -> tuple[Object, Object]:
    """The files as a ConfigMap, and the Job, both called `name`.

    A pod is replaced when it was evicted, and at most `lost_pods` times when it was lost otherwise. What fails by
    itself, by the exit code of `container`, is not tried again.
    """
    config: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(name, labels, owner),
        "data": dict(files),
    }
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": names.metadata(name, labels, owner),
        "spec": {
            "backoffLimit": lost_pods,
            "activeDeadlineSeconds": LONGEST_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            # Two pods never work at once: they would write the same things.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": container,
                            "operator": "In",
                            "values": [FAILED_EXIT_CODE],
                        },
                    },
                ]
            },
            "template": {"metadata": {"labels": labels}, "spec": {**pod, "restartPolicy": "Never"}},
        },
    }
    return config, job
