"""Both charts installed in a namespace of their own, as a person installs them, from images that were built here."""

from __future__ import annotations

import os
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.loop.watched import reached

from capstan.adapters.kube_client import KubeClient

ROOT = Path(__file__).parents[3]
TAG = os.environ.get("CAPSTAN_TEST_TAG", "test")
REGISTRY = "docker.io/library"
STACK = "capstan-test-"
INSTALL_SECONDS = 240


@dataclass(frozen=True)
class Installed:
    """An operator with its stack, and their addresses from this machine."""

    kube: KubeClient
    namespace: str
    mlflow: str
    object_storage: str
    prometheus: str
    alertmanager: str

    def storage_keys(self) -> dict[str, str]:
        secret = self.kube.get("Secret", "object-storage-keys", self.namespace)
        assert secret is not None
        return {name: b64decode(value).decode() for name, value in secret["data"].items()}

    def operator_pods(self) -> list[dict[str, Any]]:
        return list(
            self.kube.list("Pod", self.namespace, labels={"app.kubernetes.io/name": "capstan-operator"})
        )

    def leader(self) -> str:
        """Name of the pod that holds the Lease; empty while none does."""
        lease = self.kube.get("Lease", "capstan-operator", self.namespace)
        holder = str((lease or {}).get("spec", {}).get("holderIdentity") or "")
        return next(
            (p["metadata"]["name"] for p in self.operator_pods() if p["metadata"]["name"] in holder), ""
        )


@contextmanager
def installed(kube: KubeClient, namespace: str) -> Iterator[Installed]:
    """Install both charts and reach their parts; uninstalled at the end."""
    stack = {
        "mlflow.image": f"{REGISTRY}/capstan-python:{TAG}",
        "objectStorage.image": f"{REGISTRY}/{STACK}object-storage:{TAG}",
        "prometheus.image": f"{REGISTRY}/{STACK}prometheus:{TAG}",
        "alertmanager.image": f"{REGISTRY}/{STACK}alertmanager:{TAG}",
        "mlflow.storage.size": "1Gi",
        "objectStorage.storage.size": "1Gi",
        "prometheus.storage.size": "1Gi",
    }
    own = {"images.registry": REGISTRY, "images.tag": TAG}
    try:
        # The stack first would wait for a Secret that the operator's chart makes: both, then wait.
        _helm(namespace, "capstan", ROOT / "charts/capstan", own, wait=False)
        _helm(namespace, "capstan-stack", ROOT / "charts/capstan-stack", stack, wait=True)
        _helm(namespace, "capstan", ROOT / "charts/capstan", own, wait=True)
        with ExitStack() as open_ways:
            yield Installed(
                kube,
                namespace,
                **{
                    name: open_ways.enter_context(reached(kube, namespace, service, port))
                    for name, service, port in (
                        ("mlflow", "mlflow", 5000),
                        ("object_storage", "object-storage", 7070),
                        ("prometheus", "prometheus", 9090),
                        ("alertmanager", "alertmanager", 9093),
                    )
                },
            )
    finally:
        for release in ("capstan", "capstan-stack"):
            subprocess.run(
                ["helm", "-n", namespace, "uninstall", release, "--ignore-not-found", "--wait"], check=False
            )


def _helm(namespace: str, release: str, chart: Path, values: dict[str, str], *, wait: bool) -> None:
    command = ["helm", "-n", namespace, "upgrade", "--install", release, str(chart)]
    command += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    if wait:
        command += ["--wait", "--timeout", f"{INSTALL_SECONDS}s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pods = subprocess.run(
            ["kubectl", "-n", namespace, "get", "pods", "-o", "wide"],
            capture_output=True,
            text=True,
            check=False,
        )
        raise AssertionError(f"{' '.join(command)}\n{done.stderr}\n{pods.stdout}")
