"""A real API server takes every object of the charts, and every pod under Pod Security "restricted"."""

from __future__ import annotations

import subprocess

import orjson
import pytest
from cluster.charts.rendering import CASES, objects, pods, render
from cluster.upstream import require_kinds

from capstan.adapters.kubernetes.client import KubeClient


def _apply_dry(document: dict[str, object], namespace: str) -> str:
    done = subprocess.run(
        [
            "kubectl",
            "apply",
            "--server-side",
            "--dry-run=server",
            # An installation beside this one owns the roles that a cluster has once.
            "--force-conflicts",
            "--validate=strict",
            "-n",
            namespace,
            "-f",
            "-",
        ],
        input=orjson.dumps(document),
        capture_output=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr.decode()


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_takes_every_object(kube: KubeClient, namespace: str, case: str) -> None:
    require_kinds(kube, "ServiceMonitor")
    # A pod needs its account to be there; the next test sees to pods.
    documents = [document for document in objects(render(case, namespace)) if document["kind"] != "Pod"]
    for document in documents:
        if document["metadata"].get("namespace") not in (None, namespace):
            document["metadata"]["namespace"] = namespace
    refused = _apply_dry({"apiVersion": "v1", "kind": "List", "items": documents}, namespace)
    assert not refused


@pytest.mark.parametrize("case", CASES)
def test_every_pod_meets_pod_security_restricted(namespace: str, case: str) -> None:
    found = list(pods(objects(render(case, namespace))))
    assert found
    for name, spec in found:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"dry-{name}"},
            # Accounts are checked at admission, and dry runs make none.
            "spec": {**spec, "serviceAccountName": "default"},
        }
        assert not _apply_dry(pod, namespace), name
