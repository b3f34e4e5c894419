"""Both charts installed in a namespace of their own, and ways to what they brought."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from cluster.access import reached, secret
from cluster.charts.installed import install, uninstall

from capstan.adapters.kubernetes.client import KubeClient
from capstan.ports.kube import Object


@dataclass(frozen=True)
class Installed:
    """An operator with its stack; addresses from this machine are good until the control plane is killed."""

    kube: KubeClient
    namespace: str

    def mlflow(self) -> AbstractContextManager[str]:
        return reached(self.kube, self.namespace, "mlflow", 5000, by_name=True)

    def object_storage(self) -> AbstractContextManager[str]:
        return reached(self.kube, self.namespace, "object-storage", 7070)

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
    """Install both charts for the systems of another namespace and uninstall them at the end."""
    try:
        install(namespace, systems)
        yield Installed(kube, namespace)
    finally:
        uninstall(namespace)
