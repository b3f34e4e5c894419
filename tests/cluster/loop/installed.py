"""Both charts installed in a namespace of their own, and the addresses of what they brought."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from cluster.access import reached, secret
from cluster.charts.installed import install, uninstall

from capstan.adapters.kube_client import KubeClient, Object

PORTS = {"mlflow": 5000, "object-storage": 7070}


@dataclass(frozen=True)
class Installed:
    """An operator with its stack, and their addresses from this machine."""

    kube: KubeClient
    namespace: str
    mlflow: str
    object_storage: str

    def storage_keys(self) -> dict[str, str]:
        return secret(self.kube, self.namespace, "object-storage-keys")

    def leader(self) -> str:
        """Name of the pod that holds the Lease; empty while none does."""
        lease = self.kube.get("Lease", "capstan-operator", self.namespace)
        holder = str((lease or {}).get("spec", {}).get("holderIdentity") or "")
        names = [pod["metadata"]["name"] for pod in self._pods()]
        return next((name for name in names if name in holder), "")

    def _pods(self) -> list[Object]:
        return list(self.kube.list("Pod", self.namespace))


@contextmanager
def installed(kube: KubeClient, namespace: str, *, systems: str) -> Iterator[Installed]:
    """Install both charts for the systems of another namespace and reach their parts; uninstalled at the end."""
    try:
        install(namespace, systems)
        with ExitStack() as ways:
            addresses = [
                ways.enter_context(reached(kube, namespace, part, port, by_name=part == "mlflow"))
                for part, port in PORTS.items()
            ]
            yield Installed(kube, namespace, *addresses)
    finally:
        uninstall(namespace)
